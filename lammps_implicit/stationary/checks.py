"""Arguments of products, checked on all ranks alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator


def check_tolerance(tol: float) -> None:
    if not 1e-10 <= tol < 1:
        raise LammpsImplicitError(f"tolerance {tol:g} is not between 1e-10, what differences of forces allow, and 1")


def checked_vector(engine: Evaluator, values: ArrayLike, shape: tuple[int, ...], name: str) -> FloatArray:
    """Return a finite float array of the shape asked for; raise on all ranks if one was given another."""
    array = np.asarray(values, dtype=float)
    if engine.any(array.shape != shape):
        raise LammpsImplicitError(f"{name} has shape {array.shape}, expected {shape}")
    if engine.any(not np.isfinite(array).all()):
        raise LammpsImplicitError(f"{name} holds values that are not finite")
    return array
