"""Newton's method with the learned springs: from nearly relaxed to relaxed, in a few force evaluations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.engine import Engine
from lammps_implicit.errors import ConvergenceError

FloatArray = NDArray[np.float64]

LARGEST_STEP = 0.1
"""Å; a Newton step beyond it means that the start is not near a minimum."""


def newton(
    engine: Engine,
    forces: FloatArray,
    step: Callable[[FloatArray, float], FloatArray],
    ftol: float,
    on_move: Callable[[FloatArray], None],
    maxiter: int = 10,
) -> FloatArray:
    """Move the reference to where the largest force component is at most `ftol`; return the forces there.

    Parameters
    ----------
    engine : Engine
    forces : (n, 3) float array
        At the reference.
    step : callable
        (forces, relative tolerance) to the displacement H⁻¹F.
    ftol : float
        eV/Å.
    on_move : callable
        Told the forces after each move.
    maxiter : int

    Raises
    ------
    ConvergenceError
        If a step is too long or the forces do not fall; the best state found stays the reference.
    """
    largest = engine.max_abs(forces)
    for _ in range(maxiter):
        if largest <= ftol:
            return forces
        displacement = step(forces, float(np.clip(0.2 * ftol / largest, 1e-6, 0.1)))
        length = engine.max_abs(displacement)
        if length > LARGEST_STEP:
            raise ConvergenceError(
                f"the nearest stationary point is {length:.2g} Å away (largest force {largest:.2g}): "
                "minimise further before differentiating"
            )
        engine.shift(displacement)
        moved = engine.forces()
        remaining = engine.max_abs(moved)
        if remaining >= largest:
            engine.shift(-displacement)
            raise ConvergenceError(
                f"forces stopped falling at {largest:.2g} (asked for {ftol:.2g}): the energy may not be smooth here"
            )
        forces, largest = moved, remaining
        on_move(forces)
    if largest > ftol:
        raise ConvergenceError(f"{maxiter} Newton steps left a largest force of {largest:.2g} (asked for {ftol:.2g})")
    return forces
