"""Relaxation to a nearby stationary point, minimum or saddle, by Newton's method."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import ConvergenceError
from lammps_implicit.evaluators.interface import Evaluator

_LONGEST_STEP = 0.1
"""Å; a Newton step with a larger component is refused, as the start is then not near a stationary point. Chosen: forces
are about linear over such distances, a few per cent of a bond."""


def newton(
    engine: Evaluator,
    forces: FloatArray,
    solve: Callable[[FloatArray, float], FloatArray],
    ftol: float,
    on_move: Callable[[FloatArray], None],
    maxiter: int = 10,
) -> FloatArray:
    """Move the reference to a nearby stationary point of any curvature, and return the forces there.

    Parameters
    ----------
    engine : Evaluator
    forces : (n, 3) float array
        Forces at the reference, eV/Å.
    solve : callable
        Maps (forces, relative tolerance) to the displacement H⁻¹F, (n, 3), Å.
    ftol : float
        Largest force component at which to stop, eV/Å.
    on_move : callable
        Called with the forces (n, 3) after each step.
    maxiter : int
        Largest number of steps.

    Returns
    -------
    (n, 3) float array
        eV/Å.

    Raises
    ------
    ConvergenceError
        If a step is too long, the forces do not fall, or `maxiter` is reached; the reference is then the one with the
        smallest forces found.
    """
    largest = engine.max_abs(forces)
    for _ in range(maxiter):
        if largest <= ftol:
            return forces
        displacement = solve(forces, float(np.clip(0.2 * ftol / largest, 1e-6, 0.1)))
        length = engine.max_abs(displacement)
        if length > _LONGEST_STEP:
            raise ConvergenceError(
                f"the nearest stationary point is about {length:.2g} Å away (largest force component {largest:.2g}): "
                "start closer to it"
            )
        reference = engine.reference()
        engine.shift(displacement)
        moved = engine.forces()
        remaining = engine.max_abs(moved)
        if remaining >= largest:
            engine.set_reference(reference)
            raise ConvergenceError(
                f"forces stopped falling at {largest:.2g} (asked for {ftol:.2g}): the energy may not be smooth here; "
                "ask for a larger ftol"
            )
        forces, largest = moved, remaining
        on_move(forces)
    if largest > ftol:
        raise ConvergenceError(
            f"{maxiter} Newton steps left a largest force component of {largest:.2g} (asked for {ftol:.2g}): start "
            "closer to the stationary point, or ask for a larger ftol"
        )
    return forces
