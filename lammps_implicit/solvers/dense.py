"""Dense Hessian by differences, for cells so small that it needs fewer force evaluations than iterating."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import eigh

from lammps_implicit.arrays import FloatArray
from lammps_implicit.solvers.interface import LinearSystem, require_positive_curvature


def dense_inverse(
    system: LinearSystem,
    accuracy: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Callable[[FloatArray], FloatArray]:
    """Build H column by column and return v → H⁻¹ v on the complement of the null space.

    Parameters
    ----------
    system : LinearSystem
        On one process.
    accuracy : float
        Relative accuracy of each column.
    progress : callable
        Called with columns done and in all.

    Raises
    ------
    NotAMinimumError
        If an eigenvalue outside the null space is not positive; at a saddle, if one vanishes.
    """
    engine, null_space = system.engine, system.null_space
    free = np.flatnonzero(engine.free.reshape(-1))
    if len(null_space.vectors) == free.size:
        return np.zeros_like
    hessian = np.empty((free.size, free.size))
    unit = np.zeros(engine.free.shape)
    for count, index in enumerate(free):
        unit.flat[index] = 1.0
        hessian[:, count] = system.operator(unit, accuracy, None).reshape(-1)[free]
        unit.flat[index] = 0.0
        progress(count + 1, free.size)
    hessian = 0.5 * (hessian + hessian.T)
    null = np.array([vector.reshape(-1)[free] for vector in null_space.vectors]).reshape(-1, free.size)
    # Push the null space far above every other eigenvalue, solve, and project it out again: exact, unlike a shift.
    hessian -= null.T @ (null @ hessian)
    hessian -= (hessian @ null.T) @ null
    values, vectors = eigh(hessian + np.linalg.norm(hessian) * null.T @ null)
    lowest = float(np.abs(values).min()) if system.saddle else float(values[0])
    require_positive_curvature(lowest, system.stiffness)

    def apply(v: FloatArray) -> FloatArray:
        x = np.zeros(v.size)
        x[free] = vectors @ ((vectors.T @ null_space.project(v).reshape(-1)[free]) / values)
        return null_space.project(x.reshape(v.shape))

    return apply
