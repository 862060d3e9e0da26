"""How checks compare: differences extrapolated to zero step, orders of convergence, and what is raised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lammps_implicit.arrays import FloatArray

STENCIL = (1.0, -1.0, 0.5, -0.5)
"""Places, in units of the step, at which `first_derivative` and `second_derivative` take a function."""


class ConformanceError(AssertionError):
    """What was checked is not as its interface says."""


def require_small(error: float, tol: float, what: str, cause: str) -> float:
    """Return the relative error.

    Raises
    ------
    ConformanceError
        Unless it is at most `tol`.
    """
    if not error <= tol:  # not a number fails too
        raise ConformanceError(f"{what}: relative error {error:.2e}, expected at most {tol:.0e}; usual cause: {cause}")
    return float(error)


def require_equal(found: float, expected: float, scale: float, tol: float, what: str, cause: str) -> float:
    """Return the difference of two numbers, relative to a scale.

    Raises
    ------
    ConformanceError
        Unless it is at most `tol`.
    """
    error = abs(found - expected) / scale if scale > 0 else np.nan
    if not error <= tol:
        raise ConformanceError(
            f"{what}: {found:.10g} where {expected:.10g} is expected, a difference of {error:.2e} of the typical "
            f"{scale:.3g}, expected at most {tol:.0e}; usual cause: {cause}"
        )
    return float(error)


def require(condition: bool, what: str, cause: str) -> None:
    """Check a condition.

    Raises
    ------
    ConformanceError
    """
    if not condition:
        raise ConformanceError(f"{what}; usual cause: {cause}")


def first_derivative(ends: Sequence[FloatArray | float], step: float) -> FloatArray:
    """f'(0) from f at `STENCIL` times the step: central differences, extrapolated to O(step⁴)."""
    up, down, near_up, near_down = map(np.asarray, ends)
    return np.asarray((8 * (near_up - near_down) - (up - down)) / (6 * step))


def second_derivative(ends: Sequence[FloatArray | float], middle: FloatArray | float, step: float) -> FloatArray:
    """f''(0) from f at `STENCIL` times the step and at zero, extrapolated to O(step⁴)."""
    up, down, near_up, near_down = map(np.asarray, ends)
    return np.asarray((16 * (near_up + near_down) - (up + down) - 30 * np.asarray(middle)) / (3 * step**2))


def random_change(theta: FloatArray, seed: int) -> FloatArray:
    """Return a change of each parameter by a random share of its size, (P,); the same on all ranks."""
    sizes = np.abs(theta)
    typical = 1e-3 * float(sizes.mean()) or 1.0
    return np.random.default_rng(seed).standard_normal(len(theta)) * np.where(sizes > 0, sizes, typical)


def measured_order(sizes: Sequence[float], errors: Sequence[float], noise: float) -> float:
    """Power of the size that errors fall with; infinite where fewer than two are above the noise."""
    above = np.array([pair for pair in zip(sizes, errors, strict=True) if pair[1] > noise])
    return float(np.polyfit(np.log(above[:, 0]), np.log(above[:, 1]), 1)[0]) if len(above) > 1 else np.inf
