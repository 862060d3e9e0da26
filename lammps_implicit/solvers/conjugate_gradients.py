"""Preconditioned conjugate gradients with SciPy, on one process."""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg

from lammps_implicit.arrays import FloatArray
from lammps_implicit.solvers.interface import LinearSystem, Solution, Status, hardly_falls, product_accuracy


class ConjugateGradients:
    """SciPy's conjugate gradients on one process, with products that become less accurate as the residual falls.

    Parameters
    ----------
    maxiter : int
        Limit on the iterations of one solve.
    """

    name = "iterative"

    def __init__(self, maxiter: int = 1000) -> None:
        self.maxiter = maxiter

    def prepare(self, system: LinearSystem) -> None:
        """Set the linear system."""
        self._system = system

    def solve(self, right: FloatArray, tol: float, scale: float) -> Solution:
        """Solve H x = b to ‖b - H x‖₂ ≤ tol·scale; see `LinearSolver.solve`."""
        system = self._system
        history: list[float] = []
        last = _LastStep(right.reshape(-1))

        def apply(flat: FloatArray) -> FloatArray:
            accuracy = product_accuracy(tol, history[-1])
            product = system.product(flat.reshape(right.shape), accuracy, history[-1] * scale)[0].reshape(-1)
            last.direction, last.product = flat.copy(), product
            return product

        def apply_inverse(flat: FloatArray) -> FloatArray:
            history.append(float(np.linalg.norm(flat)) / scale)
            return system.preconditioned(flat.reshape(right.shape)).reshape(-1)

        def after_iteration(x: FloatArray) -> None:
            last.moved_to(x)
            if hardly_falls(history, tol, system.direct):
                raise _SlowError

        shape = (right.size, right.size)
        try:
            x, failed = cg(
                LinearOperator(shape, matvec=apply, dtype=float),
                right.reshape(-1),
                rtol=0.0,
                atol=tol * scale,
                maxiter=self.maxiter,
                M=LinearOperator(shape, matvec=apply_inverse, dtype=float),
                callback=after_iteration,
            )
            status = Status.ITERATION_LIMIT if failed else Status.CONVERGED
        except _SlowError:
            x, status = last.x, Status.SLOW
        x = system.null_space.project(x.reshape(right.shape))
        return Solution(x, status, len(history), float(np.linalg.norm(last.residual)) / scale, tuple(history))


class _SlowError(Exception):
    """Ends SciPy's loop, whose callback has no other way to."""


class _LastStep:
    """The recursive residual b - Hx, which SciPy does not return, rebuilt from the products evaluated."""

    def __init__(self, right: FloatArray) -> None:
        self.residual = right.copy()
        self.direction = self.product = np.zeros_like(right)
        self.x = np.zeros_like(right)

    def moved_to(self, x: FloatArray) -> None:
        length = np.dot(x - self.x, self.direction) / np.dot(self.direction, self.direction)
        self.residual -= length * self.product
        self.x = x.copy()
