"""Minimal residuals (MINRES) for saddle points, where conjugate gradients do not apply.

Preconditioned MINRES measures residuals in the norm of the preconditioner, and round-off of differenced products makes
its recursion stagnate. Both are remedied by restarting it on the true residual until that is small enough. A pass whose
residual hardly falls is ended, and the solve with it if the pass has achieved hardly anything.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse.linalg import LinearOperator, minres

from lammps_implicit.arrays import FloatArray
from lammps_implicit.solvers.interface import HARDLY, PATIENCE, LinearSystem, Solution, Status

Pass = Callable[[LinearSystem, FloatArray, float, float], tuple[FloatArray, int]]
"""One pass: maps (system, right-hand side, relative tolerance in the norm of the preconditioner, relative error that
products may have) to (x, number of iterations)."""

MINRES_ITERATIONS = 300
"""Limit on the iterations of one pass; a safeguard, as passes are asked for moderate tolerances only."""

_PASSES = 12
"""Limit on the number of passes; a safeguard, as each reduces the residual by up to 1e4."""

_FRACTION = 0.2
"""Fraction of the tolerance that the first pass aims at, as MINRES measures residuals in another norm. Chosen: a
smaller one costs iterations, a larger one passes."""

_REDUCTION = 1e-4
"""Smallest relative tolerance of one pass. Chosen: tighter ones are wasted where the recursion has lost the true
residual, looser ones cost more restarts."""

_SHORT = 10.0
"""Ratio of what a pass reaches to what it was asked for beyond which the next is asked for more: it ends by estimates
of its own, which are far off where modes are soft."""

_NOISE = 1e-3
"""Relative residual above which it is not the noise of differenced products that keeps a residual from falling. Chosen:
products are asked to be accurate to 2e-5 or better."""


class MinimalResidual:
    """Passes of MINRES, each on the true residual of the previous one; a pass costs one product besides its iterations.

    Parameters
    ----------
    one_pass : callable
        `scipy_pass` on one process, or that of `petsc_krylov.petsc_pass` on several ranks.
    """

    name = "iterative"

    def __init__(self, one_pass: Pass) -> None:
        self._pass = one_pass

    def prepare(self, system: LinearSystem) -> None:
        """Set the linear system."""
        self._system = system

    def solve(self, right: FloatArray, tol: float, scale: float) -> Solution:
        """Solve H x = b to ‖b - H x‖₂ ≤ tol·scale; see `LinearSolver.solve`."""
        system, engine, status = self._system, self._system.engine, Status.ITERATION_LIMIT
        x, residual = np.zeros_like(right), right
        iterations, history, fraction, asked = 0, [engine.norm(right) / scale], _FRACTION, 1.0
        while history[-1] > tol and len(history) <= _PASSES:
            wanted = max(fraction * tol / history[-1], _REDUCTION)
            step, count = self._pass(system, residual, asked * wanted, 0.2 * wanted)
            x = x + system.null_space.project(step)
            residual = right - system.product(x, tol)[0]
            iterations += count + 1
            history.append(engine.norm(residual) / scale)
            if count >= PATIENCE and history[-1] > HARDLY * history[-2]:
                status = Status.SLOW
                break
            if history[-1] >= 0.9 * history[-2] and wanted <= _REDUCTION:
                status = Status.SLOW if history[-1] > _NOISE else Status.STAGNATED
                break
            if history[-1] >= 0.5 * history[-2]:
                fraction *= 0.1  # converged in the norm of the preconditioner only: ask for more
            if history[-1] > _SHORT * wanted * history[-2]:
                asked = max(0.1 * asked, _REDUCTION)
        if history[-1] <= tol:
            status = Status.CONVERGED
        return Solution(x, status, iterations, history[-1], tuple(history), "passes of MINRES")


def scipy_pass(system: LinearSystem, right: FloatArray, tol: float, accuracy: float) -> tuple[FloatArray, int]:
    """Do one pass of SciPy's MINRES, on one process; see `Pass`.

    Its own residual is not to be had from SciPy: every `PATIENCE` iterations one product shows whether it falls.
    """
    count, steps, lowest = 0, 0, system.engine.norm(right)

    def apply(flat: FloatArray) -> FloatArray:
        nonlocal count
        count += 1
        return system.product(flat.reshape(right.shape), accuracy)[0].reshape(-1)

    def apply_inverse(flat: FloatArray) -> FloatArray:
        return system.preconditioned(flat.reshape(right.shape)).reshape(-1)

    def after_iteration(flat: FloatArray) -> None:
        nonlocal steps, lowest
        steps += 1
        if steps % PATIENCE == 0:
            rest = right - system.product(flat.reshape(right.shape), accuracy)[0]
            if system.engine.norm(rest) > HARDLY * lowest:
                raise _SlowError(flat.copy())
            lowest = system.engine.norm(rest)

    shape = (right.size, right.size)
    operator, inverse = (LinearOperator(shape, matvec=matvec, dtype=float) for matvec in (apply, apply_inverse))
    try:
        x, _ = minres(
            operator, right.reshape(-1), rtol=tol, maxiter=MINRES_ITERATIONS, M=inverse, callback=after_iteration
        )
    except _SlowError as slow:
        x = slow.x
    return x.reshape(right.shape), count


class _SlowError(Exception):
    """Ends SciPy's loop, whose callback has no other way to, with the solution so far."""

    def __init__(self, x: FloatArray) -> None:
        super().__init__()
        self.x = x
