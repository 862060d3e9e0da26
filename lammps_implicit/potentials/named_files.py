"""Files that a deck names, checked before LAMMPS reads them: some would have it end the process, or never end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lammps_implicit.evaluators.potential_folders import potential_folders
from lammps_implicit.files import named_files
from lammps_implicit.potentials.number_files import require_finite
from lammps_implicit.potentials.snap_files import require_moderate

_LARGEST = 2**20
"""Bytes up to which a file is searched for settings of descriptors, whose files are far smaller."""


def require_sane_files(deck: Path, variables: Mapping[str, str]) -> None:
    """Check all files that a deck, its variables, or these files name.

    Parameters
    ----------
    deck : Path
    variables : mapping of str to str
        Index variables of the deck.

    Raises
    ------
    PotentialError
        If one holds numbers that are not finite, or LAMMPS would ask for more memory than any computer has.
    """
    words = [word for value in variables.values() for word in str(value).split()]
    for path in named_files([deck, *words], [deck.parent, *potential_folders()]):
        require_finite(path)
        require_moderate(_text(path), str(path))


def _text(path: Path) -> str:
    """Beginning of a file that LAMMPS may be given; empty if it cannot be read, about which LAMMPS complains."""
    try:
        with open(path, "rb") as file:
            return file.read(_LARGEST).decode(errors="replace")
    except OSError:
        return ""
