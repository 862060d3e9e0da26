"""The softest mode of a Hessian relative to the springs: its stiffness vanishes where a minimum ceases to exist."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from lammps_implicit.arrays import FloatArray
from lammps_implicit.solvers.interface import LinearSystem

_STILL = 3
"""Iterations without progress that end a search: θ may rest at a mode of one symmetry while that of another, of which
the vector has a small part only, still grows (measured: an interstitial in Al, where one such iteration ended at a mode
of 0.004 beside one of -4e-5)."""


@dataclass(frozen=True)
class Mode:
    """A displacement and its stiffness.

    Attributes
    ----------
    vector : (n, 3) float array
        v, of unit norm over all ranks.
    pull : (n, 3) float array
        Kv, the force of the springs, eV/Å².
    stiffness : float
        vᵀHv / vᵀKv: about 1 for most modes, whatever the size of the cell.
    curvature : float
        vᵀHv / vᵀv, eV/Å².
    """

    vector: FloatArray
    pull: FloatArray
    stiffness: float
    curvature: float


def softest_mode(system: LinearSystem, start: FloatArray, tol: float = 0.02, maxiter: int = 40) -> Mode:
    """Return the mode of the lowest eigenvalue of H v = θ K v.

    Locally optimal preconditioned conjugate gradients (A. V. Knyazev, SIAM J. Sci. Comput. 23, 517 (2001)) with one
    vector. K itself is never applied: all vectors are of the form v = K⁻¹p, and are kept together with p = Kv.

    Parameters
    ----------
    system : LinearSystem
        H may have negative curvatures.
    start : (n, 3) float array
        p of the first vector v = K⁻¹p: ``pull`` of a mode found nearby, or a random array.
    tol : float
        Relative change of θ per iteration; the search ends after `_STILL` iterations in succession that change less.
    maxiter : int
        Limit on the number of iterations, of one Hessian product each.
    """
    engine, project = system.engine, system.null_space.project

    def product(v: FloatArray) -> FloatArray:
        return project(system.operator(v, 1e-3, None))

    pulled = project(start)
    v = system.preconditioned(pulled)
    if engine.norm(v) == 0:  # only rigid motions are possible
        return Mode(v, pulled, 1.0, system.stiffness)
    # Each member: a vector, its product with K, its product with H.
    basis = [_scaled(engine.norm(v), v, pulled, product(v))]
    stiffness, still = np.inf, 0
    for _ in range(maxiter):
        gram_h = np.array([[engine.dot(a[0], b[2]) for b in basis] for a in basis])
        gram_k = np.array([[engine.dot(a[0], b[1]) for b in basis] for a in basis])
        values, weights = eigh((gram_h + gram_h.T) / 2, (gram_k + gram_k.T) / 2)
        best = [sum(w * member[part] for w, member in zip(weights[:, 0], basis, strict=True)) for part in range(3)]
        last, stiffness = stiffness, float(values[0])
        size = engine.norm(best[0])
        current = _scaled(size, *best)
        still = still + 1 if abs(last - stiffness) <= tol * abs(stiffness) else 0
        if still == _STILL:
            break
        step = [
            sum((w * member[part] for w, member in zip(weights[1:, 0], basis[1:], strict=True)), np.zeros_like(v))
            for part in range(3)
        ]
        residual = current[2] - stiffness * current[1]
        down = system.preconditioned(residual)
        if engine.norm(down) <= 1e-10:
            break
        basis = [current, _scaled(engine.norm(down), down, residual, product(down))]
        if engine.norm(step[0]) > 1e-12 * size:
            basis.append(_scaled(engine.norm(step[0]), *step))
    vector, pull, force = current
    return Mode(vector, pull, stiffness, engine.dot(vector, force))


def _scaled(size: float, *arrays: FloatArray) -> tuple[FloatArray, ...]:
    return tuple(array / size for array in arrays)
