"""Comparisons used by the checks: extrapolated finite differences, orders of convergence, and errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lammps_implicit.arrays import FloatArray

STENCIL = (1.0, -1.0, 0.5, -0.5)
"""Points, in units of the step, at which `first_derivative` and `second_derivative` need a function's values."""


class ConformanceError(AssertionError):
    """An implementation does not conform to its interface."""


def require_small(error: float, tol: float, what: str, cause: str) -> float:
    """Return a relative error if it is within tolerance.

    Parameters
    ----------
    error, tol : float
        Relative error and the largest one accepted.
    what, cause : str
        What was compared and the usual cause of a failure, for the message.

    Raises
    ------
    ConformanceError
        If the error exceeds `tol` or is not a number.
    """
    if not error <= tol:  # NaN fails too
        raise ConformanceError(f"{what}: relative error {error:.2e}, expected at most {tol:.0e}; usual cause: {cause}")
    return float(error)


def require_equal(found: float, expected: float, scale: float, tol: float, what: str, cause: str) -> float:
    """Return the difference of two numbers relative to a scale, if it is within tolerance.

    Parameters
    ----------
    found, expected : float
    scale : float
        Typical size of the numbers; zero fails the check.
    tol : float
        Largest difference accepted, relative to `scale`.
    what, cause : str
        What was compared and the usual cause of a failure, for the message.

    Raises
    ------
    ConformanceError
        If the difference exceeds `tol` or is not a number.
    """
    error = abs(found - expected) / scale if scale > 0 else np.nan
    if not error <= tol:
        raise ConformanceError(
            f"{what}: {found:.10g}, expected {expected:.10g}; the difference is {error:.2e} of the typical size "
            f"{scale:.3g}, expected at most {tol:.0e}; usual cause: {cause}"
        )
    return float(error)


def require(condition: bool, what: str, cause: str) -> None:
    """Check a condition.

    Parameters
    ----------
    condition : bool
    what, cause : str
        What is wrong and the usual cause, for the message.

    Raises
    ------
    ConformanceError
        If the condition is false.
    """
    if not condition:
        raise ConformanceError(f"{what}; usual cause: {cause}")


def first_derivative(ends: Sequence[FloatArray | float], step: float) -> FloatArray:
    """f'(0) by central differences over two steps, Richardson-extrapolated to an error of O(step⁴).

    Parameters
    ----------
    ends : sequence of four floats or arrays
        f at ``STENCIL`` times `step`, in that order.
    step : float
    """
    up, down, near_up, near_down = map(np.asarray, ends)
    return np.asarray((8 * (near_up - near_down) - (up - down)) / (6 * step))


def second_derivative(ends: Sequence[FloatArray | float], middle: FloatArray | float, step: float) -> FloatArray:
    """f''(0) by central differences over two steps, Richardson-extrapolated to an error of O(step⁴).

    Parameters
    ----------
    ends : sequence of four floats or arrays
        f at ``STENCIL`` times `step`, in that order.
    middle : float or array
        f(0).
    step : float
    """
    up, down, near_up, near_down = map(np.asarray, ends)
    return np.asarray((16 * (near_up + near_down) - (up + down) - 30 * np.asarray(middle)) / (3 * step**2))


def random_change(theta: FloatArray, seed: int) -> FloatArray:
    """Random change δΘ, (P,), each entry proportional to its parameter's size; the same on all ranks.

    Parameters that are zero change by a thousandth of the mean size of all parameters.
    """
    sizes = np.abs(theta)
    typical = 1e-3 * float(sizes.mean()) or 1.0
    return np.random.default_rng(seed).standard_normal(len(theta)) * np.where(sizes > 0, sizes, typical)


def measured_order(sizes: Sequence[float], errors: Sequence[float], noise: float) -> float:
    """Order of convergence: the slope of log(error) over log(size).

    Errors at or below `noise` are left out; infinite if fewer than two remain.
    """
    above = np.array([pair for pair in zip(sizes, errors, strict=True) if pair[1] > noise])
    return float(np.polyfit(np.log(above[:, 0]), np.log(above[:, 1]), 1)[0]) if len(above) > 1 else np.inf
