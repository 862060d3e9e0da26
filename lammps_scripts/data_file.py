"""Writing LAMMPS data files in blocks, so that memory does not grow with the number of atoms."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import atomic_masses, atomic_numbers


@dataclass(frozen=True)
class Header:
    """Header of a data file.

    Attributes
    ----------
    title : str
        First line of the file.
    atoms : int
        Number of atoms.
    box : (3, 2) float array
        Lower and upper bounds, Å.
    types : sequence of (str, str)
        Element and comment of each atom type.
    """

    title: str
    atoms: int
    box: np.ndarray
    types: Sequence[tuple[str, str]]

    def __str__(self) -> str:
        lines = [self.title, "", f"{self.atoms} atoms", f"{len(self.types)} atom types", ""]
        for axis, (low, high) in zip("xyz", self.box, strict=True):
            lines.append(f"{low:.16g} {high:.16g} {axis}lo {axis}hi")
        lines += ["", "Masses", ""]
        for number, (element, comment) in enumerate(self.types, 1):
            lines.append(f"{number} {atomic_masses[atomic_numbers[element]]:.10g}  # {comment}")
        return "\n".join([*lines, "", "Atoms  # atomic", "", ""])


def write(path: Path, header: Header, blocks: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
    """Write the header and the atoms.

    Parameters
    ----------
    path : Path
    header : Header
    blocks : iterable of ((n,) int array, (n, 3) float array)
        Types, and positions in Å. Ids count from 1 without gaps.
    """
    written = 0
    with open(path, "w", encoding="utf-8") as file:
        file.write(str(header))
        for types, positions in blocks:
            ids = np.arange(written + 1, written + len(types) + 1)
            np.savetxt(file, np.column_stack([ids, types, positions]), fmt="%d %d %.10f %.10f %.10f")
            written += len(types)
