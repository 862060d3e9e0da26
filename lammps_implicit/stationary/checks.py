"""Validation of arguments, with the same outcome on every rank."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.mpi.ownership import fetch

LEAST_TOLERANCE = 1e-10
"""Least relative tolerance of a product: differences of forces allow no better."""


def check_positive(value: float, name: str, infinite: bool = False) -> None:
    """Check a number that must be positive.

    Parameters
    ----------
    value : float
    name : str
        Of the argument, for the message.
    infinite : bool
        Whether infinity counts.

    Raises
    ------
    LammpsImplicitError
        If it is zero, negative, NaN, infinite or no number.
    """
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not number or not value > 0 or not (infinite or np.isfinite(value)):
        raise LammpsImplicitError(f"{name} = {value!r} is not a positive number")


def check_tolerance(tol: float) -> None:
    """Check a relative tolerance.

    Parameters
    ----------
    tol : float

    Raises
    ------
    LammpsImplicitError
        If it is no number, less than `LEAST_TOLERANCE`, or not less than 1.
    """
    check_positive(tol, "tol")
    if not LEAST_TOLERANCE <= tol < 1:
        raise LammpsImplicitError(
            f"tolerance {tol:g} is not between {LEAST_TOLERANCE:g}, the limit of force differences, and 1"
        )


def checked_acceptance(accept_accuracy: float) -> float:
    """Return a relative error that is to be accepted, after checking it.

    Raises
    ------
    LammpsImplicitError
        If it is not a number from 0 to below 1.
    """
    if not 0 <= accept_accuracy < 1:
        raise LammpsImplicitError(f"accept_accuracy {accept_accuracy:g} is not a relative error from 0 to below 1")
    return accept_accuracy


def checked_vector(engine: Evaluator, values: ArrayLike, shape: tuple[int, ...], name: str) -> FloatArray:
    """Convert to a float array and check its shape and values.

    Parameters
    ----------
    engine : Evaluator
        Its ranks agree on the outcome.
    values : array_like
    shape : tuple of int
        Expected shape on this rank.
    name : str
        Name of the argument, for messages.

    Raises
    ------
    LammpsImplicitError
        On all ranks, if the array of any rank has another shape or holds values that are not finite.
    """
    try:
        given = np.asarray(values)
        array = given.astype(float) if given.dtype.kind in "biuf" else None
    except ValueError:  # rows of different lengths
        array = None
    if engine.any(array is None):
        raise LammpsImplicitError(f"{name} is not an array of real numbers")
    assert array is not None
    if engine.any(array.shape != shape):
        raise LammpsImplicitError(f"{name} has shape {array.shape}, expected {shape}")
    if engine.any(not np.isfinite(array).all()):
        raise LammpsImplicitError(f"{name} contains values that are not finite")
    return array


def require_same_atoms(first: Evaluator, second: Evaluator, what: str) -> None:
    """Check that two evaluators have atoms of the same ids and types.

    Parameters
    ----------
    first, second : Evaluator
    what : str
        What has other atoms, for the message.

    Raises
    ------
    LammpsImplicitError
        If they differ.
    """
    if first.n_atoms != second.n_atoms:
        raise LammpsImplicitError(f"{what} has {second.n_atoms} atoms instead of {first.n_atoms}")
    types = fetch(first.comm, second.ids, second.types, first.ids, missing=0)
    for wrong, reason in ((types == 0, "no atom of id"), (types != first.types, "an atom of another type with id")):
        lowest = -first.max(-float(first.ids[wrong].min(initial=2**53)))
        if lowest < 2**53:
            raise LammpsImplicitError(f"{what} has {reason} {int(lowest)}")
