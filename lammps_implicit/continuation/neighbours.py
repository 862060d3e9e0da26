"""The graph of nearest neighbours, which tells whether two states of the same atoms are the same structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from lammps_implicit.arrays import BoolArray, IntArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.mpi.hashing import home_ranks
from lammps_implicit.mpi.ownership import exchange
from lammps_implicit.solvers.bonds import find_bonds

BONDED, PARTED = 1.3, 1.5
"""Distances below which pairs are neighbours and beyond which they are not, in units of the mean nearest-neighbour
distance; between the two a pair counts as it did before. Chosen between the second and third shells of bcc, at 1.15 and
1.63; the second shell of fcc, at 1.41, lies between the two and so does not change the graph."""

_SHOWN = 3
"""Pairs named in a message."""


@dataclass(frozen=True)
class NeighbourGraph:
    """Pairs of neighbouring atoms, each in both orders, distributed over ranks by a hash of the first atom's id.

    Attributes
    ----------
    bonded, near : (m, 2) int arrays
        Sorted ids of pairs closer than `BONDED`, and of pairs closer than `PARTED`, without repetition.
    shortest, spacing : float
        Smallest and mean distance of nearest neighbours, Å.
    """

    bonded: IntArray
    near: IntArray
    shortest: float
    spacing: float

    @classmethod
    def of(cls, engine: Evaluator) -> NeighbourGraph:
        """The graph at the engine's reference."""
        around = engine.neighbourhood()
        bonds, spacing = find_bonds(engine, around, PARTED)
        _, lengths = bonds.directions(slice(None))
        pairs = np.column_stack([around.ids[bonds.start], around.ids[bonds.end]])
        close = lengths < BONDED * spacing
        bonded, near = (_at_home(engine.comm, pairs[chosen]) for chosen in (close, slice(None)))
        return cls(bonded, near, float(bonds.knots[0]), spacing)

    def difference(self, engine: Evaluator) -> str:
        """Describe which pairs have become neighbours, or ceased to be, at the engine's reference; empty if none."""
        return self.change_to(NeighbourGraph.of(engine), engine)

    def change_to(self, now: NeighbourGraph, engine: Evaluator) -> str:
        """Describe which pairs have become neighbours, or ceased to be, in another graph; empty if none."""
        parted, met = _without(self.bonded, now.near), _without(now.bonded, self.near)
        # Every pair is counted in both orders, but a pair of an atom with its own image once.
        counts = [(engine.sum(len(pairs)) + 1) // 2 for pairs in (parted, met)]
        if not any(counts):
            return ""
        changes = [
            f"{count} pairs {what} (atoms {_first(engine.comm, pairs)})"
            for count, what, pairs in zip(counts, ("part", "meet"), (parted, met), strict=True)
            if count
        ]
        return f"neighbours change: {', '.join(changes)}"


def _first(comm: MPI.Comm, pairs: IntArray) -> str:
    """Name a few pairs, the same on all ranks."""
    pairs = pairs[pairs[:, 0] <= pairs[:, 1]]  # each in one of its orders
    mine = np.full((_SHOWN, 2), np.iinfo(np.int64).max)
    mine[: len(pairs)] = pairs[:_SHOWN]
    gathered = np.empty((comm.size * _SHOWN, 2), np.int64)
    comm.Allgather(mine, gathered)
    shown = _sorted(gathered)[:_SHOWN]
    return ", ".join(f"{first}-{second}" for first, second in shown if first != np.iinfo(np.int64).max)


def _at_home(comm: MPI.Comm, pairs: IntArray) -> IntArray:
    """Send pairs to the home rank of their first atom, and sort them there without repetition."""
    arrived, _, _ = exchange(comm, pairs, home_ranks(pairs[:, 0], comm.size))
    arrived = _sorted(arrived)
    return arrived[~_repeated(arrived)]


def _sorted(pairs: IntArray) -> IntArray:
    return pairs[np.lexsort(pairs.T[::-1])]


def _repeated(pairs: IntArray) -> BoolArray:
    """Which of the sorted pairs equal the one before, (m,)."""
    return np.concatenate([np.zeros(min(len(pairs), 1), bool), (pairs[1:] == pairs[:-1]).all(axis=1)])


def _without(pairs: IntArray, others: IntArray) -> IntArray:
    """Sorted pairs that are not among the others; neither has repetitions."""
    both = np.concatenate([others, pairs])
    order = np.lexsort(both.T[::-1])  # stable: of equal pairs the one of `others` comes first
    return both[order[(order >= len(others)) & ~_repeated(both[order])]]
