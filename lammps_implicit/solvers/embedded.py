"""Conjugate gradients on one process with SciPy, preconditioned by the learned springs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg, minres, splu

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.solvers.interface import LinearSystem, Solution, not_converged, product_accuracy
from lammps_implicit.solvers.minimal_residual import MINRES_ITERATIONS, refine
from lammps_implicit.solvers.springs import Springs, active_atoms, assemble

DIRECT_ATOMS = 700
"""Largest cell whose springs are factorised; above, algebraic multigrid is cheaper to set up."""


def preconditioner(engine: Evaluator, springs: Springs) -> Callable[[FloatArray], FloatArray]:
    """Return v → K⁻¹ v for (n, 3) arrays: a sparse factorisation when small, else one multigrid V-cycle."""
    active = active_atoms(engine)
    matrix = sparse.vstack(list(assemble(engine, springs)), format="bsr")
    if len(engine.ids) <= DIRECT_ATOMS:
        factor = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
        inverse: Callable[[FloatArray], FloatArray] = factor.solve
    else:
        inverse = _multigrid(matrix, engine.positions[active])

    def apply(v: FloatArray) -> FloatArray:
        moved = np.zeros_like(v)
        moved[active] = inverse(v[active].reshape(-1)).reshape(-1, 3)
        return moved

    return apply


def solve(system: LinearSystem, right: FloatArray, tol: float, scale: float, maxiter: int = 1000) -> Solution:
    """Solve H x = b with SciPy's conjugate gradients; with its MINRES at a saddle.

    Parameters
    ----------
    system : LinearSystem
    right : (n, 3) float array
        Orthogonal to the null space.
    tol : float
        Bound on ‖b - H x‖₂ / scale.
    scale : float
    maxiter : int

    Raises
    ------
    NotAMinimumError
        If some direction has non-positive curvature.
    ConvergenceError
        If `maxiter` is reached.
    """
    if system.saddle:
        return refine(_minres, system, right, tol, scale)
    history: list[float] = []

    def apply(flat: FloatArray) -> FloatArray:
        accuracy = product_accuracy(tol, history[-1])
        return system.product(flat.reshape(right.shape), accuracy, history[-1] * scale)[0].reshape(-1)

    def apply_inverse(flat: FloatArray) -> FloatArray:
        history.append(float(np.linalg.norm(flat)) / scale)
        return system.preconditioned(flat.reshape(right.shape)).reshape(-1)

    shape = (right.size, right.size)
    x, failed = cg(
        LinearOperator(shape, matvec=apply, dtype=float),
        right.reshape(-1),
        rtol=0.0,
        atol=tol * scale,
        maxiter=maxiter,
        M=LinearOperator(shape, matvec=apply_inverse, dtype=float),
    )
    if failed:
        raise not_converged(tol, maxiter, history, "the limit")
    x = system.null_space.project(x.reshape(right.shape))
    return Solution(x, len(history), min(tol, history[-1]), tuple(history))


def _minres(system: LinearSystem, right: FloatArray, tol: float, accuracy: float) -> tuple[FloatArray, int]:
    count = 0

    def apply(flat: FloatArray) -> FloatArray:
        nonlocal count
        count += 1
        return system.product(flat.reshape(right.shape), accuracy)[0].reshape(-1)

    def apply_inverse(flat: FloatArray) -> FloatArray:
        return system.preconditioned(flat.reshape(right.shape)).reshape(-1)

    shape = (right.size, right.size)
    operator, inverse = (LinearOperator(shape, matvec=matvec, dtype=float) for matvec in (apply, apply_inverse))
    x, _ = minres(operator, right.reshape(-1), rtol=tol, maxiter=MINRES_ITERATIONS, M=inverse)
    return x.reshape(right.shape), count


def _multigrid(matrix: sparse.bsr_matrix, positions: FloatArray) -> Callable[[FloatArray], FloatArray]:
    import pyamg

    near_null = np.stack([motion.reshape(-1) for motion in _local_rigid_motions(positions)], axis=1)
    hierarchy: Any = pyamg.smoothed_aggregation_solver(
        matrix,
        B=near_null,
        symmetry="symmetric",
        strength=None,
        smooth=("jacobi", {"omega": 4.0 / 3.0}),
        # Symmetric sweeps cost more than single ones, but far less than the force evaluations they save.
        presmoother=("block_gauss_seidel", {"sweep": "symmetric"}),
        postsmoother=("block_gauss_seidel", {"sweep": "symmetric"}),
        max_coarse=300,
        coarse_solver="splu",
    )
    return hierarchy.aspreconditioner(cycle="V").matvec


def _local_rigid_motions(positions: FloatArray) -> list[FloatArray]:
    """Translations and rotations of all atoms, whether or not the cell allows them globally."""
    centred = positions - positions.mean(axis=0)
    translations = [np.broadcast_to(axis, centred.shape) for axis in np.eye(3)]
    return [*translations, *(np.cross(axis, centred) for axis in np.eye(3))]
