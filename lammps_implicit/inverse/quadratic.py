"""Steps on a quadratic model of the loss, within a trust radius and within bounds, and the models' curvatures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import LbfgsInvHessProduct, brentq, minimize

from lammps_implicit.arrays import FloatArray

Pair = tuple[FloatArray, FloatArray]
"""A step, and the change of the gradient along it."""

FLAT = 1e-10
"""Curvature, relative to the largest, below which nothing is known of a direction."""


def best_step(
    gradient: FloatArray, curvature: FloatArray, radius: float, walls: tuple[FloatArray, FloatArray] | None = None
) -> FloatArray:
    """Minimise g·s + ½ s·B s over |s| ≤ radius, and A s ≤ b where walls (A, b) are given; (f,).

    Without walls this is exact (J. J. Moré, D. C. Sorensen, SIAM J. Sci. Stat. Comput. 4, 553 (1983)); with them steps
    may pass a wall by round-off.

    Parameters
    ----------
    gradient : (f,) float array
    curvature : (f, f) float array
        Symmetric, positive semidefinite.
    radius : float
    walls : ((m, f), (m,)) float arrays, optional
        With b ≥ 0.
    """
    values, vectors = np.linalg.eigh(curvature)
    slopes = vectors.T @ gradient
    # Where nothing is curved, steps end at the radius.
    typical = max(float(values[-1]), 1e-6 * float(np.linalg.norm(slopes)) / radius, np.finfo(float).tiny)
    values = np.maximum(values, FLAT * typical)

    def beyond(damping: float) -> float:
        return float(np.linalg.norm(slopes / (values + damping))) - radius

    damping = 0.0
    if beyond(0.0) > 0:
        damping = float(brentq(beyond, 0.0, 2 * np.linalg.norm(slopes) / radius, xtol=1e-300, rtol=1e-12))
    step = -vectors @ (slopes / (values + damping))
    if walls is None or np.all(walls[0] @ step <= walls[1]):
        return np.asarray(step, np.float64)
    return _walled(gradient, vectors @ np.diag(values) @ vectors.T, radius, walls)


def _walled(
    gradient: FloatArray, curvature: FloatArray, radius: float, walls: tuple[FloatArray, FloatArray]
) -> FloatArray:
    sizes = np.linalg.norm(walls[0], axis=1)
    felt = sizes > 0
    matrix, room = walls[0][felt] / sizes[felt, None], walls[1][felt] / sizes[felt]
    size = float(np.linalg.norm(gradient)) * radius or 1.0  # so that the objective is of order one
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
    """Curvature that limited-memory BFGS infers from past steps, (P, P).

    Parameters
    ----------
    pairs : sequence of Pair
        Oldest first; those along which the gradient fell are left out.
    size : int
        P.
    first : float
        Curvature where there are no pairs.
    """
    good = [(s, y) for s, y in pairs if s @ y > 1e-10 * np.linalg.norm(s) * np.linalg.norm(y)]
    if not good:
        return first * np.eye(size)
    s, y = good[-1]
    scale = np.sqrt(s @ y / (y @ y))  # SciPy starts from the identity: units in which that is right
    steps, changes = (np.array(arrays) for arrays in zip(*good, strict=True))
    inverse = scale**2 * LbfgsInvHessProduct(steps / scale, changes * scale).todense()
    curvature = np.linalg.inv(inverse)
    return np.asarray((curvature + curvature.T) / 2)
