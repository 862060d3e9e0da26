"""Reading and writing structures: ASE atoms, extended XYZ files and LAMMPS data files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lammps_implicit.arrays import BoolArray, FloatArray, IntArray
from lammps_implicit.errors import DeckError, LammpsImplicitError

BLOCK = 8_192
"""Rows of a text file formatted or parsed at a time; bounds memory, with negligible overhead per block."""

_MARGIN = 5.0
"""Å; chosen empty space on either side of the atoms along a non-periodic direction without a cell vector."""


@dataclass(frozen=True)
class Structure:
    """A complete structure as LAMMPS describes it, atoms in order of id.

    Attributes
    ----------
    ids, types : (N,) int arrays
        Atom ids, and types counted from 1.
    positions : (N, 3) float array
        Å.
    cell : (3, 3) float array
        Cell vectors as rows, Å, in LAMMPS' orientation (lower triangular).
    origin : (3,) float array
        Lower corner of the cell, Å.
    periodic : (3,) bool array
        Periodic directions.
    elements : tuple of str
        Chemical symbol of each type; ``X`` where unknown.
    masses : (n_types,) float array
        Mass of each type in the deck's units.
    """

    ids: IntArray
    types: IntArray
    positions: FloatArray
    cell: FloatArray
    origin: FloatArray
    periodic: BoolArray
    elements: tuple[str, ...]
    masses: FloatArray

    def to_ase(self, **arrays: NDArray[Any]) -> Any:
        """Convert to ASE.

        Parameters
        ----------
        **arrays : (N,) or (N, 3) arrays
            Further per-atom arrays, by name.

        Returns
        -------
        ase.Atoms
            With the arrays ``id`` and ``type``; the cell's lower corner is moved to zero.
        """
        from ase import Atoms
        from ase.data import atomic_numbers

        symbols = [name if name in atomic_numbers else "X" for name in self.elements]
        atoms: Any = Atoms([symbols[type_ - 1] for type_ in self.types], self.positions - self.origin, cell=self.cell)
        atoms.pbc = self.periodic
        for name, values in {"id": self.ids, "type": self.types, **arrays}.items():
            atoms.new_array(name, np.asarray(values))
        return atoms

    def write_data(self, file: IO[str], title: str) -> None:
        """Write a LAMMPS data file of ``atom_style atomic`` with ids, types and box as in LAMMPS."""
        write_data_header(file, title, len(self.ids), self.cell, self.origin, self.masses, self.elements)
        write_data_rows(file, self.ids, self.types, self.positions)


class Rows(NamedTuple):
    """Some of the atoms of a structure, in any order, and its cell.

    Attributes
    ----------
    ids : (n,) int array
        Atom ids.
    positions : (n, 3) float array
        In the units of the file.
    cell : (3, 3) float array
        Cell vectors as rows.
    """

    ids: IntArray
    positions: FloatArray
    cell: FloatArray


def write_data_header(
    file: IO[str],
    title: str,
    n_atoms: int,
    cell: FloatArray,
    origin: FloatArray,
    masses: FloatArray,
    elements: Sequence[str],
) -> None:
    """Write the part of a LAMMPS data file of ``atom_style atomic`` that precedes the atoms.

    Parameters
    ----------
    file : text file
    title : str
        First line of the file.
    n_atoms : int
    cell : (3, 3) float array
        Cell vectors as rows, lower triangular.
    origin : (3,) float array
        Lower corner of the cell.
    masses : (n_types,) float array
    elements : sequence of str
        Chemical symbol of each type.
    """
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
    """Write the atoms of a data file, one per line, with all digits of a double: arrays (n,), (n,) and (n, 3)."""
    write_rows(file, "%d %d %.16g %.16g %.16g\n", ids, types, *positions.T)


def write_xyz_header(
    file: IO[str], n_atoms: int, cell: FloatArray, periodic: ArrayLike, columns: str, **info: float
) -> None:
    """Write the two lines of an extended XYZ file that precede the atoms; the cell's corner is at zero.

    Parameters
    ----------
    file : text file
    n_atoms : int
    cell : (3, 3) float array
        Cell vectors as rows, Å.
    periodic : (3,) sequence of bool
        Periodic directions.
    columns : str
        Value of the ``Properties`` entry, for example ``species:S:1:pos:R:3``.
    **info : float
        Further entries of the comment line, by name.
    """
    lattice = " ".join(f"{number:.16g}" for number in cell.reshape(-1))
    along = " ".join("T" if axis else "F" for axis in np.asarray(periodic))
    more = "".join(f" {name}={value:.16g}" for name, value in info.items())
    file.write(f'{n_atoms}\nLattice="{lattice}" Properties={columns} pbc="{along}"{more}\n')


def write_rows(file: IO[str], line: str, *columns: ArrayLike) -> None:
    """Write columns of equal length as text, one block of rows at a time.

    Parameters
    ----------
    file : text file
    line : str
        Format of a row including the newline, with one conversion such as ``%.16g`` per column.
    *columns : (n,) arrays
    """
    arrays = [np.asarray(column) for column in columns]
    for first in range(0, len(arrays[0]), BLOCK):
        block = [array[first : first + BLOCK].tolist() for array in arrays]
        file.write(line * len(block[0]) % tuple(chain.from_iterable(zip(*block, strict=True))))


def read_data_pieces(path: str | os.PathLike[str]) -> Iterator[Rows]:
    """Read a LAMMPS data file of ``atom_style atomic`` in blocks of atoms.

    Image flags, velocities and everything after the atoms are ignored; positions are those written in the file.

    Yields
    ------
    Rows
        At most `BLOCK` atoms, in the order and units of the file. The first one has no atoms, only the cell.

    Raises
    ------
    LammpsImplicitError
        If the file cannot be read or has another format.
    """
    try:
        with open(path, encoding="utf-8") as file:
            next(file)  # the title
            total, cell = _read_data_header(file)
            yield Rows(np.empty(0, np.int64), np.empty((0, 3)), cell)
            for first in range(0, total, BLOCK):
                yield _read_data_rows(file, min(BLOCK, total - first), cell)
    except (OSError, ValueError, StopIteration) as error:
        reason = str(error) or "it ends before its atoms"
        raise LammpsImplicitError(f"{path} is not a LAMMPS data file of atom_style atomic ({reason})") from None


def _read_data_header(file: IO[str]) -> tuple[int, FloatArray]:
    """Read up to the first atom; return the number of atoms and the cell, (3, 3)."""
    total, cell = 0, np.eye(3)
    for line in file:
        text, _, comment = (part.strip() for part in line.partition("#"))
        words = text.split()
        if words == ["Atoms"]:
            if comment not in ("", "atomic"):
                raise ValueError(f"its atom_style is {comment}")
            break
        if words[1:] == ["atoms"]:
            total = int(words[0])
        elif words[2:] in (["xlo", "xhi"], ["ylo", "yhi"], ["zlo", "zhi"]):
            axis = "xyz".index(words[2][0])
            cell[axis, axis] = float(words[1]) - float(words[0])
        elif words[3:] == ["xy", "xz", "yz"]:
            cell[1, 0], cell[2, 0], cell[2, 1] = map(float, words[:3])
        elif words[3:] in (["avec"], ["bvec"], ["cvec"]):
            raise ValueError("its box is a general triclinic one: read and write it with LAMMPS to rotate it")
    if not total:
        raise ValueError("there are no atoms in it")
    next(file)  # a blank line
    return total, cell


def _read_data_rows(file: IO[str], count: int, cell: FloatArray) -> Rows:
    lines = list(islice(file, count))
    if len(lines) < count or len(lines[0].partition("#")[0].split()) not in (5, 8):
        raise ValueError(f"{count} more lines 'id type x y z' with or without image flags are expected")
    rows = np.loadtxt(lines, usecols=(0, 2, 3, 4), ndmin=2)  # the type may be a label; ids are exact below 2^53
    if len(rows) < count:
        raise ValueError("there are blank lines between its atoms")
    return Rows(rows[:, 0].astype(np.int64), rows[:, 1:], cell)


def from_ase(atoms: Any) -> tuple[Structure, BoolArray]:
    """Convert an ASE structure.

    A zero cell vector along a non-periodic direction is replaced by one that encloses the atoms.

    Parameters
    ----------
    atoms : ase.Atoms

    Returns
    -------
    structure : Structure
        With ids 1 to N in the order of the atoms, and types in the order in which elements first occur.
    free : (N, 3) bool array
        False for the components of atoms held by a ``FixAtoms`` constraint.

    Raises
    ------
    DeckError
        If there are no atoms, the cell is not in LAMMPS' orientation, or a constraint is not ``FixAtoms``.
    """
    if not len(atoms):
        raise DeckError("the structure has no atoms: nothing to differentiate")
    elements = tuple(dict.fromkeys(atoms.get_chemical_symbols()))
    cell, origin = np.array(atoms.cell), np.zeros(3)
    for axis in np.flatnonzero(~cell.any(axis=1) & ~np.array(atoms.pbc)):
        cell[axis, axis] = np.ptp(atoms.positions[:, axis]) + 2 * _MARGIN
        origin[axis] = atoms.positions[:, axis].min() - _MARGIN
    if np.abs(np.triu(cell, 1)).max() > 1e-10 * np.abs(cell).max() or (np.diag(cell) <= 0).any():
        raise DeckError(
            "the cell is not in LAMMPS' orientation (a along x, b in the xy plane, right-handed): rotate the atoms "
            "with 'cell, _ = atoms.cell.standard_form(); atoms.set_cell(cell, scale_atoms=True)'"
        )
    free = np.ones((len(atoms), 3), bool)
    free[frozen_ids(atoms) - 1] = False
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


def frozen_ids(atoms: Any) -> IntArray:
    """Return the ids (index + 1) of the atoms of an ``ase.Atoms`` that ``FixAtoms`` constraints hold, sorted.

    Raises
    ------
    DeckError
        If a constraint is not ``FixAtoms``.
    """
    from ase.constraints import FixAtoms

    frozen = np.zeros(len(atoms), bool)
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms):
            raise DeckError(f"constraint {type(constraint).__name__} is not supported; use FixAtoms")
        frozen[constraint.index] = True
    return np.flatnonzero(frozen) + 1
