"""Minimal residuals (MINRES) for stationary points that are not minima, where conjugate gradients do not apply.

MINRES with a preconditioner measures residuals in the preconditioner's own norm, and round-off of differenced products
ends its recursion early. Both are mended by starting it again on the true residual until that is small enough.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse.linalg import LinearOperator, minres

from lammps_implicit.arrays import FloatArray
from lammps_implicit.solvers.interface import LinearSystem, Solution, Status

Pass = Callable[[LinearSystem, FloatArray, float, float], tuple[FloatArray, int]]
"""(system, right-hand side, relative tolerance in the preconditioner's norm, accuracy of products) to x, iterations."""

MINRES_ITERATIONS = 300
"""Most iterations of one pass."""

PASSES = 12
"""Most passes."""

SHARE = 0.2
"""Share of what is missing that the first pass is asked to leave: MINRES measures it in another norm."""

REDUCTION = 1e-4
"""Least factor that one pass is asked to reduce the residual by."""


class MinimalResidual:
    """Passes of MINRES, each on the true residual of the last. A pass costs one product beyond its iterations.

    Parameters
    ----------
    one_pass : callable
        One pass: `scipy_pass`, or PETSc's on many ranks.
    """

    name = "iterative"

    def __init__(self, one_pass: Pass) -> None:
        self._pass = one_pass

    def prepare(self, system: LinearSystem) -> None:
        """Take a system."""
        self._system = system

    def solve(self, right: FloatArray, tol: float, scale: float) -> Solution:
        """Solve H x = b to ‖b - H x‖₂ ≤ tol·scale; see `LinearSolver.solve`."""
        system, engine, status = self._system, self._system.engine, Status.ITERATION_LIMIT
        x, residual = np.zeros_like(right), right
        iterations, history, share = 0, [engine.norm(right) / scale], SHARE
        while history[-1] > tol and len(history) <= PASSES:
            wanted = max(share * tol / history[-1], REDUCTION)
            step, count = self._pass(system, residual, wanted, 0.2 * wanted)
            x = x + system.null_space.project(step)
            residual = right - system.product(x, tol)[0]
            iterations += count + 1
            history.append(engine.norm(residual) / scale)
            if history[-1] >= 0.9 * history[-2] and wanted <= REDUCTION:
                status = Status.STAGNATED
                break
            if history[-1] >= 0.5 * history[-2]:
                share *= 0.1  # its norm is content with less than ours: ask for more
        if history[-1] <= tol:
            status = Status.CONVERGED
        return Solution(x, status, iterations, history[-1], tuple(history), "passes of MINRES")


def scipy_pass(system: LinearSystem, right: FloatArray, tol: float, accuracy: float) -> tuple[FloatArray, int]:
    """One pass of SciPy's MINRES, on one process."""
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
