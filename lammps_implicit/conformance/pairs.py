"""Which pair of atoms crosses a radius at a kink, and how many others share the radius."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from lammps_implicit.arrays import FloatArray
from lammps_implicit.conformance.directions import angstrom, line_of
from lammps_implicit.evaluators.interface import Evaluator, Neighbourhood

INVOLVED = 0.2
"""Atoms whose force changes by this share of the largest change are taken for those of the pair."""

ALIGNED = 0.999
"""Least cosine between the change of the force and the line between the atoms."""

SHARED = 1e-4, 1e-2
"""Å; pairs of the same types within these distances of the radius are counted."""

_WRITTEN = 2e-5
"""Å; a number of the deck within this of the radius is taken for it."""


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

    def described(self, length: str) -> str:
        """Describe it in words; `length` is the unit."""
        others = f"{self.sharing[1]} pairs within {SHARED[1]:.0e} Å of it"
        radius = f"r = {self.radius:.6f} {length}" + (f" ({self.written})" if self.written else "")
        what = "a cutoff or switching radius" if self.written or self.sharing[1] > 1 else "perhaps a cutoff"
        return f"atoms {self.ids[0]}-{self.ids[1]} (types {self.types[0]}-{self.types[1]}) cross {radius}, {what}, {others}"


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
    changes = {
        int(id_): row
        for part in engine.comm.allgather([(engine.ids[i], change[i]) for i in involved])
        for id_, row in part
    }
    moved = around.positions + t * line_of(around.ids, around.free, number)
    candidates = [_partner(around, moved, int(i), changes) for i in involved] if len(changes) <= 8 else []
    best = max(
        (found for part in engine.comm.allgather(candidates) for found in part if found is not None),
        default=None,
        key=lambda found: found[0],
    )
    if best is None or best[0] < ALIGNED:
        return None
    _, ids, types, radius, distance = best
    sharing = tuple(_sharing(engine, around, types, radius, width * angstrom(engine)) for width in SHARED)
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
    ids = (int(around.ids[i]), int(around.ids[j]))
    types = (int(around.types[i]), int(around.types[j]))
    before = float(np.linalg.norm(around.positions[j] - around.positions[i]))
    order = slice(None) if ids[0] <= ids[1] else slice(None, None, -1)
    first, second = ids[order], types[order]
    return float(best), (first[0], first[1]), (second[0], second[1]), float(distances[j]), before


def _sharing(engine: Evaluator, around: Neighbourhood, types: tuple[int, int], radius: float, width: float) -> int:
    """Number of pairs of two types whose distance at the reference is within a width of a radius."""
    tree, owned = cKDTree(around.positions), len(engine.ids)
    count = 0
    for a, b in {types, types[::-1]}:
        for i in np.flatnonzero(around.types[:owned] == a):
            near = np.array(tree.query_ball_point(around.positions[i], radius + width), int)
            near = near[around.types[near] == b]
            distances = np.linalg.norm(around.positions[near] - around.positions[i], axis=1)
            count += int(np.count_nonzero(np.abs(distances - radius) <= width))
    return int(engine.sum(count)) // 2


def _written(engine: Evaluator, radius: float) -> str:
    """Where the deck has a number within round-off of a radius."""
    commands = {"pair_style": engine.deck.pair_style}
    commands |= {f"pair_coeff {' '.join(line.args[:2])}": line.args[2:] for line in engine.deck.pair_coeffs}
    for command, words in commands.items():
        for word in words:
            try:
                if abs(float(word) - radius) <= _WRITTEN * angstrom(engine):
                    return f"{word} of {command}"
            except ValueError:
                continue
    return ""
