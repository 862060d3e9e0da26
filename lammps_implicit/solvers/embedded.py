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
from lammps_implicit.nullspace import NullSpace
from lammps_implicit.solvers import Operator, Solution, not_converged, require_positive_curvature
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


def solve(
    engine: Engine,
    operator: Operator,
    precondition: Callable[[FloatArray], FloatArray],
    null_space: NullSpace,
    right: FloatArray,
    tol: float,
    scale: float | None = None,
    maxiter: int = 1000,
) -> Solution:
    """Solve A x = b for a symmetric positive definite A (on the complement of its null space).

    Parameters
    ----------
    engine : Engine
        For shapes and inner products.
    operator : callable
        The products; each is asked for with the accuracy that keeps the final residual at `tol`: the closer to the
        end, the coarser (V. Simoncini, D. B. Szyld, SIAM J. Sci. Comput. 25, 454 (2003)).
    precondition : callable
    null_space : NullSpace
        Projected out of the right-hand side, the products and the solution.
    right : (n, 3) float array
    tol : float
        Bound on ‖b - A x‖₂ / scale.
    scale : float, optional
        Default ‖b‖₂.
    maxiter : int

    Raises
    ------
    NotAMinimumError
        If some direction has non-positive curvature.
    ConvergenceError
        If `maxiter` is reached.
    """
    right = null_space.project(right)
    norm = engine.norm(right) if scale is None else scale
    shape, size = right.shape, right.size
    if engine.norm(right) <= tol * norm:
        return Solution(np.zeros(shape), 0, engine.norm(right) / norm if norm > 0 else 0.0, ())
    history: list[float] = []
    residual = right

    def apply(flat: FloatArray) -> FloatArray:
        v = flat.reshape(shape)
        product = null_space.project(operator(v, tol / max(history[-1], tol)))
        require_positive_curvature(engine.dot(v, product), engine.dot(v, v))
        return product.reshape(-1)

    def apply_inverse(flat: FloatArray) -> FloatArray:
        nonlocal residual
        residual = flat.reshape(shape)
        history.append(engine.norm(residual) / norm)
        return null_space.project(precondition(residual)).reshape(-1)

    x, failed = cg(
        LinearOperator((size, size), matvec=apply, dtype=float),
        right.reshape(-1),
        rtol=0.0,
        atol=tol * norm,
        maxiter=maxiter,
        M=LinearOperator((size, size), matvec=apply_inverse, dtype=float),
    )
    if failed:
        raise ConvergenceError(not_converged(maxiter, tol, history))
    return Solution(null_space.project(x.reshape(shape)), len(history), min(tol, history[-1]), tuple(history))


def _multigrid(engine: Engine, matrix: sparse.bsr_matrix, shape: tuple[int, int]) -> Callable[[FloatArray], FloatArray]:
    import pyamg

    near_null = np.stack([motion.reshape(-1) for motion in _local_rigid_motions(engine)], axis=1)
    hierarchy: Any = pyamg.smoothed_aggregation_solver(
        matrix,
        B=near_null,
        symmetry="symmetric",
        strength=None,
        smooth=("jacobi", {"omega": 4.0 / 3.0}),
        presmoother=("block_gauss_seidel", {"sweep": "symmetric"}),
        postsmoother=("block_gauss_seidel", {"sweep": "symmetric"}),
        max_coarse=300,
    )
    cycle = hierarchy.aspreconditioner(cycle="V")
    return lambda v: np.asarray(cycle.matvec(v.reshape(-1))).reshape(shape)


def _local_rigid_motions(engine: Engine) -> list[FloatArray]:
    """Translations and rotations of all atoms, whether or not the cell allows them globally."""
    centred = engine.positions - engine.positions.mean(axis=0)
    translations = [np.broadcast_to(axis, centred.shape) for axis in np.eye(3)]
    return [*translations, *(np.cross(axis, centred) for axis in np.eye(3))]
