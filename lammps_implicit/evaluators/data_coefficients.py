"""Coefficients in the sections of a LAMMPS data file, as the commands that they stand for."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_SECTIONS = {
    "Pair Coeffs": ("pair_coeff", ""),
    "PairIJ Coeffs": ("pair_coeff", ""),
    "Bond Coeffs": ("bond_coeff", ""),
    "Angle Coeffs": ("angle_coeff", ""),
    "BondBond Coeffs": ("angle_coeff", "bb"),
    "BondAngle Coeffs": ("angle_coeff", "ba"),
    "Dihedral Coeffs": ("dihedral_coeff", ""),
    "MiddleBondTorsion Coeffs": ("dihedral_coeff", "mbt"),
    "EndBondTorsion Coeffs": ("dihedral_coeff", "ebt"),
    "AngleTorsion Coeffs": ("dihedral_coeff", "at"),
    "AngleAngleTorsion Coeffs": ("dihedral_coeff", "aat"),
    "BondBond13 Coeffs": ("dihedral_coeff", "bb13"),
    "Improper Coeffs": ("improper_coeff", ""),
    "AngleAngle Coeffs": ("improper_coeff", "aa"),
}
"""Command and keyword that a line of each section stands for (LAMMPS documentation of ``read_data``)."""

_MOVED = ("offset", "nocoeff")
"""Keywords of ``read_data`` with which the numbers of types are others than in the file, or sections are not read."""


def data_commands(
    args: Sequence[str], directory: Path, pair_style: Sequence[str], bonded_styles: Mapping[str, Sequence[str]]
) -> list[tuple[str, ...]]:
    """Commands that set the coefficients which ``read_data`` finds in its file.

    Parameters
    ----------
    args : sequence of str
        Arguments of ``read_data``.
    directory : Path
        Working directory.
    pair_style : sequence of str
        Arguments of the pair style in force.
    bonded_styles : mapping of str to sequence of str
        Arguments of the styles of ``bond``, ``angle``, … in force.

    Returns
    -------
    list of tuple of str
        Words of each; none if the file is not found, or moves the numbers of its types.
    """
    if any(word in _MOVED for word in args[1:]):
        return []
    styles = {"pair": pair_style, **bonded_styles}
    found = []
    for section, words in _rows(directory / args[0]):
        command, keyword = _SECTIONS[section]
        hybrid = (styles.get(command.removesuffix("_coeff")) or ("",))[0].startswith("hybrid")
        types = (
            words[:2] if section == "PairIJ Coeffs" else [words[0], words[0]] if command == "pair_coeff" else words[:1]
        )
        rest = words[2:] if section == "PairIJ Coeffs" else words[1:]
        if keyword and hybrid and rest[:1] != ["class2"]:
            continue  # a line that says that another style has no such coefficients
        place = 1 if hybrid else 0
        if keyword:
            rest = [*rest[:place], keyword, *rest[place:]]
        found.append((command, *types, *rest))
    return found


def _rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Sections of coefficients in a data file, and the words of each of their lines.

    Headings and what belongs to them are separated by blank lines; a line may begin with the label of a type.
    """
    section, within, ended = "", False, False
    try:
        with gzip.open(path, "rt", errors="replace") if path.suffix == ".gz" else path.open(errors="replace") as file:
            next(file, None)  # a title
            for line in file:
                if within and not ended and section not in _SECTIONS and line[0].isdigit():
                    continue  # one of many atoms
                words = line.split("#", 1)[0].split()
                if not words:
                    ended = within
                elif words[0][0].isalpha() and (ended or not section):
                    section, within, ended = " ".join(words), False, False
                elif section:
                    within, ended = True, False
                    if section in _SECTIONS:
                        yield section, words
    except (OSError, EOFError):
        return
