"""Labels of parameters and shell patterns that choose some of them."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np

from lammps_implicit.arrays import IntArray
from lammps_implicit.errors import PotentialError


def split_patterns(parameters: str | Sequence[str]) -> list[str]:
    """Patterns from a sequence, or from a string that holds several separated by commas."""
    patterns = parameters.split(",") if isinstance(parameters, str) else parameters
    return [pattern.strip() for pattern in patterns]


def matches(names: Sequence[str], pattern: str) -> list[int]:
    """Indices of the labels that a shell pattern matches; a label itself, which may hold a ``*``, matches no other."""
    if pattern in names:
        return [names.index(pattern)]
    return [index for index, name in enumerate(names) if fnmatchcase(name, pattern)]


def select(names: Sequence[str], parameters: str | Sequence[str]) -> IntArray:
    """Return the indices of the labels that match at least one pattern, in the labels' order.

    Raises
    ------
    PotentialError
        If a pattern matches nothing.
    """
    chosen: set[int] = set()
    for pattern in split_patterns(parameters):
        found = matches(names, pattern)
        if not found:
            raise PotentialError(f"no parameter matches '{pattern}': labels run from {names[0]} to {names[-1]}")
        chosen.update(found)
    return np.array(sorted(chosen), np.int64)
