"""Bonds: the pairs of atoms that springs connect, and contacts, which are longer ones.

Stored as pairs of indices and processed in chunks of atoms, because for a million atoms all other quantities per bond
would not fit into memory at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from lammps_implicit.arrays import BoolArray, FloatArray, IntArray
from lammps_implicit.evaluators.interface import Evaluator, Neighbourhood
from lammps_implicit.solvers.bends import CHUNK

KNOTS = 4
"""Knots of each piecewise linear stiffness. Chosen: few enough to be determined by the bonds of small cells."""

_CONTACTS = 30
"""Neighbours of an atom as far as which contacts reach, on average. Measured for 64 waters, benzene and polyethylene:
17 to 23, 6 and 6 iterations to 1e-6; 21 to 29, 8 to 9 and 6 to 7 with 20 neighbours."""

_CONTACT_KNOTS = 9
"""Knots of contacts beyond those of shorter springs. Measured for 26 dimers: 33, 23 and 21 iterations with 3, 5, 7."""

_MANY_KINDS = 36
"""Pairs of types above which all contacts share their stiffnesses: their number is that of the unknowns of the fit."""


@dataclass(frozen=True)
class Bonds:
    """Pairs of atoms connected by a spring, of which the first is owned by this rank; each pair occurs in both orders.

    Attributes
    ----------
    around : Neighbourhood
        Owned and ghost atoms.
    start, end : (m,) int arrays
        Indices into `around`; `start` is an owned atom, in non-decreasing order.
    knots : (KNOTS,) or (KNOTS + _CONTACT_KNOTS,) float array
        Lengths between which stiffnesses are linear, Å; the last one is the longest spring.
    kinds : (n_types + 1, n_types + 1) int array
        Number of each unordered pair of types (counted from 1).
    """

    around: Neighbourhood
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    knots: FloatArray
    kinds: IntArray

    def chunks(self, n: int) -> Iterator[tuple[slice, slice]]:
        """Yield slices of the `n` owned atoms and of the bonds that start at them, `CHUNK` atoms at a time."""
        for first in range(0, n, CHUNK):
            last = min(first + CHUNK, n)
            low, high = np.searchsorted(self.start, (first, last))
            yield slice(first, last), slice(int(low), int(high))

    def directions(self, part: slice) -> tuple[FloatArray, FloatArray]:
        """Return unit vectors r̂, (m, 3), and lengths in Å, (m,), of a slice of the bonds."""
        vectors = self.around.positions[self.end[part]] - self.around.positions[self.start[part]]
        lengths = np.linalg.norm(vectors, axis=1)
        return vectors / lengths[:, None], lengths

    def hats(self, part: slice, lengths: FloatArray) -> sparse.csr_matrix:
        """Return the hat functions at a slice of the bonds, (m, `unknowns`): two non-zeros per bond."""
        left = np.clip(np.searchsorted(self.knots, lengths, side="right") - 1, 0, len(self.knots) - 2)
        fraction = np.clip((lengths - self.knots[left]) / np.diff(self.knots)[left], 0.0, 1.0)
        types = self.around.types
        kind = self.kinds[types[self.start[part]], types[self.end[part]]]
        values = np.stack([1 - fraction, fraction], axis=1)
        columns = np.stack([self._column(kind, left), self._column(kind, left + 1)], axis=1)
        indptr = 2 * np.arange(len(lengths) + 1)
        return sparse.csr_matrix((values.ravel(), columns.ravel(), indptr), shape=(len(lengths), self.unknowns))

    @property
    def with_contacts(self) -> bool:
        """Whether these are bonds and contacts."""
        return len(self.knots) > KNOTS

    @property
    def beyond(self) -> BoolArray:
        """Which of the hat functions belong to contacts, (`unknowns`,): the last one of shorter springs does too."""
        count = int(self.kinds.max()) + 1
        numbers = np.arange(self.unknowns)
        return self.with_contacts & ((numbers >= KNOTS * count) | (numbers % KNOTS == KNOTS - 1))

    @property
    def unknowns(self) -> int:
        """Number of hat functions."""
        last = int(self.kinds.max())
        return int(self._column(np.array([last]), np.array([len(self.knots) - 1]))[0]) + 1

    def _column(self, kind: IntArray, knot: IntArray) -> IntArray:
        """Number of the hat function of each kind and knot, (m,): those of contacts come last."""
        count, more = int(self.kinds.max()) + 1, len(self.knots) - KNOTS
        shared = 0 if count > _MANY_KINDS else kind
        return np.where(knot < KNOTS, KNOTS * kind + knot, KNOTS * count + more * shared + knot - KNOTS)


def find_bonds(engine: Evaluator, around: Neighbourhood, factor: float) -> tuple[Bonds, float]:
    """Find all pairs of atoms closer than a multiple of the mean nearest-neighbour distance.

    Parameters
    ----------
    engine : Evaluator
    around : Neighbourhood
    factor : float
        Longest bond in units of the mean nearest-neighbour distance.

    Returns
    -------
    bonds : Bonds
    spacing : float
        Mean nearest-neighbour distance, Å.
    """
    n = len(engine.ids)
    tree = cKDTree(around.positions)
    nearest = np.concatenate(
        [np.empty(0)] + [tree.query(around.positions[i : min(i + CHUNK, n)], k=2)[0][:, 1] for i in range(0, n, CHUNK)]
    )
    nearest = nearest[np.isfinite(nearest)]
    count = engine.sum(len(nearest))
    spacing = float(engine.sum(float(nearest.sum()))) / max(count, 1)
    reach = factor * spacing
    start, end, shortest = _pairs(around, tree, n, reach)
    knots = np.linspace(-engine.max(-shortest), reach, KNOTS)
    return Bonds(around, start, end, knots, _kinds(engine.n_types)), spacing


def found_again(engine: Evaluator, bonds: Bonds, around: Neighbourhood) -> Bonds:
    """Find the pairs of atoms within the same reach, elsewhere: their stiffnesses are functions with the same knots."""
    start, end, _ = _pairs(around, cKDTree(around.positions), len(engine.ids), float(bonds.knots[-1]))
    return Bonds(around, start, end, bonds.knots, bonds.kinds)


def find_contacts(engine: Evaluator, bonds: Bonds) -> Bonds | None:
    """Add longer springs (contacts) to bonds: as far as `_CONTACTS` neighbours of an atom, on average.

    Parameters
    ----------
    engine : Evaluator
    bonds : Bonds
        From `find_bonds`.

    Returns
    -------
    Bonds or None
        None if the neighbourhood reaches no further than the bonds.
    """
    around, n = bonds.around, len(engine.ids)
    tree = cKDTree(around.positions)
    farthest = np.minimum(tree.query(around.positions[:n], k=_CONTACTS + 1)[0][:, -1], around.reach)
    reach = engine.sum(float(farthest.sum())) / max(engine.sum(n), 1)
    if not bonds.knots[-1] < reach < np.inf:
        return None
    start, end, _ = _pairs(around, tree, n, reach)
    knots = np.concatenate([bonds.knots, np.linspace(bonds.knots[-1], reach, _CONTACT_KNOTS + 1)[1:]])
    return Bonds(around, start, end, knots, bonds.kinds)


def _pairs(
    around: Neighbourhood, tree: cKDTree, n: int, reach: float
) -> tuple[NDArray[np.int32], NDArray[np.int32], float]:
    """Pairs of the first `n` atoms with all atoms within reach, sorted by the first, and the least distance."""
    starts, ends, shortest = [np.empty(0, np.int32)], [np.empty(0, np.int32)], reach
    for first in range(0, n, CHUNK):
        owned = cKDTree(around.positions[first : min(first + CHUNK, n)])
        pairs = owned.sparse_distance_matrix(tree, reach, output_type="ndarray")
        pairs = pairs[pairs["v"] > 0]
        pairs = pairs[np.argsort(pairs["i"], kind="stable")]
        starts.append((pairs["i"] + first).astype(np.int32))
        ends.append(pairs["j"].astype(np.int32))
        shortest = min(shortest, float(pairs["v"].min(initial=reach)))
    return np.concatenate(starts), np.concatenate(ends), shortest


def _kinds(n_types: int) -> IntArray:
    """Number the unordered pairs of types (counted from 1) from zero."""
    kinds = np.zeros((n_types + 1, n_types + 1), np.int64)
    first, second = np.triu_indices(n_types)
    kinds[first + 1, second + 1] = kinds[second + 1, first + 1] = np.arange(len(first))
    return kinds
