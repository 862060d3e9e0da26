"""Structures in and out: ASE atoms, extended XYZ and LAMMPS data files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import DeckError

MARGIN = 5.0
"""Å around atoms whose cell has no length."""


@dataclass(frozen=True)
class Structure:
    """Atoms in id order with what LAMMPS knows of them.

    Attributes
    ----------
    ids, types : (N,) int arrays
    positions : (N, 3) float array
        Å.
    cell : (3, 3) float array
        Cell vectors as rows, in LAMMPS' orientation.
    origin : (3,) float array
        Lower corner of the cell.
    periodic : (3,) bool array
    elements : tuple of str
        Name of each type; ``X`` where unknown.
    masses : (n_types,) float array
    """

    ids: NDArray[np.int64]
    types: NDArray[np.int64]
    positions: FloatArray
    cell: FloatArray
    origin: FloatArray
    periodic: NDArray[np.bool_]
    elements: tuple[str, ...]
    masses: FloatArray

    def to_ase(self, **arrays: NDArray[Any]) -> Any:
        """Return ``ase.Atoms`` with ``id`` and ``type`` arrays and any others given, (N,) or (N, 3)."""
        from ase import Atoms
        from ase.data import atomic_numbers

        symbols = [name if name in atomic_numbers else "X" for name in self.elements]
        atoms: Any = Atoms([symbols[type_ - 1] for type_ in self.types], self.positions - self.origin, cell=self.cell)
        atoms.pbc = self.periodic
        for name, values in {"id": self.ids, "type": self.types, **arrays}.items():
            atoms.new_array(name, np.asarray(values))
        return atoms

    def write_data(self, file: IO[str], title: str) -> None:
        """Write a LAMMPS data file of ``atom_style atomic``, ids, types and the box as they are in LAMMPS."""
        write_data_header(file, title, len(self.ids), self.cell, self.origin, self.masses, self.elements)
        write_data_rows(file, self.ids, self.types, self.positions)


def write_data_header(
    file: IO[str],
    title: str,
    n_atoms: int,
    cell: FloatArray,
    origin: FloatArray,
    masses: FloatArray,
    elements: Sequence[str],
) -> None:
    """Write what stands before the atoms in a LAMMPS data file of ``atom_style atomic``."""
    low, high = origin, origin + np.diag(cell)
    file.write(f"{title}\n\n{n_atoms} atoms\n{len(masses)} atom types\n\n")
    for axis, name in enumerate("xyz"):
        file.write(f"{low[axis]:.16g} {high[axis]:.16g} {name}lo {name}hi\n")
    tilt = cell[1, 0], cell[2, 0], cell[2, 1]
    if any(tilt):
        file.write(f"{tilt[0]:.16g} {tilt[1]:.16g} {tilt[2]:.16g} xy xz yz\n")
    file.write("\nMasses\n\n")
    for number, (mass, element) in enumerate(zip(masses, elements, strict=True), 1):
        file.write(f"{number} {mass:.10g}  # {element}\n")
    file.write("\nAtoms  # atomic\n\n")


def write_data_rows(file: IO[str], ids: NDArray[Any], types: NDArray[Any], positions: FloatArray) -> None:
    """Write atoms, one a line."""
    for id_, type_, (x, y, z) in zip(ids, types, positions, strict=True):
        file.write(f"{id_:.0f} {type_:.0f} {x:.16g} {y:.16g} {z:.16g}\n")


def from_ase(atoms: Any) -> tuple[Structure, NDArray[np.bool_]]:
    """Read an ASE structure: what LAMMPS would know of it, and which components ``FixAtoms`` leaves free, (N, 3).

    A cell vector of no length along a direction that is not periodic becomes one around the atoms.

    Raises
    ------
    DeckError
        If there are no atoms, the cell is not in LAMMPS' orientation, or a constraint is of another kind.
    """
    if not len(atoms):
        raise DeckError("the structure has no atoms: nothing to differentiate")
    elements = tuple(dict.fromkeys(atoms.get_chemical_symbols()))
    cell, origin = np.array(atoms.cell), np.zeros(3)
    for axis in np.flatnonzero(~cell.any(axis=1) & ~np.array(atoms.pbc)):
        cell[axis, axis] = np.ptp(atoms.positions[:, axis]) + 2 * MARGIN
        origin[axis] = atoms.positions[:, axis].min() - MARGIN
    if np.abs(np.triu(cell, 1)).max() > 1e-10 * np.abs(cell).max() or (np.diag(cell) <= 0).any():
        raise DeckError(
            "the cell is not in LAMMPS' orientation (a along x, b in the xy plane, right-handed): rotate the atoms "
            "with 'cell, _ = atoms.cell.standard_form(); atoms.set_cell(cell, scale_atoms=True)'"
        )
    free = np.ones((len(atoms), 3), bool)
    free[_frozen_ids(atoms) - 1] = False
    structure = Structure(
        ids=np.arange(1, len(atoms) + 1),
        types=np.array([elements.index(symbol) + 1 for symbol in atoms.get_chemical_symbols()]),
        positions=atoms.get_positions(),
        cell=np.tril(cell),
        origin=origin,
        periodic=np.array(atoms.pbc, bool),
        elements=elements,
        masses=np.array([atoms.get_masses()[atoms.get_chemical_symbols().index(element)] for element in elements]),
    )
    return structure, free


def _frozen_ids(atoms: Any) -> NDArray[np.int64]:
    from ase.constraints import FixAtoms

    frozen = np.zeros(len(atoms), bool)
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms):
            raise DeckError(f"constraint {type(constraint).__name__} is not supported; use FixAtoms")
        frozen[constraint.index] = True
    return np.flatnonzero(frozen) + 1
