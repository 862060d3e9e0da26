"""What the command lines of the builders share."""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from ase.data import atomic_numbers

from lammps_implicit import LammpsImplicitError


def positive(text: str) -> float:
    """Read a number above zero."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError
    return value


def count(text: str) -> int:
    """Read a whole number above zero."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def element(text: str) -> str:
    """Read a chemical symbol."""
    if atomic_numbers.get(text, 0) < 1:
        raise ValueError
    return text


def run(parser: argparse.ArgumentParser, build: Callable, arguments: Sequence[str] | None) -> None:
    """Add the options of all builders, read the command line and build; what fails is one message."""
    parser.add_argument("-o", "--output", type=Path, metavar="NAME.data", help="LAMMPS data file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    options = parser.parse_args(arguments)
    try:
        build(options)
    except (LammpsImplicitError, ValueError, MemoryError) as error:
        parser.exit(1, f"{parser.prog}: error: {error}\n")
