"""The graph of nearest neighbours, to tell whether two states of the same atoms are the same structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import IntArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.mpi.ownership import exchange
from lammps_implicit.solvers.springs import find_bonds

BONDED, PARTED = 1.3, 1.5
"""Distances in units of the mean nearest-neighbour distance: neighbours below the one, none beyond the other. Between
them a pair keeps what it was."""

_SHOWN = 3


@dataclass(frozen=True)
class NeighbourGraph:
    """Pairs of atoms as keys, spread over ranks by the id of their first atom.

    Attributes
    ----------
    bonded, near : (m,) int arrays
        Sorted: pairs closer than `BONDED`, and closer than `PARTED`.
    """

    bonded: IntArray
    near: IntArray

    @classmethod
    def of(cls, engine: Evaluator) -> NeighbourGraph:
        """Take the graph at the engine's reference."""
        around = engine.neighbourhood()
        bonds, spacing = find_bonds(engine, around, PARTED)
        _, lengths = bonds.directions(slice(None))
        keys = around.ids[bonds.start] * 2**31 + around.ids[bonds.end]
        close = lengths < BONDED * spacing
        return cls(*(_at_home(engine, keys[chosen]) for chosen in (close, slice(None))))

    def difference(self, engine: Evaluator) -> str:
        """Say which pairs have become neighbours, or ceased to be, at the engine's reference; empty if none."""
        now = NeighbourGraph.of(engine)
        parted, met = np.setdiff1d(self.bonded, now.near), np.setdiff1d(now.bonded, self.near)
        # Every pair counts from both ends, but one of an atom with its own image.
        counts = [(int(engine.sum(len(keys))) + 1) // 2 for keys in (parted, met)]
        if not any(counts):
            return ""
        told = [
            f"{count} pairs {what} (atoms {_first(engine, keys)})"
            for count, what, keys in zip(counts, ("part", "meet"), (parted, met), strict=True)
            if count
        ]
        return f"neighbours change: {', '.join(told)}"


def _first(engine: Evaluator, keys: IntArray) -> str:
    """Name a few pairs, the same on all ranks."""
    gathered = np.concatenate(engine.comm.allgather(keys[:_SHOWN]))
    return ", ".join(f"{key // 2**31}-{key % 2**31}" for key in np.sort(gathered)[:_SHOWN])


def _at_home(engine: Evaluator, keys: IntArray) -> IntArray:
    """Send pairs to the rank that their first atom's id says, and sort them."""
    arrived, _, _ = exchange(engine.comm, keys, (keys // 2**31) % engine.comm.size)
    return np.unique(arrived)
