"""Command-line options shared by the builders."""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from ase.data import atomic_numbers

from lammps_implicit import LammpsImplicitError


def positive(text: str) -> float:
    """Parse a positive number."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError
    return value


def count(text: str) -> int:
    """Parse a positive integer."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def element(text: str) -> str:
    """Parse a chemical symbol."""
    if atomic_numbers.get(text, 0) < 1:
        raise ValueError
    return text


def run(parser: argparse.ArgumentParser, build: Callable, arguments: Sequence[str] | None) -> None:
    """Add the common options, parse the command line and build; an error becomes one message."""
    parser.add_argument("-o", "--output", type=Path, metavar="NAME.data", help="LAMMPS data file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    options = parser.parse_args(arguments)
    try:
        build(options)
    except (LammpsImplicitError, ValueError, MemoryError) as error:
        parser.exit(1, f"{parser.prog}: error: {error}\n")
