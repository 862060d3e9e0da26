"""Minimal residuals (MINRES) for stationary points that are not minima, where conjugate gradients do not apply.

MINRES with a preconditioner measures residuals in the preconditioner's own norm, and round-off of differenced products
ends its recursion early. Both are mended by starting it again on the true residual until that is small enough.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.solvers.interface import LinearSystem, Solution, not_converged

Minres = Callable[[LinearSystem, FloatArray, float, float], tuple[FloatArray, int]]
"""(system, right-hand side, relative tolerance in the preconditioner's norm, accuracy of products) to x, iterations."""

MINRES_ITERATIONS = 300
"""Most iterations of one pass."""

PASSES = 12
"""Most passes."""

REDUCTION = 1e-4
"""Least factor that one pass is asked to reduce the residual by."""


def refine(minres: Minres, system: LinearSystem, right: FloatArray, tol: float, scale: float) -> Solution:
    """Solve H x = b to ‖b - H x‖₂ ≤ tol·scale by passes of MINRES. Each costs one product beyond its iterations.

    Raises
    ------
    ConvergenceError
        If the residual stops falling.
    """
    engine = system.engine
    x, residual = np.zeros_like(right), right
    iterations, history = 0, [engine.norm(right) / scale]
    while history[-1] > tol and len(history) <= PASSES:
        wanted = max(0.2 * tol / history[-1], REDUCTION)
        step, count = minres(system, residual, wanted, 0.2 * wanted)
        x = x + system.null_space.project(step)
        residual = right - system.product(x, tol)[0]
        iterations += count + 1
        history.append(engine.norm(residual) / scale)
        if history[-1] >= 0.9 * history[-2]:
            break
    if history[-1] > tol:
        raise not_converged(tol, iterations, history, "passes of MINRES no longer reduce the residual")
    return Solution(x, iterations, history[-1], tuple(history))
