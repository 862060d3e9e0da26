"""Learned springs: a preconditioner fitted to one Hessian-vector product, or two.

    K = Σ_bonds (e_i - e_j)(e_i - e_j)ᵀ ⊗ [k_L(r) r̂r̂ᵀ + k_T(r) (1 - r̂r̂ᵀ)]

over pairs closer than about 1.3 nearest-neighbour distances. The longitudinal and transverse stiffnesses k_L and k_T
are piecewise linear functions of r for each pair of atom types, fitted by non-negative least squares to one product H w
with a random w. K is symmetric positive semidefinite by construction, and requires no lattice, orientation or bulk
reference. Angles at atoms with few neighbours have a stiffness too (`bends`).

Where such springs do not hold the structure together, as in molecules, longer ones (contacts) join its parts. They are
far softer and drown in the misfit of the stiff ones along a random w, so a second product shows them: that with K⁻¹w,
in which parts move by far more than their bonds stretch.

Bonds are stored as pairs of indices and processed in chunks of atoms, because for a million atoms all other quantities
per bond would not fit into memory at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls
from scipy.spatial import cKDTree

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.errors import NotAMinimumError
from lammps_implicit.evaluators.interface import Evaluator, Neighbourhood
from lammps_implicit.mpi.hashing import splitmix64
from lammps_implicit.mpi.ownership import fetch, global_rows
from lammps_implicit.solvers.bends import CHUNK, Bends

KNOTS = 4
"""Knots of each piecewise linear stiffness. Chosen: few enough to be determined by the bonds of small cells."""

_SHIFT = 1e-6
"""Added to the diagonal of K, relative to its mean, to make K invertible; acts in the preconditioner only. Measured:
metals need equal numbers of iterations with 1e-6 and 1e-3."""

HELD = 0.01
"""Fraction of wᵀK⁻¹w for a random w that may come from the shift alone if springs hold the structure. Measured: 2e-6 to
1e-5 in crystals and alloys, 1.0 in molecules and in a film with molecules on it."""

_CONTACTS = 20
"""Neighbours of an atom as far as which contacts reach, on average: more than touch it in a liquid of molecules (12 to
30 need equal numbers of iterations), and no more than the springs of a metal."""

_CONTACT_KNOTS = 7
"""Knots of contacts beyond those of shorter springs. Measured for 26 dimers: 33, 23 and 21 iterations with 3, 5, 7."""

_MANY_KINDS = 36
"""Pairs of types above which all contacts share their stiffnesses: their number is that of the unknowns of the fit."""

STRONG = 0.08
"""Blocks of K, relative to those on the diagonal, that multigrid aggregates where there are contacts: bonds are, and
contacts are not, so that molecules become the coarse level, with their rigid motions. Measured for dimers, chains and a
film with molecules: 6, 13 and 3 cycles for a thousandth of the residual of K, 42, 36 and 30 if all are aggregated; 0.02
to 0.25 do about as well."""


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
    def unknowns(self) -> int:
        """Number of hat functions."""
        last = int(self.kinds.max())
        return int(self._column(np.array([last]), np.array([len(self.knots) - 1]))[0]) + 1

    def _column(self, kind: IntArray, knot: IntArray) -> IntArray:
        """Number of the hat function of each kind and knot, (m,): those of contacts come last."""
        count, more = int(self.kinds.max()) + 1, len(self.knots) - KNOTS
        shared = 0 if count > _MANY_KINDS else kind
        return np.where(knot < KNOTS, KNOTS * kind + knot, KNOTS * count + more * shared + knot - KNOTS)


@dataclass(frozen=True)
class Probe:
    """A product that springs are fitted to.

    Attributes
    ----------
    values : (n_owned + n_ghost, 3) float array
        w, zero at frozen components.
    product : (n_owned, 3) float array
        H w.
    """

    values: FloatArray
    product: FloatArray


@dataclass(frozen=True)
class Springs:
    """Bonds and bends with their stiffnesses.

    Attributes
    ----------
    bonds : Bonds
    bends : tuple of Bends
        Bends, and twists where there are contacts.
    longitudinal, transverse : float arrays
        Weights of the hat functions of bonds, eV/Å².
    angular : tuple of (n_kinds,) float arrays
        Stiffness of each kind of bend, and of twist, eV/rad².
    misfit : float
        ‖Kw - Hw‖ / ‖Hw‖ for the vectors w of the fit, root mean square.
    shift : float
        Added to the diagonal of K, relative to its mean.
    """

    bonds: Bonds
    bends: tuple[Bends, ...]
    longitudinal: FloatArray
    transverse: FloatArray
    angular: tuple[FloatArray, ...]
    misfit: float
    shift: float = _SHIFT

    def angle_blocks(self, atoms: slice) -> Iterator[tuple[IntArray, IntArray, FloatArray]]:
        """Yield the blocks of K due to angles in the rows of some owned atoms, see `Bends.blocks`."""
        for bends, stiffness in zip(self.bends, self.angular, strict=True):
            yield from bends.blocks(atoms, stiffness)

    def blocks(self, part: slice) -> FloatArray:
        """Return the stiffness matrices of a slice of the bonds, (m, 3, 3), eV/Å²."""
        directions, lengths = self.bonds.directions(part)
        hats = self.bonds.hats(part, lengths)
        along, across = hats @ self.longitudinal, hats @ self.transverse
        outer = directions[:, :, None] * directions[:, None, :]
        return (along - across)[:, None, None] * outer + across[:, None, None] * np.eye(3)


def random_vector(ids: IntArray, seed: int = 0) -> FloatArray:
    """Return pseudo-random numbers in [-1, 1) that depend on atom ids only, not on owners or order.

    Parameters
    ----------
    ids : (n,) int array
        Atom ids.
    seed : int
        Selects one of many independent arrays.

    Returns
    -------
    (n, 3) float array
        Uniformly distributed: `splitmix64` of id and component.
    """
    counter = ids.astype(np.uint64)[:, None] * np.uint64(3) + np.arange(3, dtype=np.uint64) + np.uint64(seed << 48)
    return splitmix64(counter.astype(np.uint64)).astype(np.float64) / 2.0**63 - 1.0


def random_probe(around: Neighbourhood, product: FloatArray, seed: int = 0) -> Probe:
    """Return the product H w, (n, 3), with w = `random_vector` of the seed, frozen components set to zero."""
    return Probe(random_vector(around.ids, seed) * around.free, product)


def soft_probe(engine: Evaluator, around: Neighbourhood, vector: FloatArray, product: FloatArray) -> Probe:
    """Return a product H w with any w, (n, 3), whose values on ghost atoms are fetched."""
    return Probe(fetch(engine.comm, engine.ids, vector, around.ids), product)


def fit_springs(engine: Evaluator, bonds: Bonds, bends: tuple[Bends, ...], probes: Sequence[Probe]) -> Springs:
    """Fit springs to Hessian-vector products, each weighted by the inverse of its norm.

    Parameters
    ----------
    engine : Evaluator
    bonds : Bonds
    bends : tuple of Bends
    probes : sequence of Probe
        At the reference.

    Raises
    ------
    NotAMinimumError
        If a product vanishes.
    """
    sizes = [bonds.unknowns, bonds.unknowns, *(angles.n_kinds for angles in bends)]
    unknowns = sum(sizes)
    gram, right = np.zeros((unknowns, unknowns)), np.zeros(unknowns)
    for probe in probes:
        size = engine.norm(probe.product)
        if size == 0:
            raise NotAMinimumError(
                "displacements cause no forces: the energy does not depend on positions here; check the potential's "
                "cutoff"
            )
        for atoms, part in bonds.chunks(len(engine.ids)):
            free = engine.alone[atoms].T.ravel()
            angles = [kind.design_matrix(atoms, probe.values) for kind in bends]
            design = (
                sparse.hstack([design_matrix(bonds, atoms, part, probe.values), *angles], format="csr")[free] / size
            )
            target = probe.product[atoms].T.ravel()[free] / size
            gram += (design.T @ design).toarray()
            right += design.T @ target
    gram, right = engine.sum(gram), engine.sum(right)
    # Solved on one rank, so that the springs are identical on all.
    stiffness = engine.on_root(lambda: _nonnegative_least_squares(gram, right))
    squared_error = len(probes) - 2 * right @ stiffness + stiffness @ gram @ stiffness
    longitudinal, transverse, *angular = np.split(stiffness, np.cumsum(sizes[:-1]))
    misfit = float(np.sqrt(max(float(squared_error), 0.0) / len(probes)))
    return Springs(bonds, bends, longitudinal, transverse, tuple(angular), misfit)


def typical_stiffness(engine: Evaluator, springs: Springs) -> float:
    """Mean of the diagonal of K over free components, eV/Å²; 1 if there are no springs."""
    total, n = 0.0, len(engine.ids)
    for atoms, part in springs.bonds.chunks(n):
        diagonal = np.einsum("maa->ma", springs.blocks(part))
        total += float((diagonal * engine.alone[springs.bonds.start[part]]).sum())
        for rows, columns, blocks in springs.angle_blocks(atoms):
            own = columns == rows
            total += float((np.einsum("maa->ma", blocks[own]) * engine.alone[rows[own]]).sum())
    typical = engine.sum(total) / max(engine.sum(int(np.count_nonzero(engine.alone))), 1)
    return typical if typical > 0 else 1.0


def held_by_shift(engine: Evaluator, springs: Springs, vector: FloatArray, soft: FloatArray) -> float:
    """Fraction of wᵀK⁻¹w that is due to the shift of K alone: near 1 where springs leave parts loose.

    Parameters
    ----------
    engine : Evaluator
    springs : Springs
    vector, soft : (n, 3) float arrays
        w without rigid motions, and K⁻¹w.
    """
    work = engine.dot(vector, soft)
    return springs.shift * typical_stiffness(engine, springs) * engine.dot(soft, soft) / work if work > 0 else 1.0


def active_atoms(engine: Evaluator) -> NDArray[np.bool_]:
    """Return the mask of this rank's atoms with free components, (n,), for which K is assembled."""
    return np.any(engine.alone, axis=1)


