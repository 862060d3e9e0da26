"""One kink on a line: where exactly it is, how large, and whether the force jumps there or its slope."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.conformance.directions import angstrom, line
from lammps_implicit.conformance.pairs import Pair, pair_of
from lammps_implicit.conformance.scans import Scan, scan
from lammps_implicit.evaluators.interface import Evaluator

POINTS = 9
"""Points of each closer look at an interval."""

LOOKS = 4
"""Closer looks: each is at a quarter of the interval before."""

SIDE = 2e-6
"""Å; spacing of the three points on each side of the kink from which forces and slopes are extrapolated to it."""


SEEN = 1e-7
"""Least change of slope, relative to the slope, that counts."""

ROUND_OFF = 1e-12
"""Å; forces change by more than round-off if they change by more than this displacement does: noise beyond it is
roughness."""


@dataclass(frozen=True)
class Kink:
    """A place on a line at which forces, or their slopes, are not continuous.

    Attributes
    ----------
    number : int
        Of the line, see `directions.line`.
    t : float
        Distance along the line, as the largest component of the displacement.
    slope_jump : float
        ‖Δ(H v)‖/‖H v‖: change of a Hessian product across the kink.
    force_jump : float
        ‖ΔF‖/‖H v‖, the displacement that would change forces as much; zero if they are continuous.
    pair : Pair or None
        The pair of atoms that crosses a radius there; None if no pair explains the change.
    """

    number: int
    t: float
    slope_jump: float
    force_jump: float
    pair: Pair | None

    @property
    def seen(self) -> bool:
        """Whether it is more than round-off."""
        return self.force_jump > ROUND_OFF or self.slope_jump > SEEN

    def size_described(self, length: str) -> str:
        """Describe its size in words; `length` is the unit."""
        if self.force_jump:
            return f"forces jump as by a displacement of {self.force_jump:.0e} {length}"
        return f"slopes change by {self.slope_jump:.0e}"


def look_closer(engine: Evaluator, found: Scan, index: int) -> Kink:
    """Find out about the kink at an inner point of a scan: `LOOKS` × `POINTS` + 6 evaluations, and one.

    Parameters
    ----------
    engine : Evaluator
        Left at its reference.
    found : Scan
    index : int
        Number of the inner point with the largest change of slope, counted as in `Scan.deviations`.
    """
    t, h = place_between(found.t, found.deviations(), index), found.spacing
    for _ in range(LOOKS):
        near = scan(engine, found.number, t + h * np.linspace(-1, 1, POINTS))
        bends = np.diff(near.slopes, axis=0)
        sizes = np.sqrt(np.mean((bends - np.median(bends, axis=0)) ** 2, axis=1))
        t, h = place_between(near.t, sizes), near.spacing
    side = SIDE * angstrom(engine)
    v = line(engine, found.number)
    before, after = (_extrapolated(engine, v, t, sign * side) for sign in (-1, 1))
    stiffness = max(engine.norm(after[1]), np.finfo(float).tiny)
    jump, bend = after[0] - before[0], after[1] - before[1]
    force = engine.norm(jump)
    jumps = force > 0.5 * side * engine.norm(bend)  # else it is what the uncertainty of the place makes of the bend
    engine.return_to_reference()
    pair = pair_of(engine, found.number, t, jump if jumps else bend)
    return Kink(found.number, t, engine.norm(bend) / stiffness, force / stiffness if jumps else 0.0, pair)


def place_between(t: FloatArray, sizes: FloatArray, index: int | None = None) -> float:
    """Place of a kink from the changes of slope at inner points: the two points beside it share its change.

    Parameters
    ----------
    t : (m,) float array
    sizes : (m - 2,) float array
        Sizes of the changes.
    index : int, optional
        Inner point nearest to it; default: that with the largest change.
    """
    worst = int(np.argmax(sizes)) if index is None else index
    others = [k for k in (worst - 1, worst + 1) if 0 <= k < len(sizes)]
    second = max(others, key=lambda k: sizes[k])
    total = sizes[worst] + sizes[second]
    share = sizes[second] / total if total > 0 else 0.0
    return float(t[worst + 1] + share * (t[second + 1] - t[worst + 1]))


def _extrapolated(engine: Evaluator, v: FloatArray, t: float, step: float) -> tuple[FloatArray, FloatArray]:
    """Forces and their slope at t from one side: quadratic extrapolation from the three points t + step, 2, 3 steps."""
    one, two, three = (np.array(engine.forces((t + k * step) * v)) for k in (1, 2, 3))
    return 3 * one - 3 * two + three, (-2.5 * one + 4 * two - 1.5 * three) / step
