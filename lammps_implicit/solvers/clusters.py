"""Clusters of atoms: which atoms are connected, through boundaries of the cell too, and around which lattice vectors.

On each rank owned atoms and their ghosts fall into parts that are connected where they are. A ghost and the atom that
it is an image of link two parts, with the lattice vector between both. Parts and links are few; every rank follows all
of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lammps_implicit.arrays import BoolArray, FloatArray, IntArray
from lammps_implicit.evaluators.interface import Evaluator, Neighbourhood
from lammps_implicit.mpi.ownership import fetch, first_row
from lammps_implicit.solvers.bonds import find_bonds

_NEAREST, _GROWTH = 2.0, 1.5
"""Distance, in units of the mean nearest-neighbour distance, within which atoms belong to one cluster at first, and the
factor between one such distance and the next. Chosen: beyond second neighbours; molecules touch at two or three."""

MANY = 10_000
"""Number of atoms beyond which clusters are looked for within the first distance only: further ones hold hundreds of
pairs for each atom."""


@dataclass(frozen=True)
class Clusters:
    """Atoms in clusters.

    Attributes
    ----------
    labels : (n,) int array
        Number of the cluster of each atom of this rank.
    unwrapped : (n, 3) float array
        Positions at which each cluster is in one piece, Å; of one that is connected with its own images, any such.
    windings : tuple of (k, 3) float arrays
        For each cluster lattice vectors, Å, that lead to images of itself; not all need be independent.
    """

    labels: IntArray
    unwrapped: FloatArray
    windings: tuple[FloatArray, ...]

    def axes(self, number: int) -> FloatArray:
        """Unit vectors about which the images of a cluster let it rotate, (k, 3): three, one (a wire's) or none."""
        vectors = self.windings[number]
        if not len(vectors):
            return np.eye(3)
        if np.linalg.matrix_rank(vectors) > 1:
            return np.zeros((0, 3))
        return vectors[:1] / np.linalg.norm(vectors[0])


def widening_clusters(engine: Evaluator, around: Neighbourhood) -> Iterator[Clusters]:
    """Yield clusters of atoms within longer and longer distances, until all are one, or interactions reach no further.

    Parameters
    ----------
    engine : Evaluator
    around : Neighbourhood
        At the reference.
    """
    factor = _NEAREST
    while True:
        clusters, spacing = find_clusters(engine, around, factor)
        yield clusters
        factor *= _GROWTH
        if len(clusters.windings) <= 1 or engine.n_atoms > MANY or not 0 < factor * spacing < around.reach:
            return


def find_clusters(engine: Evaluator, around: Neighbourhood, factor: float) -> tuple[Clusters, float]:
    """Find the clusters of atoms that are connected by distances up to a multiple of the mean nearest one.

    Parameters
    ----------
    engine : Evaluator
    around : Neighbourhood
        At the reference.
    factor : float

    Returns
    -------
    clusters : Clusters
    spacing : float
        Mean nearest-neighbour distance, Å.
    """
    comm, n, count = engine.comm, len(engine.ids), len(around.ids)
    bonds, spacing = find_bonds(engine, around, factor)
    graph = coo_matrix((np.ones(len(bonds.start)), (bonds.start, bonds.end)), shape=(count, count))
    number, parts = connected_components(graph, directed=False)
    parts = parts + first_row(comm, number)
    bonded = np.zeros(count, bool)
    bonded[bonds.end] = True
    links = _links(engine, around, parts, n + np.flatnonzero(bonded[n:]))
    part_labels, shifts, windings = _followed(np.concatenate(comm.allgather(links)), engine.sum(number))
    labels = part_labels[parts[:n]]
    present = np.unique(np.concatenate(comm.allgather(np.unique(labels))))  # ghosts without a bond are none
    return Clusters(
        np.searchsorted(present, labels),
        around.positions[:n] + shifts[parts[:n]] @ engine.cell,
        tuple(np.array(windings[label], float).reshape(-1, 3) @ engine.cell for label in present.tolist()),
    ), spacing


def _links(engine: Evaluator, around: Neighbourhood, parts: IntArray, ghosts: IntArray) -> IntArray:
    """For ghosts, (m,): part, part of the atom that it is an image of, and cell vectors from there, (k, 5), once each.

    Parameters
    ----------
    engine : Evaluator
    around : Neighbourhood
    parts : (n_owned + n_ghost,) int array
    ghosts : (m,) int array
        Indices into `around`.
    """
    n, ids = len(engine.ids), around.ids[ghosts]
    owners = fetch(engine.comm, engine.ids, parts[:n].astype(np.int64), ids)
    apart = around.positions[ghosts] - fetch(engine.comm, engine.ids, around.positions[:n], ids)
    cells = np.rint(apart @ np.linalg.pinv(engine.cell)).astype(np.int64)
    links = np.unique(np.column_stack([parts[ghosts], owners, cells]), axis=0)
    moving: BoolArray = (links[:, 0] != links[:, 1]) | links[:, 2:].any(axis=1)
    return links[moving]


def _followed(links: IntArray, count: int) -> tuple[IntArray, IntArray, dict[int, list[IntArray]]]:
    """Follow links between parts.

    Returns
    -------
    labels : (count,) int array
        For each part the first one that it is linked with.
    shifts : (count, 3) int array
        Cell vectors by which each part is moved to join it.
    windings : dict
        By label, cell vectors that lead to an image of the same.
    """
    neighbours: dict[int, list[tuple[int, IntArray]]] = defaultdict(list)
    for first, second, *cells in links.tolist():
        neighbours[first].append((second, np.array(cells)))
        neighbours[second].append((first, -np.array(cells)))
    labels, shifts = np.full(count, -1), np.zeros((count, 3), np.int64)
    windings: dict[int, list[IntArray]] = defaultdict(list)
    for start in range(count):
        if labels[start] >= 0:
            continue
        labels[start], waiting = start, [start]
        while waiting:
            part = waiting.pop()
            for other, cells in neighbours[part]:
                there = shifts[part] + cells
                if labels[other] < 0:
                    labels[other], shifts[other] = start, there
                    waiting.append(other)
                elif (there != shifts[other]).any():
                    windings[start].append(there - shifts[other])
    return labels, shifts, windings