def assemble(engine: Evaluator, springs: Springs) -> Iterator[sparse.bsr_matrix]:
    """Assemble this rank's rows of K for the atoms with free components (active atoms), one chunk of atoms at a time.

    Frozen components of active atoms are decoupled, with a typical stiffness on the diagonal.

    Parameters
    ----------
    engine : Evaluator
    springs : Springs

    Yields
    ------
    (3a, 3A) BSR matrix
        The rows of the next a active atoms, in blocks of 3; A is the number of active atoms on all ranks. The complete
        matrix is symmetric positive definite. Active atoms are numbered rank by rank, in each rank's order.
    """
    bonds, active = springs.bonds, active_atoms(engine)
    n = len(active)
    total = engine.sum(int(np.count_nonzero(active)))
    diagonal = np.concatenate(
        [np.zeros((0, 3, 3))]
        + [_sum_rows(bonds.start[part] - atoms.start, springs.blocks(part), atoms) for atoms, part in bonds.chunks(n)]
    )
    typical = typical_stiffness(engine, springs)
    keep = bonds.around.free.astype(float)
    diagonal += springs.shift * typical * np.eye(3)
    diagonal *= keep[:n, :, None] * keep[:n, None, :]
    diagonal[~engine.alone[:, :, None] & np.eye(3, dtype=bool)] = typical
    movable = np.any(bonds.around.free, axis=1)
    columns = np.full(len(movable), -1)
    columns[movable] = global_rows(engine.comm, engine.ids[active], bonds.around.ids[movable])
    for atoms, part in bonds.chunks(n):
        start, end = bonds.start[part], bonds.end[part]
        both = movable[start] & movable[end]
        off = -springs.blocks(part)[both] * keep[start[both], :, None] * keep[end[both], None, :]
        own = atoms.start + np.flatnonzero(active[atoms])
        local = np.cumsum(active[atoms]) - 1  # rows of this chunk
        rows, ends, data = [start[both], own], [end[both], own], [off, diagonal[own]]
        for first, second, blocks in springs.angle_blocks(atoms):
            both = movable[first] & movable[second]
            first, second = first[both], second[both]
            rows, ends = [*rows, first], [*ends, second]
            data = [*data, blocks[both] * keep[first, :, None] * keep[second, None, :]]
        placed = local[np.concatenate(rows) - atoms.start]
        yield _block_matrix(np.concatenate(data), placed, columns[np.concatenate(ends)], len(own), total)


