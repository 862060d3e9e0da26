"""Saddles around one minimum: pushed out of its basin, climbed to, and followed down on both sides.

A saddle counts if it has one negative mode and one of its descents leads back to the minimum. Saddles that are equal by
symmetry are told once, with the number of places at which they were found.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from mpi4py import MPI

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.errors import ConvergenceError, LammpsImplicitError, NotAMinimumError
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.relaxation.driving import driven
from lammps_implicit.relaxation.frame import Visited
from lammps_implicit.results.format import __version__
from lammps_implicit.results.snapshot import snapshot
from lammps_implicit.saddles.barrier import Barrier
from lammps_implicit.saddles.connecting import Saddle, Search
from lammps_implicit.saddles.index import eigenmode, negative_modes, the_negative_mode
from lammps_implicit.saddles.likeness import Likeness, likeness
from lammps_implicit.saddles.starting import Push, Start, Starts, check_whole
from lammps_implicit.stationary.checks import check_positive, require_same_atoms
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.structures import Structure

LEFT, CLIMBED = 0.4, 0.5
"""Largest displacement component on the way out of a basin, and in the climb after it, in nearest-neighbour distances.
Measured around vacancies in Cu and Ta: ways out that lead to a saddle take less than 0.35, climbs less than 0.38."""

_SAME_PLACE = 0.02
"""Å; largest distance of an atom in two saddles that are one, if their energies agree. Chosen."""

_SAME_ENERGY = 1e-6
"""eV; difference of the energies of saddles that are one. Chosen: they are relaxed to far less."""

_SETTLED = 1e-4
"""eV/Å; force to which the minimum behind a saddle is relaxed: its energy is then known to 1e-8 eV."""

NO_WAY, NO_SADDLE, ELSEWHERE, HIGHER = (
    "did not leave the basin",
    "reached no saddle",
    "led to a saddle without a path down to the start",
    "led to a saddle of another order",
)
"""Why searches find nothing."""


@dataclass(frozen=True)
class NearbySaddle:
    """A saddle with a path down to the minimum that the search started from; per-atom rows are those of `ids`.

    Attributes
    ----------
    ids : (n,) int array
        Ids of this rank's atoms, ascending.
    displacement : (n, 3) float array
        From the minimum to the saddle, Å.
    mode : (n, 3) float array
        Its negative mode, of unit norm.
    curvature : float
        vᵀHv of the mode, eV/Å².
    barrier : float
        Energy of the saddle minus that of the minimum, at its cell, eV.
    gradient : (P,) float array
        d(barrier)/dΘ.
    behind : (n, 3) float array
        Displacement from the minimum to the one on the other side, Å, relaxed to 1e-4 eV/Å.
    behind_energy : float
        Energy of that one minus that of the first, eV.
    movers : tuple of (int, float)
        Ids of the atoms that move most on the way to the other minimum, and how far, Å: see `MOVERS`.
    found : int
        How many searches led to it, or to one that is equal by symmetry.
    places : int
        How many of those were found.
    evaluations : int
        Force evaluations of the search that found it first.
    """

    ids: IntArray
    displacement: FloatArray
    mode: FloatArray
    curvature: float
    barrier: float
    gradient: FloatArray
    behind: FloatArray
    behind_energy: float
    movers: tuple[tuple[int, float], ...]
    found: int
    places: int
    evaluations: int


@dataclass(frozen=True)
class SaddlesAround:
    """Saddles around a minimum.

    Attributes
    ----------
    structure : Structure
        The minimum; rows as those of the saddles.
    energy : float
        Its energy, eV.
    saddles : tuple of NearbySaddle
        The lowest first.
    searches : int
    failures : dict of str to int
        Why the other searches found nothing, and how many.
    evaluations : int
        Force evaluations of all searches.
    theta : (P,) float array
        Parameters, with `names`.
    names : tuple of str
    attributes : dict
        Where it comes from: deck, units, versions.
    comm : MPI.Comm
        Of the ranks that hold the atoms.
    """

    structure: Structure
    energy: float
    saddles: tuple[NearbySaddle, ...]
    searches: int
    failures: dict[str, int]
    evaluations: int
    theta: FloatArray
    names: tuple[str, ...]
    attributes: dict[str, Any]
    comm: MPI.Comm


MOVERS = 3
"""Number of the atoms that are named as those that move most."""


def saddles_around(
    minimum: StationaryPoint,
    count: int = 0,
    *,
    modes: Sequence[Push] = (),
    seed: int = 0,
    ftol: float = 1e-8,
    progress: Progress = no_progress,
) -> SaddlesAround:
    """Search for saddles around a minimum, at its cell; it is left as it is.

    Parameters
    ----------
    minimum : StationaryPoint
    count : int
        Number of searches that push a random atom in a random direction: one of those with another number of neighbours
        than most of their type, if there are any.
    modes : sequence of (int, (3,) array_like)
        Further searches, which come first: ids of atoms, and the vectors along which each is pushed.
    seed : int
        Of the random numbers: the same on any number of ranks.
    ftol : float
        Largest force component at a saddle, eV/Å.
    progress : callable, optional
        Called with (searches done, number of searches).

    Returns
    -------
    SaddlesAround

    Raises
    ------
    LammpsImplicitError
        If there is nothing to search for, no such atom, or it is held.
    ConvergenceError
        If no saddle with a path down to the minimum is found.

    Examples
    --------
    For the Ta vacancy of `Minimum.from_deck`: a neighbour pushed towards it.

    >>> found = saddles_around(minimum, modes=[(2, (-1.0, -1.0, -1.0))])
    >>> print(f"{found.saddles[0].barrier:.3f} eV")
    1.123 eV
    """
    check_positive(ftol, "ftol")
    check_whole(count, "count", 0, 2**31)
    check_whole(seed, "seed", 0, 2**31)
    if not count and not len(modes):
        raise LammpsImplicitError("no search is asked for: give a number of random ones, or atoms with directions")
    if minimum.saddle:
        raise LammpsImplicitError("this point may be a saddle: searches start from a minimum (without saddle=True)")
    starts = Starts(minimum.engine)
    chosen = [starts.along(push) for push in modes]
    with minimum.excursion(np.zeros(len(minimum.potential.theta))):
        searches = _Searches(minimum, starts.spacing, ftol)
        for number in range(len(modes) + count):
            searches.run(chosen[number] if number < len(modes) else starts.random(seed, number - len(modes)))
            progress(number + 1, len(modes) + count)
    if not searches.known:
        why = ", ".join(f"{number} {reason}" for reason, number in searches.failures.items())
        raise ConvergenceError(
            f"no saddle was found around this minimum ({why}): ask for more searches, or push other atoms"
        )
    order = np.argsort(minimum.ids)
    found = sorted((known.saddle for known in searches.known), key=lambda saddle: saddle.barrier)
    return SaddlesAround(
        snapshot(minimum),
        minimum.energy,
        tuple(_in_order(saddle, order) for saddle in found),
        len(modes) + count,
        dict(searches.failures),
        searches.evaluations,
        minimum.potential.theta,
        tuple(minimum.potential.names),
        _attributes(minimum, seed, ftol),
        minimum.engine.comm,
    )


def _attributes(minimum: StationaryPoint, seed: int, ftol: float) -> dict[str, Any]:
    """Where the minimum comes from."""
    return {
        "package_version": __version__,
        **minimum.engine.versions,
        "deck": minimum.deck_name,
        "deck_sha256": minimum.deck_sha256,
        "recipe": json.dumps(minimum.recipe),
        "units": minimum.units.style,
        "dimension": minimum.units.dimension,
        "length_unit": minimum.units.length,
        "energy_unit": minimum.units.energy,
        "seed": seed,
        "ftol": ftol,
    }


@contextmanager
def barrier_over(minimum: StationaryPoint, saddle: NearbySaddle, ftol: float = 1e-8) -> Iterator[Barrier]:
    """The barrier from a minimum over a saddle that was found around it, all three relaxed with their cells if the cell
    of the minimum was.

    Parameters
    ----------
    minimum : StationaryPoint
    saddle : NearbySaddle
        Of `saddles_around` that minimum.
    ftol : float
        Largest force component, eV/Å.

    Yields
    ------
    Barrier
        Its other ends have evaluators of their own, which end with the context.
    """
    with minimum.twin(saddle=True) as top, minimum.twin() as final:
        for point, displacement in ((top, saddle.displacement), (final, saddle.behind)):
            require_same_atoms(minimum.engine, point.engine, "the deck, run again,")
            moved = fetch(point.engine.comm, saddle.ids, displacement, point.ids)
            with point.excursion(np.zeros(len(point.potential.theta)), moved) as trip:
                trip.stay = True
            point.relax(ftol, cell=minimum.freedom)
        mode = the_negative_mode(top)
        yield Barrier(minimum, top, final, mode)


@dataclass
class _Known:
    """A saddle, with places of all that are equal to it by symmetry, in the frame of the search."""

    saddle: NearbySaddle
    places: list[Saddle]
    likeness: Likeness


class _Searches:
    """Searches from the minimum at which a point stands, during an excursion of it.

    Attributes
    ----------
    known : list of _Known
        What was found.
    failures : Counter of str
    evaluations : int
    """

    def __init__(self, point: StationaryPoint, spacing: float, ftol: float) -> None:
        self.point, self.engine, self.spacing = point, point.engine, spacing
        self.known: list[_Known] = []
        self.failures: Counter[str] = Counter()
        self._before = self.engine.evaluations.forces
        self.search = Search(point, ftol * point.units.force_factor, 0)
        self.start, self.frame = self.search.start, self.search.frame
        self._slope = self._gradient()
        self._springs = self.search.preconditions(self.start)[0]
        self._types = self.engine.types.copy()
        self._others: list[tuple[str, Saddle]] = []

    @property
    def evaluations(self) -> int:
        """Force evaluations so far."""
        return self.engine.evaluations.forces - self._before

    def run(self, start: Start) -> None:
        """Search from one start, and take what it finds into account."""
        before = self.evaluations
        try:
            saddle = self._reached(start)
            reason = NO_WAY if saddle is None else self._taken(saddle, before)
        except (ConvergenceError, NotAMinimumError):
            reason = NO_SADDLE
        if reason:
            self.failures[reason] += 1

    def _reached(self, start: Start) -> Saddle | None:
        """The saddle to which a start leads; None if it does not leave the basin."""
        way_out = LEFT * self.spacing
        at = driven(self.frame, self._springs, self.start, start.direction, way_out, start.signs)
        if at is None:
            return None
        direction, within = at.positions - self.start.positions, CLIMBED * self.spacing
        return self.search.climbed(at.positions, direction, within, self.start.energy)

    def _taken(self, saddle: Saddle, before: int) -> str:
        """Take a saddle into account; why it does not count, or an empty text."""
        for known in self.known:
            if any(self._is(saddle, place) for place in known.places):
                known.saddle = replace(known.saddle, found=known.saddle.found + 1)
                return ""
        for reason, other in self._others:
            if self._is(saddle, other):
                return reason
        behind = self._behind(saddle)
        if behind is None:
            self._others.append((ELSEWHERE, saddle))
            return ELSEWHERE
        moved = self._moved(saddle.at)
        rows = self._types, self.start.positions, moved
        energies = saddle.at.energy - self.start.energy, behind.energy - self.start.energy
        alike = likeness(self.engine, energies, rows, self.start.energy)
        for known in self.known:
            if known.likeness.matches(alike):
                known.places.append(saddle)
                known.saddle = replace(known.saddle, found=known.saddle.found + 1, places=len(known.places))
                return ""
        found = self._described(saddle, behind, before)
        if found is None:
            self._others.append((HIGHER, saddle))
            return HIGHER
        self.known.append(_Known(found, [saddle], alike))
        return ""

    def _is(self, saddle: Saddle, other: Saddle) -> bool:
        near = abs(saddle.at.energy - other.at.energy) < _SAME_ENERGY
        return near and self.search.apart(saddle.at.positions, other.at.positions) < _SAME_PLACE

    def _behind(self, saddle: Saddle) -> Visited | None:
        """The minimum behind a saddle, seen from the start; None if no descent leads back to that."""
        sides = []
        for sign in (1.0, -1.0):
            side = self.search.descended(saddle, sign)
            if not self.search.same(side, self.start):
                forces = fetch(self.engine.comm, self.frame.ids, side.forces, self.engine.ids)
                side = self.search.settled(side.positions, forces, _SETTLED * self.point.units.force_factor)
            sides.append((self.search.same(side, self.start), side))
        if not any(back for back, _ in sides):
            return None
        return next((side for back, side in sides if not back), self.start)

    def _moved(self, at: Visited) -> FloatArray:
        """Displacement from the start, without rigid motions."""
        return self.search.project(self.engine.nearest_image(at.positions - self.start.positions))

    def _described(self, saddle: Saddle, behind: Visited, before: int) -> NearbySaddle | None:
        """What is told of a saddle; None if it has not exactly one negative mode."""
        point, frame = self.point, self.frame
        frame.place(saddle.at.positions)
        self.engine.settle()
        point.forget()
        modes = negative_modes(point)
        if len(modes) != 1:
            return None
        mode = eigenmode(point, modes[0])
        path = self._moved(behind) if behind is not self.start else self._moved(saddle.at)
        return NearbySaddle(
            ids=frame.ids,
            displacement=self._moved(saddle.at),
            mode=frame.here(mode.vector),
            curvature=mode.curvature,
            barrier=saddle.at.energy - self.start.energy,
            gradient=self._gradient() - self._slope,
            behind=self._moved(behind),
            behind_energy=behind.energy - self.start.energy,
            movers=self._farthest(path),
            found=1,
            places=1,
            evaluations=self.evaluations - before,
        )

    def _gradient(self) -> FloatArray:
        """∂U/∂Θ where the point stands; empty without parameters."""
        return self.point.response.energy_gradient() if len(self.point.potential.theta) else np.zeros(0)

    def _farthest(self, moved: FloatArray) -> tuple[tuple[int, float], ...]:
        """Ids of the atoms that move most, of all ranks, and how far."""
        lengths = np.linalg.norm(moved, axis=1)
        mine = np.argsort(-lengths)[:MOVERS]
        pairs = zip(self.frame.ids[mine].tolist(), lengths[mine].tolist(), strict=True)
        every = [pair for part in self.engine.comm.allgather(list(pairs)) for pair in part]
        return tuple(sorted(every, key=lambda pair: (-pair[1], pair[0]))[:MOVERS])


def _in_order(saddle: NearbySaddle, order: IntArray) -> NearbySaddle:
    """With rows in another order."""
    rows = {name: getattr(saddle, name)[order] for name in ("ids", "displacement", "mode", "behind")}
    return replace(saddle, **rows)
