"""Accuracy of a solution itself, and not of its residual: where modes are soft a small residual leaves large errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import UnheldError
from lammps_implicit.response.statistics import GOOD

CORRECTIONS = 3
"""Times that a solution is corrected at most; each gains one to three decades."""

_MARGIN = 0.3
"""Part of what is allowed that a correction aims at: the preconditioner sees soft modes stiffer than they are, and so
may underestimate the error. Measured: by up to 1.9 times for 64 waters, 1.4 for chains of polyethylene and 2 for a lone
butane molecule; before contacts had negative stiffnesses, by five and eight times for the first two."""

_LEAST = 1e-4
"""Smallest factor by which a tolerance is tightened at once."""


@dataclass(frozen=True)
class Missed:
    """What a solution of H x = b misses.

    Attributes
    ----------
    residual : float
        ‖b - H x‖/‖b‖.
    error : float
        Estimate of ‖x - H⁻¹b‖/‖x‖.
    """

    residual: float
    error: float

    def told(self, tol: float) -> float:
        """The number by which the solution is judged against a tolerance.

        Along soft motions of molecules stiff bonds resist to third order, which shows in the residual and hardly in x.
        """
        return self.error if self.residual > GOOD * tol else max(self.residual, self.error)

    def factor(self, tol: float) -> float:
        """Factor by which the residual must become smaller for x to be accurate to a tolerance; 1 if it is."""
        return 1.0 if self.error <= GOOD * tol else min(1.0, max(_MARGIN * tol / self.error, _LEAST))


def corrected(
    x: FloatArray,
    rest: FloatArray,
    missed: Callable[[FloatArray, FloatArray], Missed],
    rest_of: Callable[[FloatArray], FloatArray],
    solve: Callable[[FloatArray, float], FloatArray],
    tol: float,
) -> tuple[FloatArray, Missed]:
    """Correct a solution until it is accurate itself.

    Parameters
    ----------
    x, rest : (n, 3) float arrays
        Solution and residual b - H x.
    missed : callable
        Called with both.
    rest_of : callable
        Residual of a solution, measured.
    solve : callable
        Called with a residual r and a tolerance; returns x with ‖r - H x‖ ≤ tolerance·‖r‖.
    tol : float
        Relative error of x to reach.

    Returns
    -------
    x : (n, 3) float array
        The best found.
    missed : Missed
        What it misses. Along motions that cost nothing (a free hinge) there is no error: its residual counts there.
    """
    now = missed(x, rest)
    for _ in range(CORRECTIONS):
        if now.factor(tol) == 1.0:
            break
        try:
            better = x + solve(rest, now.factor(tol))
        except UnheldError:
            return x, Missed(now.residual, now.residual)
        left = rest_of(better)
        then = missed(better, left)
        if not then.error < now.error:
            break
        x, rest, now = better, left, then
    return x, now
