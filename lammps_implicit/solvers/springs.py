"""Learned springs: a preconditioner fitted to one Hessian-vector product, or three.

    K = Σ_bonds (e_i - e_j)(e_i - e_j)ᵀ ⊗ [k_L(r) r̂r̂ᵀ + k_T(r) (1 - r̂r̂ᵀ)]

over pairs closer than about 1.3 nearest-neighbour distances. The longitudinal and transverse stiffnesses k_L and k_T
are piecewise linear functions of r for each pair of atom types, fitted by non-negative least squares to one product H w
with a random w (`spring_fit`). K is symmetric positive semidefinite by construction, and requires no lattice,
orientation or bulk reference. Angles at atoms with few neighbours have a stiffness too (`bends`).

Where such springs do not hold the structure together, as in molecules, longer ones (contacts) join its parts. They are
far softer and drown in the misfit of the stiff ones along a random w, so a second product shows them: that with K⁻¹w,
in which parts move by far more than their bonds stretch. Pairs of charges and pairs under tension have negative
stiffnesses, which a third product tells from the positive ones beside them (`yielding`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.mpi.hashing import splitmix64
from lammps_implicit.mpi.ownership import fetch, global_rows
from lammps_implicit.solvers.bends import Bends
from lammps_implicit.solvers.bonds import Bonds

_SHIFT = 1e-6
"""Added to the diagonal of K, relative to its mean, to make K invertible; acts in the preconditioner only. Measured:
metals need equal numbers of iterations with 1e-6 and 1e-3."""

HELD = 0.01
"""Fraction of wᵀK⁻¹w for a random w that may come from the shift alone if springs hold the structure. Measured: 2e-6 to
1e-5 in crystals and alloys, 1.0 in molecules and in a film with molecules on it."""


STRONG = 0.08
"""Blocks of K, relative to those on the diagonal, that multigrid aggregates where there are contacts: bonds are, and
contacts are not, so that molecules become the coarse level, with their rigid motions. Measured for dimers, chains and a
film with molecules: 6, 13 and 3 cycles for a thousandth of the residual of K, 42, 36 and 30 if all are aggregated; 0.02
to 0.25 do about as well."""


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


def spring_product(engine: Evaluator, springs: Springs, v: FloatArray) -> FloatArray:
    """K v without the shift, (n, 3), for v of shape (n, 3); zero at components that are held or move with others."""
    bonds, n = springs.bonds, len(engine.ids)
    values = fetch(engine.comm, engine.ids, v * engine.alone, bonds.around.ids)
    product = np.zeros((n, 3))
    for atoms, part in bonds.chunks(n):
        stretch = values[bonds.start[part]] - values[bonds.end[part]]
        forces = np.einsum("mab,mb->ma", springs.blocks(part), stretch)
        product[atoms] += _sum_rows(bonds.start[part] - atoms.start, forces, atoms)
        for rows, columns, blocks in springs.angle_blocks(atoms):
            forces = np.einsum("mab,mb->ma", blocks, values[columns])
            product[atoms] += _sum_rows(rows - atoms.start, forces, atoms)
    return product * engine.alone


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


def _sum_rows(rows: NDArray[Any], values: FloatArray, atoms: slice) -> FloatArray:
    """Sum the entries of `values` that belong to the same atom of the slice; one row per atom, trailing shape kept."""
    n = atoms.stop - atoms.start
    # astype: bincount of an empty array returns integers.
    columns = [
        np.bincount(rows, column, minlength=n) for column in values.reshape(len(values), math.prod(values.shape[1:])).T
    ]
    return np.stack(columns, axis=1).astype(float).reshape(n, *values.shape[1:])