def _block_matrix(data: FloatArray, rows: IntArray, columns: IntArray, height: int, width: int) -> sparse.bsr_matrix:
    """Block sparse row matrix of (3, 3) blocks; blocks at the same row and column are added."""
    keys, inverse = np.unique(rows * width + columns, return_inverse=True)
    blocks = _sum_rows(inverse, data, slice(0, len(keys)))
    indptr = np.searchsorted(keys // max(width, 1), np.arange(height + 1))
    return sparse.bsr_matrix((blocks, keys % max(width, 1), indptr), shape=(3 * height, 3 * width))


def design_matrix(bonds: Bonds, atoms: slice, part: slice, values: FloatArray) -> sparse.csr_matrix:
    """Return K w of some atoms for unit weights of each hat function.

    Parameters
    ----------
    bonds : Bonds
    atoms, part : slice
        A chunk of owned atoms and its bonds, see `Bonds.chunks`.
    values : (n_owned + n_ghost, 3) float array
        w.

    Returns
    -------
    (3 · number of atoms, 2 · number of hat functions) CSR matrix
        Rows: the x components of all atoms, then y, then z. Columns: longitudinal, then transverse stiffnesses.
    """
    directions, lengths = bonds.directions(part)
    hats = bonds.hats(part, lengths)
    stretch = values[bonds.start[part]] - values[bonds.end[part]]
    along = directions * np.einsum("ma,ma->m", directions, stretch)[:, None]
    # Bonds are sorted by atom, so that those of one atom are consecutive columns.
    starts = np.searchsorted(bonds.start[part], np.arange(atoms.start, atoms.stop))
    count = len(lengths)
    indptr = np.concatenate([*(starts + axis * count for axis in range(3)), [3 * count]])
    shape = 3 * len(starts), count

    def gathered(motion: FloatArray) -> sparse.csr_matrix:
        return sparse.csr_matrix((motion.T.ravel(), np.tile(np.arange(count), 3), indptr), shape=shape) @ hats

    return sparse.hstack([gathered(along), gathered(stretch - along)], format="csr")


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


def _nonnegative_least_squares(gram: FloatArray, right: FloatArray) -> FloatArray:
    """Minimise ½cᵀGc - rᵀc over c ≥ 0, with columns scaled to unit norm and a relative regularisation of 1e-8."""
    norms = np.sqrt(np.diag(gram))
    used = np.flatnonzero(norms > 0)
    solution = np.zeros(len(right))
    if used.size:
        scale = norms[used]
        scaled = gram[np.ix_(used, used)] / np.outer(scale, scale) + 1e-8 * np.eye(used.size)
        factor = cholesky(scaled)
        target = solve_triangular(factor, right[used] / scale, trans="T")
        solution[used] = nnls(factor, target)[0] / scale
    return solution


def _sum_rows(rows: NDArray[Any], values: FloatArray, atoms: slice) -> FloatArray:
    """Sum the entries of `values` that belong to the same atom of the slice; one row per atom, trailing shape kept."""
    n = atoms.stop - atoms.start
    # astype: bincount of an empty array returns integers.
    columns = [
        np.bincount(rows, column, minlength=n) for column in values.reshape(len(values), math.prod(values.shape[1:])).T
    ]
    return np.stack(columns, axis=1).astype(float).reshape(n, *values.shape[1:])
