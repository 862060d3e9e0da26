"""Learned springs: a preconditioner fitted to one Hessian-vector product.

    K = Σ_bonds (e_i - e_j)(e_i - e_j)ᵀ ⊗ [k_L(r) r̂r̂ᵀ + k_T(r) (1 - r̂r̂ᵀ)]

over pairs closer than about 1.3 nearest-neighbour distances. The stiffnesses k_L and k_T are piecewise linear in r, one
pair of functions for each pair of atom types, fitted by non-negative least squares to a product H w with a random w.
K is symmetric positive semidefinite by construction and needs no lattice, orientation or bulk reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls
from scipy.spatial import cKDTree

from lammps_implicit.engine import Engine, Neighbourhood
from lammps_implicit.ownership import global_rows

FloatArray = NDArray[np.float64]

REACH = 1.3
"""Longest spring in units of the mean nearest-neighbour distance."""

KNOTS = 4
"""Knots of each piecewise linear stiffness."""

SHIFT = 1e-6
"""Added to the diagonal of K, relative to its mean, so that K can be inverted. It acts in the preconditioner only."""


@dataclass(frozen=True)
class Bonds:
    """Springs that end on this rank's atoms, each counted from both of its ends.

    Attributes
    ----------
    start : (m,) int array
        Owned atom (row).
    end : (m,) int array
        Other atom: index into the `Neighbourhood`.
    direction : (m, 3) float array
        Unit vectors r̂.
    hats : (m, k) float array
        Value of each hat function at each bond; k = KNOTS times the number of type pairs.
    """

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    direction: FloatArray
    hats: FloatArray


@dataclass(frozen=True)
class Springs:
    """Fitted springs, ready to be assembled row by row.

    Attributes
    ----------
    rows, columns : (m,) int arrays
        Owned atom (row) and the id of the atom at the other end.
    free : (m, 3) bool array
        Free components of the atom at the other end.
    blocks : (m, 3, 3) float array
        Stiffness matrix of each bond, eV/Å².
    misfit : float
        ‖Kw - Hw‖ / ‖Hw‖ for the vector the springs were fitted to.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    free: NDArray[np.bool_]
    blocks: FloatArray
    misfit: float


