"""Labels of parameters, and the shell patterns that select from them."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np

from lammps_implicit.arrays import IntArray
from lammps_implicit.errors import PotentialError


def split_patterns(parameters: str | Sequence[str]) -> list[str]:
    """List of patterns from a sequence, or from a string with patterns separated by commas."""
    patterns = parameters.split(",") if isinstance(parameters, str) else parameters
    return [pattern.strip() for pattern in patterns]


def matches(names: Sequence[str], pattern: str) -> list[int]:
    """Match labels with one shell pattern.

    Parameters
    ----------
    names : sequence of str
        Labels.
    pattern : str
        If it is itself a label, it matches that label only, even if it holds a ``*``.

    Returns
    -------
    list of int
        Indices of the labels that match, ascending; empty if none does.
    """
    if pattern in names:
        return [names.index(pattern)]
    return [index for index, name in enumerate(names) if fnmatchcase(name, pattern)]


def select(names: Sequence[str], parameters: str | Sequence[str]) -> IntArray:
    """Select labels by shell patterns.

    Parameters
    ----------
    names : sequence of str
        Labels.
    parameters : str or sequence of str
        Patterns; a string may hold several, separated by commas.

    Returns
    -------
    (P,) int array
        Indices of the labels that match at least one pattern, ascending.

    Raises
    ------
    PotentialError
        If a pattern matches no label.
    """
    chosen: set[int] = set()
    for pattern in split_patterns(parameters):
        found = matches(names, pattern)
        if not found:
            raise PotentialError(f"no parameter matches '{pattern}': labels run from {names[0]} to {names[-1]}")
        chosen.update(found)
    return np.array(sorted(chosen), np.int64)
