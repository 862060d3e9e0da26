"""Saddles between two minima: guessed on a band between them, climbed to, and followed down on both sides.

A saddle counts only where it leads: its two descents end in minima, and where these are not the two that were asked
for, the gap between them is searched in turn. What comes out is a chain: minimum, saddle, minimum, …, each saddle with
a path down to both its neighbours (as in D. J. Wales, Energy Landscapes, Cambridge (2003), section 6.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.spatial import cKDTree

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import ConvergenceError, LammpsImplicitError, NotAMinimumError
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.relaxation.climbing import climb
from lammps_implicit.relaxation.frame import Apply, Frame, Visited
from lammps_implicit.relaxation.lbfgs import relax
from lammps_implicit.saddles.band import Band, highest, relaxed_band, straight
from lammps_implicit.saddles.index import negative_modes, the_negative_mode
from lammps_implicit.solvers.nullspace import unresisted
from lammps_implicit.solvers.softest import Mode
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.stationary.relaxable import FAR_FROM_MINIMUM

SAME = 0.1
"""Å; largest distance of an atom in two structures that are the same minimum. Chosen: far above what is left to relax,
far below a jump."""

PUSH = 0.1
"""Å; displacement off a saddle, of the atom that moves most, from which descents start. Chosen: they begin slowly
nearer to it, and may miss a shallow minimum farther away."""

IN_BASIN = 1e-2
"""eV/Å; largest force component at which a descent is close enough to its end to tell where that is. Chosen."""

_BAND_STEPS = (0, 6, 12, 24)
"""Steps that a band is relaxed further before each attempt to climb from its highest place. Measured: most saddles are
reached from the straight line."""

_ROUNDING = 1e-11
"""Height of a saddle above minima, relative to its energy, that is rounding."""

_MONOTONE = "the energy has no maximum between them"
"""Why a band leads nowhere."""

_SADDLES = 12
"""Saddles of a chain; a safeguard."""

_THROUGH = 0.5
"""Least distance of two atoms on the straight path, relative to that at its start, below which they count as passing
through each other. Chosen: no bond is compressed by so much on a path that costs a few eV."""

_REACH = 0.6
"""Largest displacement in a climb, relative to the largest between the two minima. Chosen: beyond it, it is another
saddle."""


@dataclass(frozen=True)
class Saddle:
    """A saddle and what is known of it.

    Attributes
    ----------
    at : Visited
        In the frame of the search.
    mode : (n, 3) float array
        Its negative mode, of unit norm, in the same order.
    """

    at: Visited
    mode: FloatArray


Connection = tuple[Visited, Saddle, Visited]
"""A saddle, between the minima to which it leads on the side of each end of a search."""


@dataclass(frozen=True)
class Chain:
    """Minima and the saddles between them: one more minimum than saddles.

    Attributes
    ----------
    minima : tuple of Visited
    saddles : tuple of Saddle
    """

    minima: tuple[Visited, ...]
    saddles: tuple[Saddle, ...]

    @property
    def highest(self) -> int:
        """Number of the highest saddle."""
        return int(np.argmax([saddle.at.energy for saddle in self.saddles]))

    def places(self) -> list[Visited]:
        """Minima and saddles in their order along the path."""
        inner = [(saddle.at, minimum) for saddle, minimum in zip(self.saddles, self.minima[1:], strict=True)]
        return [self.minima[0], *(place for pair in inner for place in pair)]


class Search:
    """Searches from a minimum at which a point stands; it is wherever the last search ended afterwards.

    Parameters
    ----------
    point : StationaryPoint
        At a minimum.
    ftol : float
        Largest force component at a saddle, in LAMMPS' unit.
    images : int
        Number of images between the ends of a band.
    progress : callable
        Called with (steps done, steps expected) of each climb.
    doubt : callable
        Called once, when the first attempt to find a saddle between two minima fails.

    Attributes
    ----------
    frame : Frame
        Its rows are those of all arrays here.
    start : Visited
        The minimum.
    spent : dict of str to int
        Force evaluations of bands, climbs and descents.
    """

    def __init__(
        self,
        point: StationaryPoint,
        ftol: float,
        images: int,
        progress: Progress = no_progress,
        doubt: Callable[[], None] = lambda: None,
    ) -> None:
        self.point, self.engine = point, point.engine
        self.ftol, self.images, self.progress = ftol, images, progress
        forces = point.response.hessian.reference_forces
        self.frame = Frame(self.engine)
        self.start = Visited(self.frame.start, point.energy, forces)
        self._closest = _closest(point)[0]
        self._left = _SADDLES
        self._doubt: Callable[[], None] | None = doubt
        self.spent: dict[str, int] = {}
        self._fitted: list[tuple[Visited, Apply]] = []
        self.project = unresisted(self.engine).project

    def connect(self, end: Visited) -> Chain:
        """The chain of saddles from the start to another minimum.

        Raises
        ------
        LammpsImplicitError
            If atoms would have to pass through each other.
        ConvergenceError
            If no saddle is found, or the ends cannot be connected.
        """
        self._left = _SADDLES
        return self._chain(self.start, end)

    def verified(self, chain: Chain) -> tuple[Chain, Mode]:
        """A chain whose highest saddle has one negative mode, and that mode, in the frame; the point stands there then.

        A place with two negative modes, which symmetry may keep a path on, is left along the second.

        Raises
        ------
        NotAMinimumError
            If no saddle with one negative mode is found.
        """
        for _ in range(_SADDLES):
            with self._counted("modes"):
                saddle = chain.saddles[chain.highest]
                self.stand_at(saddle)
                negative = negative_modes(self.point)
            if len(negative) < 2:
                break
            chain = self._left_along(chain, saddle, *negative[:2])
        mode = the_negative_mode(self.point, negative)
        return chain, replace(mode, vector=self.frame.here(mode.vector))

    def stand_at(self, saddle: Saddle) -> None:
        """Make a saddle the present structure of the point, which is one of a saddle from then on."""
        self.frame.place(saddle.at.positions)
        self.engine.settle()
        self.point.saddle = True
        self.point.forget()

    def climbed(self, start: FloatArray, direction: FloatArray, within: float, above: float) -> Saddle:
        """Climb to a saddle from a place along a direction, (n, 3) each.

        Raises
        ------
        ConvergenceError
            If there is none within this largest displacement component, Å, and above this energy, eV.
        """
        frame, engine = self.frame, self.engine
        with self._counted("climbs"):
            frame.place(start)
            forces = engine.settle()
            direction = fetch(engine.comm, frame.ids, direction, engine.ids)
            fit = partial(self.point.preconditioner.near, saddle=True)
            found = climb(engine, forces, fit, direction, self.ftol, within, above, self.progress)
        at = Visited(frame.seen(start), engine.energy, frame.here(found.forces))
        return Saddle(at, frame.here(found.mode))

    def descended(self, saddle: Saddle, sign: float) -> Visited:
        """The minimum to which a saddle leads on one side, or a place near it if that is known; see `settled`."""
        frame, engine = self.frame, self.engine
        push = PUSH / engine.max_abs(saddle.mode)
        with self._counted("descents"):
            frame.place(saddle.at.positions + sign * push * saddle.mode)
            return self.settled(saddle.at.positions, engine.settle(), IN_BASIN * self.point.units.force_factor)

    def settled(self, near: FloatArray, forces: FloatArray, ftol: float) -> Visited:
        """The minimum below the present reference, relaxed to forces of `ftol`; its periodic images are those
        `near`."""
        far = FAR_FROM_MINIMUM * self.point.units.force_factor
        fit = partial(self.point.preconditioner.near, short=True)
        forces = relax(self.engine, forces, fit, ftol, far)
        self.engine.return_to_reference()
        return Visited(self.frame.seen(near), self.engine.energy, self.frame.here(forces))

    def preconditions(self, *places: Visited) -> tuple[Apply, ...]:
        """The function v → K⁻¹v with springs fitted at each of some places; each is fitted once."""
        for place in places:
            if not any(known is place for known, _ in self._fitted):
                fit = self.point.preconditioner.near
                self._fitted.append((place, self.frame.fitted(fit, place.positions)))
        return tuple(apply for place in places for known, apply in self._fitted if known is place)

    def same(self, one: Visited, other: Visited) -> bool:
        """Whether two structures are the same minimum."""
        return self.apart(one.positions, other.positions) < SAME

    def apart(self, one: FloatArray, other: FloatArray) -> float:
        """Largest distance of an atom in two structures, Å, without rigid motions."""
        moved = self.project(self.engine.nearest_image(other - one))
        return self.engine.max(float(np.linalg.norm(moved, axis=1).max(initial=0.0)))

    @contextmanager
    def _counted(self, what: str) -> Iterator[None]:
        before = self.engine.evaluations.forces
        try:
            yield
        finally:
            self.spent[what] = self.spent.get(what, 0) + self.engine.evaluations.forces - before

    # -- inside ------------------------------------------------------------------------------------------------------

    def _chain(self, start: Visited, end: Visited) -> Chain:
        if self.same(start, end):
            return Chain((start,), ())
        found = self._between(start, end)
        if isinstance(found, Visited):
            head, tail = self._chain(start, found), self._chain(found, end)
            return Chain((*head.minima, *tail.minima[1:]), (*head.saddles, *tail.saddles))
        first, saddle, last = found
        head, tail = self._chain(start, first), self._chain(last, end)
        return Chain((*head.minima, *tail.minima), (*head.saddles, saddle, *tail.saddles))

    def _between(self, start: Visited, end: Visited) -> Connection | Visited:
        """A saddle between two minima, or a minimum between them."""
        self._left -= 1
        if self._left < 0:
            raise ConvergenceError(
                f"{_SADDLES} saddles do not connect the end states: give end states that are closer to each other"
            )
        way = self.project(self.engine.nearest_image(end.positions - start.positions))
        there = end._replace(positions=start.positions + way)
        with self._counted("bands"):
            band = self._band(start, there)
        candidate: Connection | None = None
        failure = _MONOTONE
        for steps in _BAND_STEPS:
            with self._counted("bands"):
                band = (
                    relaxed_band(self.frame, self.preconditions(start, end), band, self.ftol, steps) if steps else band
                )
            top = highest(self.engine, band)
            found, reason = self._over(top, start, there) if top is not None else (None, _MONOTONE)
            if found is not None and (self.same(found[0], start) or self.same(found[2], end)):
                return found
            candidate, failure = found or candidate, reason
            if self._doubt is not None:
                self._doubt()
                self._doubt = None
            if found is None and steps and (inside := self._minimum_inside(band)) is not None:
                return inside
        if candidate is None:
            raise ConvergenceError(f"no saddle was found between the end states: {failure}")
        return candidate

    def _over(self, top: tuple[FloatArray, FloatArray], start: Visited, end: Visited) -> tuple[Connection | None, str]:
        """What is found by climbing from the highest place of a band, or why nothing is."""
        reach = _REACH * self.engine.max_abs(self.engine.nearest_image(end.positions - start.positions))
        try:
            saddle = self.climbed(*top, reach, max(start.energy, end.energy))
            return self._sides(saddle, start, end), "the saddle that was found leads to the same minimum on both sides"
        except ConvergenceError as error:
            return None, str(error)

    def _minimum_inside(self, band: Band) -> Visited | None:
        """The minimum below the lowest image of a band that is lower than its neighbours, unless it is an end."""
        energies = band.energies
        valleys = [i for i in range(1, len(energies) - 1) if energies[i] < min(energies[i - 1], energies[i + 1])]
        if not valleys:
            return None
        place = band.images[min(valleys, key=lambda i: energies[i])].positions
        with self._counted("descents"):
            self.frame.place(place)
            minimum = self.settled(place, self.engine.settle(), self.ftol)
        return None if any(self.same(minimum, end) for end in (band.images[0], band.images[-1])) else minimum

    def _sides(self, saddle: Saddle, start: Visited, end: Visited) -> Connection | None:
        """A saddle with its two minima in the order of the ends; None if they are the same."""
        if saddle.at.energy - max(start.energy, end.energy) <= _ROUNDING * abs(saddle.at.energy):
            return None
        sides = [self._known(self.descended(saddle, sign), (start, end)) for sign in (1.0, -1.0)]
        if self.same(*sides):
            return None
        apart = [[self.apart(side.positions, one.positions) for one in (start, end)] for side in sides]
        if apart[0][0] + apart[1][1] > apart[0][1] + apart[1][0]:
            sides.reverse()
        return sides[0], saddle, sides[1]

    def _known(self, side: Visited, known: tuple[Visited, ...]) -> Visited:
        """The minimum that the end of a descent is: one that is known, or relaxed further where it stands now."""
        for one in known:
            if self.same(side, one):
                return one
        forces = fetch(self.engine.comm, self.frame.ids, side.forces, self.engine.ids)
        return self.settled(side.positions, forces, self.ftol)

    def _left_along(self, chain: Chain, saddle: Saddle, first: Mode, second: Mode) -> Chain:
        """A chain without a place that has two negative modes."""
        engine, index = self.engine, chain.highest
        start, end = chain.minima[index : index + 2]
        direction, off = self.frame.here(first.vector), self.frame.here(second.vector)
        place = saddle.at.positions + PUSH / engine.max_abs(off) * off
        beside = self.climbed(place, direction, np.inf, max(start.energy, end.energy))
        found = self._sides(beside, start, end)
        if found is None:
            raise NotAMinimumError(
                "a place with two negative modes lies between the end states, and no saddle beside it"
            )
        head, tail = self._chain(start, found[0]), self._chain(found[2], end)
        minima = *chain.minima[:index], *head.minima, *tail.minima, *chain.minima[index + 2 :]
        saddles = *chain.saddles[:index], *head.saddles, beside, *tail.saddles, *chain.saddles[index + 1 :]
        return Chain(minima, saddles)

    def _band(self, start: Visited, end: Visited) -> Band:
        """The straight band between two minima, on which no atoms pass through each other."""
        images = []
        for place in straight(start.positions, end.positions, self.images):
            images.append(self.frame.visit(place))
            distance, ids = _closest(self.point)
            if distance < _THROUGH * self._closest:
                raise LammpsImplicitError(
                    f"on the straight path between the end states atoms {ids[0]} and {ids[1]} come within "
                    f"{distance:.2g} {self.point.units.length} of each other, as if they changed places through each "
                    "other: number the atoms alike in both, or give the steps of the exchange one by one"
                )
        return Band((start, *images, end))


def _closest(point: StationaryPoint) -> tuple[float, tuple[int, int]]:
    """Least distance of two atoms at the reference, Å, and their ids."""
    engine, around = point.engine, point.engine.neighbourhood()
    own = len(engine.ids)
    nearest = np.full(0, np.inf)
    pairs = np.zeros((0, 2), np.int64)
    if own and len(around.ids) > 1:
        apart, index = cKDTree(around.positions).query(around.positions[:own], k=2)
        nearest, pairs = apart[:, 1], np.stack([around.ids[:own], around.ids[index[:, 1]]], axis=1)
    least = -engine.max(-float(nearest.min(initial=np.inf)))
    mine = pairs[nearest == least]
    ids = engine.comm.allgather(tuple(map(int, mine[0])) if len(mine) else None)
    return least, next((pair for pair in ids if pair is not None), (0, 0))
