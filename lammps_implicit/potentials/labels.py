"""Labels of parameters, and the shell patterns that select from them."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np

from lammps_implicit.arrays import IntArray
from lammps_implicit.errors import PotentialError

EXCLUDES = "!"
"""Beginning of a pattern that excludes what it matches."""


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


def wanted(patterns: Sequence[str]) -> list[str]:
    """The patterns that select; not those that exclude, which start with ``!``."""
    return [pattern for pattern in patterns if not pattern.startswith(EXCLUDES)]


def select(names: Sequence[str], parameters: str | Sequence[str]) -> IntArray:
    """Select labels by shell patterns.

    Parameters
    ----------
    names : sequence of str
        Labels.
    parameters : str or sequence of str
        Patterns; a string may hold several, separated by commas. Those that start with ``!`` exclude; if all do, they
        exclude from all labels.

    Returns
    -------
    (P,) int array
        Indices of the labels that match at least one pattern and none that excludes, ascending.

    Raises
    ------
    PotentialError
        If a pattern matches no label, or all labels are excluded.
    """
    patterns = split_patterns(parameters)
    chosen = set() if wanted(patterns) else set(range(len(names)))
    for pattern in wanted(patterns):
        chosen.update(_found(names, pattern))
    for pattern in patterns:
        if pattern.startswith(EXCLUDES):
            chosen.difference_update(_found(names, pattern.removeprefix(EXCLUDES)))
    if not chosen:
        raise PotentialError(f"'{','.join(patterns)}' leaves no parameter: exclude fewer")
    return np.array(sorted(chosen), np.int64)


def _found(names: Sequence[str], pattern: str) -> list[int]:
    found = matches(names, pattern)
    if not found:
        raise PotentialError(f"no parameter matches '{pattern}': labels run from {names[0]} to {names[-1]}")
    return found
