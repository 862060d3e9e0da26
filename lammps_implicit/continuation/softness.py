"""Stiffnesses that vanish where a stationary point ceases to exist, or becomes another kind of one.

Of a minimum the lowest: it then meets a saddle. Of a saddle both the negative one, where it meets a minimum and the
barrier vanishes, and the lowest of all others, where a second mode becomes negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lammps_implicit.errors import NotAMinimumError
from lammps_implicit.response.softest_modes import ROUGHLY
from lammps_implicit.stationary.point import StationaryPoint

SOFT = 0.02
"""Stiffness, relative to the start, below which a point counts as disappearing. Chosen: it vanishes like a square root
there (fold bifurcation), so the end of the path lies within a fraction of about 0.02² of the place."""

_NEAR = 0.2
"""Stiffness, relative to the start, below which it counts as the reason why a path ends where steps fail. Chosen."""


class Stiffnesses(NamedTuple):
    """Stiffnesses of a stationary point, eV/Å² in ``units metal``; see `solvers.softest`.

    Attributes
    ----------
    softest : float
        The lowest; below zero at a saddle.
    next : float
        At a saddle the lowest of all others, infinite if there is no other. Not measured, and infinite, at a minimum.
    """

    softest: float
    next: float = np.inf

    @classmethod
    def of(cls, point: StationaryPoint) -> Stiffnesses:
        """Measure them at the present structure."""
        if not point.saddle:
            return cls(point.softest_mode().stiffness)
        found = [mode.stiffness for group in point.softest_modes(ROUGHLY, 2) for mode in group.modes]
        return cls(*found[:2])


@dataclass(frozen=True)
class Softness:
    """What is left of the stiffnesses that a point had at the start of a path.

    Attributes
    ----------
    saddle : bool
    initial : Stiffnesses

    Raises
    ------
    NotAMinimumError
        If a saddle does not have exactly one negative mode.
    """

    saddle: bool
    initial: Stiffnesses

    def __post_init__(self) -> None:
        if self.saddle and not self.initial.softest < 0 < self.initial.next:
            what = "has no negative mode" if self.initial.softest >= 0 else "has more than one negative mode"
            raise NotAMinimumError(
                f"a saddle between two minima has exactly one negative mode, and this structure {what}"
            )

    def left(self, now: Stiffnesses) -> tuple[float, float]:
        """Both stiffnesses relative to the start; the second is 1 where there is none."""
        other = now.next / self.initial.next if np.isfinite(now.next) and np.isfinite(self.initial.next) else 1.0
        return now.softest / self.initial.softest, other

    def lost(self, now: Stiffnesses) -> bool:
        """Whether a saddle is none any more: a step went beyond its end."""
        return self.saddle and not min(self.left(now)) > 0

    def ends(self, now: Stiffnesses) -> bool:
        """Whether hardly any stiffness is left."""
        return not min(self.left(now)) > SOFT

    def reason(self, now: Stiffnesses, failure: str, share: float) -> str:
        """Why a path ends at a point: say it in words, with what went wrong in the last step that failed, if any."""
        first, second = self.left(now)
        after, more = f"after {share:.2%} of the path", f" ({failure})" if failure else ""
        if not self.saddle:
            return (
                f"the minimum disappears {after}: the stiffness of its softest mode is {first:.2g} of that at the start"
                f"{more}"
            )
        if first <= min(second, _NEAR):
            return (
                f"the saddle merges with a minimum (barrier → 0) {after}: its negative curvature is {first:.2g} of "
                f"that at the start{more}"
            )
        if second <= _NEAR:
            return (
                f"a second mode of the saddle becomes negative {after}: its stiffness is {second:.2g} of that at the "
                f"start{more}"
            )
        return (
            f"the saddle is lost {after}: its negative curvature is {first:.2g} of that at the start, the stiffness of "
            f"the next mode {second:.2g}{more}"
        )
