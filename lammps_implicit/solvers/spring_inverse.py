"""K⁻¹ of the learned springs on one process: sparse factorisation, or algebraic multigrid with pyamg."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.solvers.springs import STRONG, Springs, active_atoms, assemble

DIRECT_ATOMS = 700
"""Largest number of atoms for which K is factorised; above, algebraic multigrid is cheaper to set up."""

DIRECT_LOOSE_ATOMS = 3_000
"""The same where there are contacts, which multigrid is slow with. Measured for 1,296 atoms of benzene: a factorisation
takes 0.7 s (twice that with contacts as far as `bonds` has them now) and multigrid 1.7 s to set up, relaxing 20 and 53
evaluations, a solve to 1e-6 29 and 60."""


def spring_inverse(engine: Evaluator, springs: Springs) -> Callable[[FloatArray], FloatArray]:
    """Return the function v → K⁻¹v for (n, 3) arrays.

    A sparse factorisation for few atoms, see `factorised`, otherwise one multigrid V-cycle of smoothed aggregation.
    """
    active = active_atoms(engine)
    matrix = sparse.vstack(list(assemble(engine, springs)), format="bsr")
    if factorised(engine, springs):
        factor = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
        inverse: Callable[[FloatArray], FloatArray] = factor.solve
    else:
        inverse = _multigrid(matrix, engine.positions[active], STRONG if springs.bonds.with_contacts else None)

    def apply(v: FloatArray) -> FloatArray:
        moved = np.zeros_like(v)
        moved[active] = inverse(v[active].reshape(-1)).reshape(-1, 3)
        return moved

    return apply


def factorised(engine: Evaluator, springs: Springs) -> bool:
    """Whether K has so few rows that it is factorised."""
    return engine.n_atoms <= (DIRECT_LOOSE_ATOMS if springs.bonds.with_contacts else DIRECT_ATOMS)


def _multigrid(
    matrix: sparse.bsr_matrix, positions: FloatArray, strong: float | None
) -> Callable[[FloatArray], FloatArray]:
    """V-cycle; blocks stronger than `strong` are aggregated, None: all of them."""
    import pyamg

    near_null = np.stack([motion.reshape(-1) for motion in _local_rigid_motions(positions)], axis=1)
    hierarchy: Any = pyamg.smoothed_aggregation_solver(
        matrix,
        B=near_null,
        symmetry="symmetric",
        strength=None if strong is None else ("symmetric", {"theta": strong}),
        smooth=("jacobi", {"omega": 4.0 / 3.0}),
        # Symmetric sweeps cost more than single ones, but far less than the force evaluations they save.
        presmoother=("block_gauss_seidel", {"sweep": "symmetric"}),
        postsmoother=("block_gauss_seidel", {"sweep": "symmetric"}),
        max_coarse=300,
        coarse_solver="splu",
    )
    return hierarchy.aspreconditioner(cycle="V").matvec


def _local_rigid_motions(positions: FloatArray) -> list[FloatArray]:
    """Translations and rotations of all atoms, also those that the periodic cell does not allow."""
    centred = positions - positions.mean(axis=0)
    translations = [np.broadcast_to(axis, centred.shape) for axis in np.eye(3)]
    return [*translations, *(np.cross(axis, centred) for axis in np.eye(3))]
