"""Which pair of atoms crosses a radius at a kink, and how many others share the radius."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from lammps_implicit.arrays import FloatArray
from lammps_implicit.conformance.directions import angstrom, line_of
from lammps_implicit.conformance.radii import pair_distances, written_radii
from lammps_implicit.evaluators.interface import Evaluator, Neighbourhood

INVOLVED = 0.2
"""Atoms whose force changes by this share of the largest change are taken for those of the pair."""

MOST = 8
"""With more atoms than this it is not a pair."""

ALIGNED = 0.999
"""Least cosine between the change of the force and the line between the atoms."""

SHARED = 1e-4, 1e-2
"""Å; pairs of the same types within these distances of the radius are counted."""

_WRITTEN = 2e-5
"""Å; a number of the deck within this of the radius is taken for it."""

_CROSSED = 5e-6
"""Å; pairs this close to a number of the deck cross it, where the force of one of their atoms changes."""


@dataclass(frozen=True)
class Pair:
    """A pair of atoms and the radius that it crosses.

    Attributes
    ----------
    ids, types : tuple of int
        Of both atoms.
    radius : float
        Distance at the kink.
    distance : float
        Distance at the reference.
    sharing : tuple of int
        Number of pairs of the same types within each distance of `SHARED` of the radius, at the reference.
    written : str
        Where the deck has this number; empty if it has not.
    """

    ids: tuple[int, int]
    types: tuple[int, int]
    radius: float
    distance: float
    sharing: tuple[int, ...]
    written: str

    def radius_described(self, length: str) -> str:
        """Describe the radius in words; `length` is the unit."""
        where = self.written or "no number of the deck"
        what = "a cutoff or switching radius" if self.written or self.sharing[1] > 1 else "perhaps a cutoff"
        return (
            f"r = {self.radius:.6f} {length} of types {self.types[0]}-{self.types[1]} ({where}; {what}, with "
            f"{self.sharing[1]} pairs within {SHARED[1]:.0e} Å of it)"
        )


def pair_of(engine: Evaluator, number: int, t: float, change: FloatArray) -> Pair | None:
    """Find the pair whose force changes at a place of a line: the two atoms are pushed along the line between them.

    Parameters
    ----------
    engine : Evaluator
        At its reference.
    number : int
        Of the line.
    t : float
        Place of the kink on it.
    change : (n, 3) float array
        Change of the forces, or of their slopes.

    Returns
    -------
    Pair or None
        None if the changes are not those of one pair.
    """
    around = engine.neighbourhood()
    sizes = np.linalg.norm(change, axis=1)
    largest = engine.max(float(sizes.max(initial=0.0)))
    involved = np.flatnonzero(sizes >= INVOLVED * largest) if largest > 0 else np.empty(0, int)
    if not 0 < engine.sum(len(involved)) <= MOST:
        return None
    changes = {
        int(id_): row
        for part in engine.comm.allgather([(engine.ids[i], change[i]) for i in involved])
        for id_, row in part
    }
    moved = around.positions + t * line_of(around.ids, around.free, number)
    candidates = [_partner(around, moved, int(i), changes) for i in involved]
    best = max(
        (found for part in engine.comm.allgather(candidates) for found in part if found is not None),
        default=None,
        key=lambda found: found[0],
    )
    if best is None or best[0] < ALIGNED:
        best = _at_written_radius(engine, around, moved, set(changes))
    if best is None:
        return None
    _, ids, types, radius, distance = best
    sharing = tuple(
        int(engine.sum(len(pair_distances(engine, around, types, radius, width * angstrom(engine))))) // 2
        for width in SHARED
    )
    return Pair(ids, types, radius, distance, sharing, _written(engine, radius))


_Found = tuple[float, tuple[int, int], tuple[int, int], float, float]


def _partner(around: Neighbourhood, moved: FloatArray, i: int, changes: dict[int, FloatArray]) -> _Found | None:
    """Atom with which atom i changes its force: how well it fits, ids, types, distance at the kink and before."""
    vectors = moved - moved[i]
    distances = np.linalg.norm(vectors, axis=1)
    mine = changes[int(around.ids[i])]
    along = np.abs(vectors @ mine) / np.maximum(distances, 1e-300) / np.linalg.norm(mine)
    along[distances < 1e-9] = 0.0
    # The partner, where it is free, changes by the opposite; where it is held, nothing is known of its force.
    for j in np.flatnonzero(along >= ALIGNED):
        other = changes.get(int(around.ids[j]))
        if other is not None:
            opposite = -float(other @ mine) / float(np.linalg.norm(other) * np.linalg.norm(mine))
            along[j] *= max(opposite, 0.0) if around.ids[j] != around.ids[i] else 1.0
        elif around.free[j].any():
            along[j] = 0.0
    if not len(along) or along.max() <= 0:
        return None
    best = along.max()
    j = min(np.flatnonzero(along >= best - 1e-6), key=lambda k: distances[k])
    return _as_found(around, i, int(j), float(best), float(distances[j]))


def _at_written_radius(
    engine: Evaluator, around: Neighbourhood, moved: FloatArray, involved: set[int]
) -> _Found | None:
    """A pair of the atoms involved whose distance is a number of the deck: where several pairs cross it together."""
    tree, width = cKDTree(moved), _CROSSED * angstrom(engine)
    mine: list[_Found] = []
    radii = written_radii(engine)
    for i in np.flatnonzero(np.isin(around.ids[: len(engine.ids)], sorted(involved))):
        for radius in radii:
            near = np.array(tree.query_ball_point(moved[i], radius + width), int)
            distances = np.linalg.norm(moved[near] - moved[i], axis=1)
            mine += [
                _as_found(around, int(i), int(j), 1.0, float(distance))
                for j, distance in zip(near, distances, strict=True)
                if distance > radius - width
            ]
    return min((one for part in engine.comm.allgather(mine[:1]) for one in part), default=None)


def _as_found(around: Neighbourhood, i: int, j: int, fit: float, distance: float) -> _Found:
    if around.ids[i] > around.ids[j]:
        i, j = j, i
    ids, types = (int(around.ids[i]), int(around.ids[j])), (int(around.types[i]), int(around.types[j]))
    return fit, ids, types, distance, float(np.linalg.norm(around.positions[j] - around.positions[i]))


def _written(engine: Evaluator, radius: float) -> str:
    """Where the deck has a number within round-off of a radius."""
    close = (
        text for number, text in written_radii(engine).items() if abs(number - radius) <= _WRITTEN * angstrom(engine)
    )
    return next(close, "")