def random_vector(ids: NDArray[np.int64], seed: int = 0) -> FloatArray:
    """Return numbers in [-1, 1) that depend on atom ids alone: the same on any rank, for any order of the atoms.

    Parameters
    ----------
    ids : (n,) int array
    seed : int

    Returns
    -------
    (n, 3) float array
        The finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA 2014) applied to id and component.
    """
    counter = ids.astype(np.uint64)[:, None] * np.uint64(3) + np.arange(3, dtype=np.uint64) + np.uint64(seed << 48)
    z: NDArray[np.uint64] = np.multiply(counter, np.uint64(0x9E3779B97F4A7C15), dtype=np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return z.astype(np.float64) / 2.0**63 - 1.0


def fit_springs(engine: Engine, around: Neighbourhood, product: FloatArray, seed: int = 0) -> Springs:
    """Fit springs to a Hessian-vector product.

    Parameters
    ----------
    engine : Engine
    around : Neighbourhood
        Taken at the reference.
    product : (n, 3) float array
        H w, where w is `random_vector` of the owned ids with frozen components zeroed.
    seed : int
        The seed of w, to know its values on ghost atoms.
    """
    bonds = _find_bonds(engine, around)
    values = random_vector(around.ids, seed) * around.free
    stretch = values[bonds.start] - values[bonds.end]
    along = bonds.direction * np.einsum("ma,ma->m", bonds.direction, stretch)[:, None]
    free = engine.free
    columns = [
        _sum_rows(bonds.start, hat[:, None] * part, len(engine.ids))[free]
        for part in (along, stretch - along)
        for hat in bonds.hats.T
    ]
    design, target = np.stack(columns, axis=1), product[free]
    gram, right = engine.sum(design.T @ design), engine.sum(design.T @ target)
    # On one rank, so that all hold the same springs to the last digit.
    stiffness = engine.on_root(lambda: _nonnegative_least_squares(gram, right))
    misfit = engine.norm(design @ stiffness - target) / engine.norm(target)
    longitudinal, transverse = (bonds.hats @ part for part in np.split(stiffness, 2))
    outer = bonds.direction[:, :, None] * bonds.direction[:, None, :]
    blocks = (longitudinal - transverse)[:, None, None] * outer + transverse[:, None, None] * np.eye(3)
    return Springs(bonds.start, around.ids[bonds.end], around.free[bonds.end], blocks, misfit)


def assemble(engine: Engine, springs: Springs) -> sparse.bsr_matrix:
    """Assemble this rank's rows of K.

    Frozen components become decoupled, with a typical stiffness on the diagonal.

    Parameters
    ----------
    engine : Engine
    springs : Springs

    Returns
    -------
    (3n, 3N) BSR matrix
        Block size 3; all ranks' rows together are symmetric positive definite. Rows and columns count atoms rank by
        rank, in each rank's order.
    """
    n, free = len(engine.ids), engine.free
    diagonal = _sum_rows(springs.rows, springs.blocks.reshape(-1, 9), n).reshape(n, 3, 3)
    stiffness = engine.sum(float(np.einsum("naa->na", diagonal)[free].sum()))
    typical = stiffness / max(engine.sum(int(np.count_nonzero(free))), 1)
    typical = typical if typical > 0 else 1.0
    diagonal += SHIFT * typical * np.eye(3)
    keep = free.astype(float)
    off = -springs.blocks * keep[springs.rows][:, :, None] * springs.free[:, None, :]
    diagonal *= keep[:, :, None] * keep[:, None, :]
    diagonal[~free[:, :, None] & np.eye(3, dtype=bool)] = typical
    ids = np.concatenate([springs.columns, engine.ids])
    columns = global_rows(engine.comm, engine.ids, ids)
    rows = np.concatenate([springs.rows, np.arange(n)])
    return _block_matrix(np.concatenate([off, diagonal]), rows, columns, n, engine.n_atoms)


def _block_matrix(
    data: FloatArray, rows: NDArray[np.int64], columns: NDArray[np.int64], height: int, width: int
) -> sparse.bsr_matrix:
    """Sum (3, 3) blocks that share a row and a column into a block sparse row matrix."""
    keys, inverse = np.unique(rows * width + columns, return_inverse=True)
    blocks = _sum_rows(inverse, data.reshape(-1, 9), len(keys)).reshape(-1, 3, 3)
    indptr = np.searchsorted(keys // width, np.arange(height + 1))
    return sparse.bsr_matrix((blocks, keys % width, indptr), shape=(3 * height, 3 * width))


def _find_bonds(engine: Engine, around: Neighbourhood) -> Bonds:
    n = len(engine.ids)
    everything, owned = cKDTree(around.positions), cKDTree(around.positions[:n])
    nearest = everything.query(around.positions[:n], k=2)[0][:, 1] if n else np.empty(0)
    nearest = nearest[np.isfinite(nearest)]
    count = engine.sum(len(nearest))
    reach = REACH * float(engine.sum(float(nearest.sum()))) / max(count, 1)
    pairs = owned.sparse_distance_matrix(everything, reach, output_type="ndarray")
    pairs = pairs[pairs["v"] > 0]
    start, end, length = pairs["i"].astype(np.int64), pairs["j"].astype(np.int64), pairs["v"]
    direction = (around.positions[end] - around.positions[start]) / length[:, None]
    hats = _hats(engine, around.types[start], around.types[end], length, reach)
    return Bonds(start, end, direction, hats)


def _hats(
    engine: Engine, first: NDArray[np.int64], second: NDArray[np.int64], length: FloatArray, reach: float
) -> FloatArray:
    """Hat functions in r between the shortest bond and the reach, one set for each unordered pair of types."""
    shortest = -engine.max(-float(length.min(initial=reach)))
    knots = np.linspace(shortest, reach, KNOTS)
    hats = np.stack([np.interp(length, knots, unit) for unit in np.eye(KNOTS)], axis=1)
    low, high = np.minimum(first, second), np.maximum(first, second)
    kinds = [(a, b) for a in range(1, engine.n_types + 1) for b in range(a, engine.n_types + 1)]
    return np.concatenate([hats * ((low == a) & (high == b))[:, None] for a, b in kinds], axis=1)


def _nonnegative_least_squares(gram: FloatArray, right: FloatArray) -> FloatArray:
    """Minimise ½cᵀGc - rᵀc over c ≥ 0, columns scaled to unit norm and slightly regularised."""
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


def _sum_rows(rows: NDArray[np.int64], values: FloatArray, n: int) -> FloatArray:
    """Sum the rows of `values` that share an index, (n, columns)."""
    # An empty bincount would be one of integers.
    return np.stack([np.bincount(rows, column, minlength=n) for column in values.T], axis=1).astype(float)
