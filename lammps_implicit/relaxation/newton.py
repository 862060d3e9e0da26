"""Relaxation to the stationary point nearby by Newton's method, whatever its curvatures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import ConvergenceError
from lammps_implicit.evaluators.interface import Evaluator

NEWTON_STEP = 0.1
"""Å; a longer Newton step means that the start is not near a stationary point."""


def newton(
    engine: Evaluator,
    forces: FloatArray,
    solve: Callable[[FloatArray, float], FloatArray],
    ftol: float,
    on_move: Callable[[FloatArray], None],
    maxiter: int = 10,
) -> FloatArray:
    """Move the reference to the stationary point nearby, whatever its curvatures; return the forces there.

    Parameters
    ----------
    engine : Evaluator
    forces : (n, 3) float array
        At the reference.
    solve : callable
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
        displacement = solve(forces, float(np.clip(0.2 * ftol / largest, 1e-6, 0.1)))
        length = engine.max_abs(displacement)
        if length > NEWTON_STEP:
            raise ConvergenceError(
                f"the nearest stationary point is {length:.2g} Å away (largest force {largest:.2g}): "
                "come closer to it before differentiating"
            )
        reference = engine.reference()
        engine.shift(displacement)
        moved = engine.forces()
        remaining = engine.max_abs(moved)
        if remaining >= largest:
            engine.set_reference(reference)
            raise ConvergenceError(
                f"forces stopped falling at {largest:.2g} (asked for {ftol:.2g}): the energy may not be smooth here"
            )
        forces, largest = moved, remaining
        on_move(forces)
    if largest > ftol:
        raise ConvergenceError(f"{maxiter} Newton steps left a largest force of {largest:.2g} (asked for {ftol:.2g})")
    return forces
