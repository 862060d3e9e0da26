"""Conjugate gradients on one process with SciPy, preconditioned by the learned springs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg, splu

from lammps_implicit.engine import Engine
from lammps_implicit.errors import ConvergenceError
from lammps_implicit.solvers import LinearSystem, Solution, not_converged, product_accuracy
from lammps_implicit.springs import Springs, assemble

FloatArray = NDArray[np.float64]

DIRECT_ATOMS = 700
"""Largest cell whose springs are factorised; above, algebraic multigrid is cheaper to set up."""


def preconditioner(engine: Engine, springs: Springs) -> Callable[[FloatArray], FloatArray]:
    """Return v → K⁻¹ v for (n, 3) arrays: a sparse factorisation when small, else one multigrid V-cycle."""
    matrix = assemble(engine, springs)
    shape = (len(engine.ids), 3)
    if len(engine.ids) <= DIRECT_ATOMS:
        factor = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
        return lambda v: factor.solve(v.reshape(-1)).reshape(shape)
    return _multigrid(engine, matrix, shape)


def solve(system: LinearSystem, right: FloatArray, tol: float, scale: float, maxiter: int = 1000) -> Solution:
    """Solve H x = b with SciPy's conjugate gradients.

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
    history: list[float] = []

    def apply(flat: FloatArray) -> FloatArray:
        return system.product(flat.reshape(right.shape), product_accuracy(tol, history[-1]))[0].reshape(-1)

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
        raise ConvergenceError(not_converged(maxiter, tol, history))
    x = system.null_space.project(x.reshape(right.shape))
    return Solution(x, len(history), min(tol, history[-1]), tuple(history))


def _multigrid(engine: Engine, matrix: sparse.bsr_matrix, shape: tuple[int, int]) -> Callable[[FloatArray], FloatArray]:
    import pyamg

    near_null = np.stack([motion.reshape(-1) for motion in _local_rigid_motions(engine)], axis=1)
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
    cycle = hierarchy.aspreconditioner(cycle="V")
    return lambda v: np.asarray(cycle.matvec(v.reshape(-1))).reshape(shape)


def _local_rigid_motions(engine: Engine) -> list[FloatArray]:
    """Translations and rotations of all atoms, whether or not the cell allows them globally."""
    centred = engine.positions - engine.positions.mean(axis=0)
    translations = [np.broadcast_to(axis, centred.shape) for axis in np.eye(3)]
    return [*translations, *(np.cross(axis, centred) for axis in np.eye(3))]
