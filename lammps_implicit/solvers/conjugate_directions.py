"""Conjugate directions for many right-hand sides with one operator: every solve benefits from all previous ones.

The search directions Q of all solves are kept with their products and made conjugate, QᵀHQ = 1. A new solve starts from
its Galerkin solution x₀ = QQᵀb and adds directions: preconditioned residuals conjugated against all of Q (J. Erhel, F.
Guyomarc'h, SIAM J. Matrix Anal. Appl. 21, 1279 (2000), here with full orthogonalisation, which also compensates the
noise of differenced products). Arrays are distributed; only inner products are communicated.
"""

from __future__ import annotations

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.solvers.interface import LinearSystem, Solution, Status, hardly_falls


class ConjugateDirections:
    """Conjugate gradients that keep the search directions of all solves; any number of ranks.

    Parameters
    ----------
    capacity : int
        Largest number of directions kept; when it is reached, the older half is discarded.
    maxiter : int
        Limit on the iterations of one solve.
    """

    name = "iterative"

    def __init__(self, capacity: int, maxiter: int = 1000) -> None:
        self.capacity = max(capacity, 2)
        self.maxiter = maxiter

    def prepare(self, system: LinearSystem) -> None:
        """Set the linear system and discard all directions."""
        self._system = system
        self._engine = system.engine
        self._shape = system.engine.positions.shape
        self._directions = np.empty((self.capacity, system.engine.positions.size))
        self._products = np.empty_like(self._directions)
        self._count = 0

    def solve(self, right: FloatArray, tol: float, scale: float) -> Solution:
        """Solve H x = b to ‖b - H x‖₂ ≤ tol·scale; see `LinearSolver.solve`."""
        engine, status = self._engine, Status.CONVERGED
        x, residual = self._galerkin(np.zeros_like(right), self._system.null_space.project(right))
        history: list[float] = []
        while engine.norm(residual) > tol * scale:
            if len(history) >= self.maxiter:
                status = Status.ITERATION_LIMIT
                break
            history.append(engine.norm(residual) / scale)
            if hardly_falls(history, tol, self._system.direct):
                status = Status.SLOW
                break
            v = self._conjugate(self._conjugate(self._system.preconditioned(residual)))
            v = self._system.null_space.project(v)  # where hardly anything is left of v, round-off is of rigid motions
            # Products are reused for other right-hand sides of any size: all must be equally accurate.
            product, curvature = self._system.product(v, tol, engine.norm(residual))
            self._keep(v / np.sqrt(curvature), product / np.sqrt(curvature))
            length = engine.dot(v, residual) / curvature
            # Noise of the products reintroduces components along Q into the residual, which new directions cannot
            # remove.
            x, residual = self._galerkin(x + length * v, residual - length * product)
        remaining = engine.norm(residual) / scale if scale > 0 else 0.0
        return Solution(x, status, len(history), remaining, tuple(history))

    def _galerkin(self, x: FloatArray, residual: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Add QQᵀr to x and subtract HQQᵀr from r."""
        q, hq = self._directions[: self._count], self._products[: self._count]
        weights = self._engine.sum(q @ residual.reshape(-1))
        return x + (weights @ q).reshape(self._shape), residual - (weights @ hq).reshape(self._shape)

    def _conjugate(self, v: FloatArray) -> FloatArray:
        """Return v - Q(HQ)ᵀv."""
        weights = self._engine.sum(self._products[: self._count] @ v.reshape(-1))
        return v - (weights @ self._directions[: self._count]).reshape(self._shape)

    def _keep(self, direction: FloatArray, product: FloatArray) -> None:
        if self._count == len(self._directions):
            keep = self._count // 2
            self._directions[:keep] = self._directions[self._count - keep :]
            self._products[:keep] = self._products[self._count - keep :]
            self._count = keep
        self._directions[self._count] = direction.reshape(-1)
        self._products[self._count] = product.reshape(-1)
        self._count += 1
