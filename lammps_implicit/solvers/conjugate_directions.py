"""Conjugate directions for many right-hand sides with one operator: each solve profits from all before it.

All search directions Q, of all solves, are kept with their products and made conjugate, QᵀHQ = 1. A new solve starts
from its Galerkin solution x₀ = QQᵀb and adds directions, preconditioned residuals conjugated against all of Q
(J. Erhel, F. Guyomarc'h, SIAM J. Matrix Anal. Appl. 21, 1279 (2000), with full orthogonalisation, which also makes up
for the noise of differenced products). Works on distributed arrays: only inner products cross ranks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.engine import Engine
from lammps_implicit.errors import ConvergenceError
from lammps_implicit.nullspace import NullSpace
from lammps_implicit.solvers import Operator, Solution, not_converged, require_positive_curvature

FloatArray = NDArray[np.float64]


class ConjugateDirections:
    """A solver that remembers.

    Parameters
    ----------
    engine : Engine
        For inner products.
    operator : callable
        Hessian products.
    precondition : callable
        v to K⁻¹v.
    null_space : NullSpace
    capacity : int
        Largest number of directions kept; beyond it the oldest make room.
    """

    def __init__(
        self,
        engine: Engine,
        operator: Operator,
        precondition: Callable[[FloatArray], FloatArray],
        null_space: NullSpace,
        capacity: int,
    ) -> None:
        self._engine = engine
        self._operator = operator
        self._precondition = precondition
        self._null_space = null_space
        self._shape = engine.positions.shape
        self._directions = np.empty((max(capacity, 2), engine.positions.size))
        self._products = np.empty_like(self._directions)
        self._count = 0

    def solve(self, right: FloatArray, tol: float, scale: float, maxiter: int = 1000) -> Solution:
        """Solve H x = b to ‖b - H x‖₂ ≤ tol·scale.

        Raises
        ------
        NotAMinimumError
            If some direction has non-positive curvature.
        ConvergenceError
            If `maxiter` is reached.
        """
        engine, null_space = self._engine, self._null_space
        x, residual = self._galerkin(np.zeros_like(right), null_space.project(right))
        history: list[float] = []
        while engine.norm(residual) > tol * scale:
            if len(history) >= maxiter:
                raise ConvergenceError(not_converged(maxiter, tol, history))
            relative = engine.norm(residual) / scale
            history.append(relative)
            v = self._conjugate(self._conjugate(null_space.project(self._precondition(residual))))
            v /= engine.norm(v)
            product = null_space.project(self._operator(v, tol))
            curvature = engine.dot(v, product)
            require_positive_curvature(curvature, 1.0)
            length = engine.dot(v, residual) / curvature
            self._keep(v / np.sqrt(curvature), product / np.sqrt(curvature))
            # The noise of products brings back a little of Q into the residual, which no new direction can remove.
            x, residual = self._galerkin(x + length * v, residual - length * product)
        return Solution(x, len(history), engine.norm(residual) / scale if scale > 0 else 0.0, tuple(history))

    def _galerkin(self, x: FloatArray, residual: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Add QQᵀr to x and take HQQᵀr from r."""
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
