"""Files that a deck names, checked before LAMMPS reads them: some would have it end the process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from lammps_implicit.evaluators.potential_folders import potential_file
from lammps_implicit.potentials.snap_files import require_moderate

_LARGEST = 2**20
"""Bytes up to which a file is looked into; files of descriptors' settings are far smaller."""


def require_moderate_files(deck: Path) -> None:
    """Check the files of descriptors that are named by ``pair_style`` and ``pair_coeff`` lines of a deck.

    Files whose names hold variables, or that are in a folder to which the deck changes, are not looked at.

    Parameters
    ----------
    deck : Path

    Raises
    ------
    PotentialError
        If LAMMPS would ask for more memory than any computer has for one of them.
    """
    for name in _named(deck, deck.parent, set()):
        path = potential_file(name, deck.parent)
        if path is not None:
            require_moderate(_text(path), str(path))


def _named(script: Path, folder: Path, seen: set[Path]) -> Iterator[str]:
    """Words of the pair commands in a file of commands and in those that it includes, which may be names of files."""
    seen.add(script)
    for line in re.sub(r"&[ \t]*\n", " ", _text(script)).split("\n"):
        words = [word.strip("\"'") for word in line.partition("#")[0].split()]
        if words[:1] == ["include"] and len(words) == 2:
            included = folder / words[1]
            if included not in seen:
                yield from _named(included, folder, seen)
        elif "pair_style" in words or "pair_coeff" in words:  # also inside `if`
            yield from (word for word in words if not any(sign in word for sign in "$*\0"))


def _text(path: Path) -> str:
    """Text of a file that LAMMPS may be given; empty if it cannot be read, about which LAMMPS complains."""
    try:
        with open(path, "rb") as file:
            return file.read(_LARGEST).decode(errors="replace")
    except (OSError, ValueError):
        return ""
