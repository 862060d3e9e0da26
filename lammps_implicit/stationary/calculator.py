"""An ASE calculator on the evaluator of a stationary point: ASE's optimisers, bands and filters on the same energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.constraints import FixAtoms, FixCartesian
from ase.data import atomic_numbers

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.cell.freedom import require_strainable
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.evaluators.visits import visit
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.units import units_of

_ROUNDING = 1e-12
"""Relative differences of cell vectors that are rounding. Chosen."""

_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Order of the components of a stress in ASE."""


class _Place(NamedTuple):
    """Where an evaluator is to be visited: displacement (n, 3), strain (3, 3), and axes (3, 3) of v_ase = v @ axes."""

    displacement: FloatArray
    strain: FloatArray
    axes: FloatArray


class PointCalculator(Calculator):
    """Energy, forces and stress of ``ase.Atoms`` by the evaluator of a stationary point; see `calculator`.

    Parameters
    ----------
    engine : Evaluator
        Taken over already.
    elements : sequence of (str or None)
        Chemical element of each atom type, where it is known.

    Raises
    ------
    LammpsImplicitError
        If the deck has ``units lj``, which are not ASE's.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 - as ASE declares it

    def __init__(self, engine: Evaluator, elements: Sequence[str | None] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        units = units_of(engine.deck.units, engine.deck.dimension)
        if units.style == "lj":
            raise LammpsImplicitError(
                "ASE counts in eV and Å, the deck in units lj: for a calculator write it in units metal, epsilon in eV "
                "and sigma in Å"
            )
        self._engine = engine
        self._size = units.force_factor  # of 1 eV, as both styles have Å
        every = np.concatenate(engine.comm.allgather(engine.ids))
        self._ids: IntArray = np.sort(every)
        self._types: IntArray = self._everywhere(engine.types)
        self._symbols = [elements[type_ - 1] if elements else None for type_ in self._types]

    def get_atoms(self) -> Atoms:
        """The atoms at the reference, in order of id, on every rank; held ones have constraints."""
        engine = self._engine
        engine.require_valid()
        atoms = Atoms(
            [symbol if symbol in atomic_numbers else "X" for symbol in self._symbols],
            self._everywhere(engine.positions),
            cell=engine.cell,
            pbc=engine.periodic,
            masses=engine.masses()[self._types - 1],
        )
        atoms.new_array("id", self._ids.copy())
        atoms.new_array("type", self._types.copy())
        held = ~self._everywhere(engine.free)
        for mask in np.unique(held[held.any(axis=1)], axis=0):
            rows = np.flatnonzero((held == mask).all(axis=1))
            atoms.constraints.append(FixAtoms(rows) if mask.all() else FixCartesian(rows, mask))
        atoms.calc = self
        return atoms

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Evaluate everything at once; ASE calls it where something has changed. Collective.

        Raises
        ------
        LammpsImplicitError
            If these are not the point's atoms, or the evaluator fails. The point is as before, or void.
        """
        flat = self._engine.deck.dimension == 2
        if flat and "stress" in properties:
            raise PropertyNotImplementedError("a two-dimensional deck has a force per length, and no stress")
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        given: Any = self.atoms  # a copy, which the base class keeps
        place = self._place(given)
        found = visit(self._engine, place.displacement, place.strain)
        forces = self._everywhere(found.forces) @ place.axes / self._size
        stress = place.axes.T @ -found.pressure @ place.axes / self._size
        energy = found.energy / self._size
        self.results = {"energy": energy, "free_energy": energy, "forces": forces[self._rows(given)]}
        if not flat:
            self.results["stress"] = np.array([stress[pair] for pair in _VOIGT])

    # -- inside ------------------------------------------------------------------------------------------------------

    def _everywhere(self, rows: Any) -> Any:
        """A per-atom array of all ranks on every rank, in order of id: ASE's arrays are whole anyway."""
        return fetch(self._engine.comm, self._engine.ids, np.asarray(rows).astype(float), self._ids).astype(rows.dtype)

    def _rows(self, atoms: Atoms) -> IntArray:
        """Row, in order of id, of each of the atoms."""
        return np.searchsorted(self._ids, atoms.arrays["id"]) if atoms.has("id") else np.arange(len(self._ids))

    def _place(self, atoms: Atoms) -> _Place:
        """Where these atoms are, as seen from the reference."""
        engine = self._engine
        self._require_same(atoms)
        whole = np.empty((len(self._ids), 3))
        whole[self._rows(atoms)] = atoms.positions
        cell, axes = self._cell(atoms)
        if engine.any(not _same_everywhere(engine, np.vstack([whole, cell]))):
            raise LammpsImplicitError("the atoms differ from rank to rank: give the same ones on each")
        positions = fetch(engine.comm, self._ids_here(), (whole @ axes.T)[self._slice()], engine.ids)
        strain = np.linalg.solve(engine.cell, cell).T - np.eye(3)
        strain[np.abs(strain) < _ROUNDING] = 0.0
        require_strainable(engine, strain)
        inside = np.linalg.solve(np.eye(3) + strain, (positions - engine.origin).T).T
        return _Place(engine.nearest_image(inside + engine.origin - engine.positions), strain, axes)

    def _slice(self) -> slice:
        """This rank's share of all atoms in order of id."""
        share = -(-len(self._ids) // self._engine.comm.size)
        return slice(self._engine.comm.rank * share, (self._engine.comm.rank + 1) * share)

    def _ids_here(self) -> IntArray:
        return self._ids[self._slice()]

    def _cell(self, atoms: Atoms) -> tuple[FloatArray, FloatArray]:
        """Cell vectors in LAMMPS' orientation, (3, 3), and the axes of that in those of the atoms, (3, 3)."""
        engine = self._engine
        cell = np.array(atoms.cell)
        missing = ~cell.any(axis=1) & ~np.array(engine.periodic)
        cell[missing] = engine.cell[missing]
        if np.abs(np.triu(cell, 1)).max() <= _ROUNDING * np.abs(cell).max() and (np.diag(cell) > 0).all():
            return np.tril(cell), np.eye(3)
        if not all(engine.periodic) or engine.external or engine.n_free != 3 * engine.n_atoms:
            raise LammpsImplicitError(
                "the cell is rotated against LAMMPS' orientation (a along x, b in the xy plane, right-handed), and "
                "walls, open boundaries or held atoms do not rotate with it: keep LAMMPS' orientation"
            )
        axes, lower = np.linalg.qr(cell.T)
        signs = np.sign(np.diag(lower))
        if np.linalg.det(axes * signs) < 0 or not signs.all():
            raise LammpsImplicitError("the cell vectors are left-handed or in a plane: exchange two of them")
        return np.tril((lower * signs[:, None]).T), np.asarray((axes * signs).T)

    def _require_same(self, atoms: Atoms) -> None:
        """Check that these are the atoms of the point."""
        engine = self._engine
        if len(atoms) != len(self._ids):
            wrong = f"there are {len(atoms)} atoms, and {len(self._ids)} in the deck"
        elif not np.array_equal(atoms.pbc, engine.periodic):
            wrong = f"the periodic directions are {atoms.pbc.tolist()}, and {list(engine.periodic)} in the deck"
        elif atoms.has("id") and not np.array_equal(np.sort(atoms.arrays["id"]), self._ids):
            wrong = "the ids in the array 'id' are not those of the deck"
        else:
            wrong = self._other_kinds(atoms)
        if engine.any(bool(wrong)):
            raise LammpsImplicitError(f"{wrong or 'on another rank'}: start from get_atoms() of the calculator")

    def _other_kinds(self, atoms: Atoms) -> str:
        """How types or elements differ; empty if they do not."""
        rows = self._rows(atoms)
        names: tuple[Sequence[Any], Sequence[Any]]
        if atoms.has("type"):
            names = list(atoms.arrays["type"]), list(self._types[rows])
        elif None in self._symbols and self._engine.n_types > 1:
            return "the deck has several types of atoms without known elements, and the atoms no array 'type'"
        else:
            names = atoms.get_chemical_symbols(), [self._symbols[row] for row in rows]
        for row, given, known in zip(rows, *names, strict=True):
            if known is not None and given != known:
                return f"atom {self._ids[row]} is {given}, and {known} in the deck"
        return ""


def _same_everywhere(engine: Evaluator, array: FloatArray) -> bool:
    """Whether this rank's array is that of rank 0."""
    return engine.comm.size == 1 or np.array_equal(engine.comm.bcast(array), array)
