"""The supercell of a relaxed cell in LAMMPS: the deck runs again, its cell is repeated and moves to the minimum."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.phonons.requirements import require_crystal
from lammps_implicit.potentials.of_deck import start_lammps
from lammps_implicit.results.snapshot import elements_of
from lammps_implicit.stationary.point import StationaryPoint

ATOMS = 4000
"""Atoms of the largest supercell that is chosen. Chosen: its forces take seconds with most potentials."""

_SAME_ENERGY = 1e-8
"""Relative difference of energies per atom at which the supercell is another structure. Chosen: far above round-off."""


_SAME_MASS = 0.1
"""Atomic units of mass within which a mass is that of an element. Chosen: decks round masses."""


@dataclass(frozen=True)
class Cell:
    """A relaxed cell, the same on all ranks.

    Attributes
    ----------
    ids, types : (n,) int arrays
        In id order.
    fractions : (n, 3) float array
        Fractional coordinates.
    vectors : (3, 3) float array
        Cell vectors as rows, Å.
    symbols : tuple of str
        Name of each type: its element; types that share one, or have none, get numbers.
    masses : (types,) float array
        In the deck's units.
    shift : (3,) float array
        Fractional displacement of all atoms after which none is on a face: round-off would carry it from one side of
        the supercell to the other, and strains displace both sides differently.
    """

    ids: IntArray
    types: IntArray
    fractions: FloatArray
    vectors: FloatArray
    symbols: tuple[str, ...]
    masses: FloatArray
    shift: FloatArray


def cell_of(point: StationaryPoint) -> Cell:
    """The cell of a relaxed structure, on all ranks; collective."""
    engine = point.engine
    ids, types, positions = (point.gather(array) for array in (engine.ids, engine.types, engine.positions))
    vectors, origin = engine.cell, engine.origin
    masses = engine.masses()
    symbols = _symbols(elements_of(point), masses, point.units.style)

    def build() -> Cell:
        assert ids is not None and types is not None and positions is not None
        fractions = (positions - origin) @ np.linalg.inv(vectors)
        # Round-off does not decide on which side of the cell an atom is, and with it the order of atoms.
        fractions = fractions - np.floor(fractions + 1e-7)
        return Cell(ids, types, fractions, vectors, symbols, masses, _away_from_faces(fractions))

    return engine.on_root(build)


def _symbols(elements: Sequence[str], masses: FloatArray, units: str) -> tuple[str, ...]:
    """Names that phonopy accepts, all different: elements, as the potential or else the masses tell them, or Lr."""
    named: list[str] = []
    for element, mass in zip(elements, masses, strict=True):
        known = _by_mass(mass) if element == "X" and units != "lj" else element
        known = "Lr" if known == "X" else known
        earlier = sum(name.rstrip("0123456789") == known for name in named)
        named.append(f"{known}{earlier}" if earlier else known)
    return tuple(named)


def _by_mass(mass: float) -> str:
    """The element with this atomic mass; X if there is none."""
    from ase.data import atomic_masses, chemical_symbols

    nearest = int(np.argmin(np.abs(atomic_masses - mass)))
    return str(chemical_symbols[nearest]) if abs(atomic_masses[nearest] - mass) < _SAME_MASS else "X"


def heights(vectors: FloatArray) -> FloatArray:
    """Distances between opposite faces of a cell, (3,), Å."""
    return np.asarray(1 / np.linalg.norm(np.linalg.inv(vectors), axis=0))


def chosen_counts(vectors: FloatArray, reach: float, atoms: int, asked: Sequence[int] | None, warn: bool) -> IntArray:
    """How often a cell is repeated.

    Parameters
    ----------
    vectors : (3, 3) float array
        Cell vectors as rows, Å.
    reach : float
        Cutoff of the potential, Å.
    atoms : int
        Atoms of the cell.
    asked : sequence of three int, optional
        What is asked for. Default: so that the supercell is wider than twice the cutoff.
    warn : bool
        Whether to warn of a supercell that is not.

    Returns
    -------
    (3,) int array

    Raises
    ------
    LammpsImplicitError
        If the numbers that are asked for are not positive, or the supercell would have more than `ATOMS` atoms.
    """
    enough = np.maximum(np.ceil(2 * reach / heights(vectors) - 1e-9).astype(int), 1)
    if asked is None:
        if atoms * enough.prod() > max(ATOMS, atoms):
            raise LammpsImplicitError(
                f"a supercell wider than twice the cutoff ({2 * reach:.4g}) has {atoms * enough.prod():,} atoms: "
                "choose one with --supercell"
            )
        return enough
    counts = np.array(asked, int)
    if counts.shape != (3,) or (counts < 1).any():
        raise LammpsImplicitError(f"--supercell {' '.join(map(str, asked))}: give three whole numbers from 1")
    width = heights(vectors) * counts
    if warn and (width < 2 * reach * (1 - 1e-9)).any():
        needed = " ".join(map(str, np.maximum(enough, counts)))
        warnings.warn(
            f"the supercell is {width.min():.4g} wide, less than twice the cutoff, {2 * reach:.4g}: force constants "
            f"of periodic images add up in it; --supercell {needed} is wide enough",
            stacklevel=2,
        )
    return counts


@contextmanager
def supercell_of(point: StationaryPoint, cell: Cell, counts: IntArray) -> Iterator[StationaryPoint]:
    """Context with a point whose structure is the relaxed cell, repeated; collective.

    It is the point itself where that is not repeated. All atoms are moved by `Cell.shift`.

    Raises
    ------
    LammpsImplicitError
        If the point was not made from a deck, or the repeated cell is another structure.
    """
    if (counts == 1).all():
        with point.excursion(np.zeros(len(point.potential.theta)), _rigid(point, cell.shift @ cell.vectors)):
            yield point
        return
    recipe = point.recipe
    if "path" not in recipe:
        raise LammpsImplicitError("the cell can be repeated only if it comes from a deck: use Minimum.from_deck")
    engine, potential = start_lammps(
        Path(recipe["path"]),
        point.engine.comm,
        recipe["parameters"],
        recipe["variables"],
        replicate=tuple(map(int, counts)),
    )
    try:
        repeated = StationaryPoint(engine, potential, np.inf, np.inf)
        if point.engine.triclinic and not engine.triclinic:
            engine.allow_tilt()
            engine.settle()
            repeated.forget()
        _move_to(repeated, point.potential.theta, cell, counts)
        require_crystal(repeated)
        energies = point.energy / len(cell.ids), repeated.energy / engine.n_atoms
        if abs(energies[0] - energies[1]) > _SAME_ENERGY * max(map(abs, energies)):
            raise LammpsImplicitError(
                f"the repeated cell has the energy {energies[1]:.9g} per atom, not {energies[0]:.9g} as the cell: the "
                "deck does not end alike each time, or has interactions that end at the cell's boundary"
            )
        yield repeated
    finally:
        engine.close()


def _move_to(point: StationaryPoint, theta: FloatArray, cell: Cell, counts: IntArray) -> None:
    """Move a repeated cell to the relaxed structure and its parameters, and stay there."""
    engine = point.engine
    if engine.n_atoms != len(cell.ids) * counts.prod():
        raise LammpsImplicitError("the deck, run again, leaves another number of atoms")
    small = engine.cell / counts[:, None]
    with point.excursion(np.zeros(len(theta)), _rigid(point, cell.shift @ small)) as trip:
        trip.stay = True
    atoms = np.searchsorted(cell.ids, _original(engine.ids, int(cell.ids.max())))
    if engine.any(not np.array_equal(cell.types[atoms], engine.types)):
        raise LammpsImplicitError("the deck, run again, leaves other atoms")
    relaxed = cell.fractions[atoms] + cell.shift
    found = (engine.positions - engine.origin) @ np.linalg.inv(small)
    target = (relaxed + np.round(found - relaxed)) @ cell.vectors + engine.origin
    strain = np.linalg.solve(small, cell.vectors).T - np.eye(3)
    if abs(strain).max() < 1e-14:
        strain[:] = 0
    with point.excursion(theta - point.potential.theta, target - engine.positions, np.triu(strain)) as trip:
        trip.stay = True


def _rigid(point: StationaryPoint, vector: FloatArray) -> FloatArray:
    return np.tile(vector, (len(point.ids), 1))


def _away_from_faces(fractions: FloatArray) -> FloatArray:
    """A shift of fractional coordinates, (n, 3), after which the faces of the cell are in their widest gaps."""
    shift = np.zeros(3)
    for axis, values in enumerate(np.sort(fractions % 1, axis=0).T):
        gaps = np.diff(values, append=values[0] + 1)
        widest = int(np.argmax(gaps > gaps.max() - 1e-6))
        shift[axis] = -(values[widest] + gaps[widest] / 2) % 1
    return shift


def _original(ids: IntArray, largest: int) -> IntArray:
    """Ids of the atoms that repeated ones are copies of."""
    return np.asarray((ids - 1) % largest + 1)


@dataclass(frozen=True)
class Repeated:
    """Atoms of a supercell in LAMMPS, on rank 0.

    Attributes
    ----------
    ids : (N,) int array
        In ascending order.
    fractions : (N, 3) float array
        Fractional coordinates in the cell that is repeated, without its shift.
    """

    ids: IntArray
    fractions: FloatArray

    def in_order_of(self, fractions: FloatArray, atoms: IntArray, cell: Cell, counts: IntArray) -> IntArray:
        """Ids in another order.

        LAMMPS numbers copies by where atoms were when the cell was repeated: they may have been at its other side.

        Parameters
        ----------
        fractions : (N, 3) float array
            Fractional coordinates in the cell that is repeated, in this order.
        atoms : (N,) int array
            Number of the atom of the cell that each is a copy of.
        cell : Cell
        counts : (3,) int array
        """
        known = np.searchsorted(cell.ids, _original(self.ids, int(cell.ids.max())))
        have = np.argsort(_place(self.fractions, known, cell, counts))
        wanted = np.argsort(np.argsort(_place(fractions, atoms, cell, counts)))
        return np.asarray(self.ids[have][wanted])


def _place(fractions: FloatArray, atoms: IntArray, cell: Cell, counts: IntArray) -> IntArray:
    """A number for each atom of the supercell, from which copy of which atom it is."""
    a, b, c = (np.round(fractions - cell.fractions[atoms]).astype(int) % counts).T
    return np.asarray(((c * counts[1] + b) * counts[0] + a) * len(cell.ids) + atoms)


def repeated_atoms(point: StationaryPoint, cell: Cell) -> Repeated:
    """Atoms of a supercell; collective. Complete on rank 0 only."""
    ids, positions = point.gather(point.ids), point.gather(point.positions)
    if ids is None or positions is None:
        return Repeated(np.zeros(0, int), np.zeros((0, 3)))
    return Repeated(ids, (positions - point.engine.origin) @ np.linalg.inv(cell.vectors) - cell.shift)


def engine_of(point: StationaryPoint) -> Engine:
    """The engine of a point that `require_crystal` has accepted."""
    assert isinstance(point.engine, Engine)
    return point.engine
