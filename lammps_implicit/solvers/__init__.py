"""Linear solvers behind one interface: preconditioned conjugate gradients, embedded or distributed, and dense."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.errors import NotAMinimumError

FloatArray = NDArray[np.float64]

Operator = Callable[[FloatArray, float], FloatArray]
"""Symmetric operator: an (n, 3) array and the relative error its product may have, to an (n, 3) array."""


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


def iterations_expected(tol: float) -> float:
    """Conjugate-gradient iterations that a solve with springs takes, from experience with defect cells."""
    return 1.0 + 1.7 * max(0.0, -np.log10(tol))


def require_positive_curvature(vhv: float, vv: float) -> None:
    """Raise NotAMinimumError unless vᵀHv > 0."""
    if not vhv > 0:
        raise NotAMinimumError(
            f"not a minimum: the energy curves downwards along some displacement (curvature {vhv / vv:.3g} in the "
            "deck's units of energy per length squared). A saddle point has no parameter derivative that relaxation "
            "would follow; perturb the atoms and minimise again"
        )


def not_converged(iterations: int, tol: float, history: list[float]) -> str:
    """Message of a solve that stopped short."""
    shown = ", ".join(f"{value:.1e}" for value in history[-5:])
    return f"the linear solve did not reach {tol:g} in {iterations} iterations (last relative residuals {shown})"
