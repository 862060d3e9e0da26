"""Quadratic models of the loss: steps within a trust radius and bounds, and curvatures from past gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import LbfgsInvHessProduct, brentq, minimize

from lammps_implicit.arrays import FloatArray

Pair = tuple[FloatArray, FloatArray]
"""A step, (P,), and the change of the gradient along it, (P,)."""

MIN_CURVATURE = 1e-10
"""Smallest curvature relative to the largest: smaller eigenvalues are round-off, and only the radius limits steps."""

CURVED = 1e-10
"""Smallest cosine between a step and the change of the gradient along it for which the pair is used.

Keeps the curvature of limited-memory BFGS positive definite; excludes only changes of negative sign or lost in
round-off.
"""


def best_step(
    gradient: FloatArray, curvature: FloatArray, radius: float, bounds: tuple[FloatArray, FloatArray] | None = None
) -> FloatArray:
    """Minimise g·s + ½ s·B s over steps with |s| ≤ radius and, where bounds (A, b) are given, A s ≤ b.

    Exact without active bounds (J. J. Moré, D. C. Sorensen, SIAM J. Sci. Stat. Comput. 4, 553 (1983)); with them steps
    may exceed a bound by round-off.

    Parameters
    ----------
    gradient : (f,) float array
        g.
    curvature : (f, f) float array
        B, symmetric and positive semidefinite.
    radius : float
        Positive.
    bounds : ((m, f), (m,)) float arrays, optional
        A and b, with b ≥ 0.

    Returns
    -------
    (f,) float array
        The step s.
    """
    values, vectors = np.linalg.eigh(curvature)
    slopes = vectors.T @ gradient
    # If all curvature vanishes, any small value makes the step end at the radius.
    typical = max(float(values[-1]), 1e-6 * float(np.linalg.norm(slopes)) / radius, np.finfo(float).tiny)
    values = np.maximum(values, MIN_CURVATURE * typical)

    def excess(damping: float) -> float:
        return float(np.linalg.norm(slopes / (values + damping))) - radius

    damping = 0.0
    if excess(0.0) > 0:
        damping = float(brentq(excess, 0.0, 2 * np.linalg.norm(slopes) / radius, xtol=1e-300, rtol=1e-12))
    step = -vectors @ (slopes / (values + damping))
    if bounds is None or np.all(bounds[0] @ step <= bounds[1]):
        return np.asarray(step, np.float64)
    return _bounded_step(gradient, vectors @ np.diag(values) @ vectors.T, radius, bounds)


def _bounded_step(
    gradient: FloatArray, curvature: FloatArray, radius: float, bounds: tuple[FloatArray, FloatArray]
) -> FloatArray:
    sizes = np.linalg.norm(bounds[0], axis=1)
    restricting = sizes > 0
    matrix, room = bounds[0][restricting] / sizes[restricting, None], bounds[1][restricting] / sizes[restricting]
    size = float(np.linalg.norm(gradient)) * radius or 1.0  # makes the objective of order one
    found = minimize(
        lambda s: float(gradient @ s + 0.5 * s @ curvature @ s) / size,
        np.zeros(len(gradient)),
        jac=lambda s: (gradient + curvature @ s) / size,
        method="SLSQP",
        constraints=[
            {"type": "ineq", "fun": lambda s: room - matrix @ s, "jac": lambda s: -matrix},
            {"type": "ineq", "fun": lambda s: 1.0 - s @ s / radius**2, "jac": lambda s: -2 * s / radius**2},
        ],
        options={"maxiter": 300, "ftol": 1e-14},
    )
    return np.asarray(found.x, np.float64)


def secant_curvature(pairs: Sequence[Pair], size: int, first: float) -> FloatArray:
    """Curvature that limited-memory BFGS infers from past steps.

    The initial curvature is y·y / s·y of the last pair (J. Nocedal, S. J. Wright, Numerical Optimization, 2nd ed., eq.
    7.20).

    Parameters
    ----------
    pairs : sequence of Pair
        Steps s and changes y of the gradient, oldest first; pairs without positive curvature s·y are left out.
    size : int
        Number P of parameters.
    first : float
        Curvature if there are no pairs.

    Returns
    -------
    (P, P) float array
        Symmetric, positive definite.
    """
    used = [(s, y) for s, y in pairs if s @ y > CURVED * np.linalg.norm(s) * np.linalg.norm(y)]
    if not used:
        return first * np.eye(size)
    s, y = used[-1]
    scale = np.sqrt(s @ y / (y @ y))  # SciPy starts from the identity: rescale the steps so that it fits
    steps, changes = (np.array(arrays) for arrays in zip(*used, strict=True))
    inverse = scale**2 * LbfgsInvHessProduct(steps / scale, changes * scale).todense()
    curvature = np.linalg.inv(inverse)
    return np.asarray((curvature + curvature.T) / 2)
