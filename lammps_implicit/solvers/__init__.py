"""Linear solvers behind one interface: preconditioned conjugate gradients, embedded or distributed, and dense."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.engine import Engine
from lammps_implicit.errors import NotAMinimumError
from lammps_implicit.nullspace import NullSpace

FloatArray = NDArray[np.float64]

Operator = Callable[[FloatArray, float], FloatArray]
"""Symmetric operator: an (n, 3) array and the relative error its product may have, to an (n, 3) array."""


FLAT = 1e-8
"""Curvature, relative to the typical stiffness, below which a displacement meets no restoring force."""


@dataclass(frozen=True)
class LinearSystem:
    """What solvers need to know of H x = b besides b.

    Attributes
    ----------
    engine : Engine
        For inner products and shapes.
    operator : callable
        Hessian products.
    precondition : callable
        v to K⁻¹v, (n, 3) arrays.
    null_space : NullSpace
        Projected out of right-hand sides, products and solutions, frozen components with it.
    stiffness : float
        ‖Hw‖/‖w‖ of a random w: what curvatures are compared with.
    """

    engine: Engine
    operator: Operator
    precondition: Callable[[FloatArray], FloatArray]
    null_space: NullSpace
    stiffness: float

    def product(self, v: FloatArray, accuracy: float) -> tuple[FloatArray, float]:
        """Return H v and the curvature vᵀHv.

        Raises
        ------
        NotAMinimumError
            If the curvature is not positive.
        """
        product = self.null_space.project(self.operator(v, accuracy))
        curvature = self.engine.dot(v, product)
        require_positive_curvature(curvature / self.engine.dot(v, v), self.stiffness)
        return product, curvature

    def preconditioned(self, residual: FloatArray) -> FloatArray:
        """Return K⁻¹r."""
        return self.null_space.project(self.precondition(residual))


@dataclass(frozen=True)
class Solution:
    """What a linear solve returned.

    Attributes
    ----------
    x : (n, 3) float array
    iterations : int
    residual : float
        Final ‖r‖ relative to the right-hand side's norm.
    history : tuple of float
        ‖r‖ relative to the right-hand side's norm, before each iteration.
    """

    x: FloatArray
    iterations: int
    residual: float
    history: tuple[float, ...]


def product_accuracy(tol: float, residual: float) -> float:
    """Relative error a product may have in conjugate gradients when ‖r‖ has fallen to `residual`·‖b‖.

    The closer to the end, the coarser (V. Simoncini, D. B. Szyld, SIAM J. Sci. Comput. 25, 454 (2003)). The factor
    keeps the sum of all errors below the tolerance.
    """
    return 0.2 * tol / max(residual, tol)


def iterations_expected(tol: float) -> float:
    """Conjugate-gradient iterations that a solve with springs takes, from experience with defect cells."""
    return 1.0 + 1.7 * max(0.0, -np.log10(tol))


def require_positive_curvature(curvature: float, stiffness: float) -> None:
    """Check a curvature vᵀHv/vᵀv against the typical stiffness.

    Raises
    ------
    NotAMinimumError
        Unless it is positive beyond the noise of differences.
    """
    if abs(curvature) <= FLAT * stiffness:
        raise NotAMinimumError(
            f"some atoms move without any restoring force (curvature {curvature:.2g}, typical {stiffness:.2g}): "
            "an isolated atom or fragment, out of reach of all others? Freeze it with 'fix setforce 0 0 0' or delete it"
        )
    if not curvature > 0:
        raise NotAMinimumError(
            f"not a minimum: the energy curves downwards along some displacement (curvature {curvature:.3g} in the "
            "deck's units of energy per length squared). A saddle point has no parameter derivative that relaxation "
            "would follow; perturb the atoms and minimise again"
        )


def not_converged(iterations: int, tol: float, history: list[float]) -> str:
    """Message of a solve that stopped short."""
    shown = ", ".join(f"{value:.1e}" for value in history[-5:])
    return f"the linear solve did not reach {tol:g} in {iterations} iterations (last relative residuals {shown})"
