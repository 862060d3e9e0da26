"""Noise of forces: whether they repeat, and how much of their digits is round-off.

J. J. Moré, S. M. Wild, "Estimating computational noise", SIAM J. Sci. Comput. 33, 1292 (2011): in the table of
differences of a smooth function on a line of closely spaced points the columns fall until only noise is left, whose
standard deviation the k-th column gives as σ² = (k!)²/(2k)! ⟨(Δᵏf)²⟩. Here f is the vector of all forces.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import factorial

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.conformance.directions import angstrom, free_count, line
from lammps_implicit.conformance.finding import Finding, Verdict
from lammps_implicit.evaluators.interface import Evaluator

POINTS = 9
"""Points of the table of differences: 7 are enough for noise within a factor of 4 (Moré and Wild)."""

SPACING = 1e-8
"""Å; spacing of the points. The second difference of the forces is then below their round-off."""

REPEATS = 3
"""Evaluations at the same positions, between which atoms are moved and set back."""


@dataclass(frozen=True)
class Noise:
    """Noise of the forces at the reference.

    Attributes
    ----------
    repeat : float
        Largest change of a force component between evaluations at the same positions.
    sigma : float
        Standard deviation of a force component.
    levels : tuple of float
        Estimates of σ from each column of the table of differences.
    size : float
        Change of the root mean square force by a displacement of 1 Å, as it would be if forces were linear: the
        stiffness that noise is compared with.
    """

    repeat: float
    sigma: float
    levels: tuple[float, ...]
    size: float

    def finding(self, force: str) -> Finding:
        """Report it; `force` is the unit."""
        numbers = {"repeat": self.repeat, "sigma": self.sigma, "stiffness": self.size}
        if not np.isfinite(self.sigma):
            return Finding("noise of forces", Verdict.bad, "forces are not finite", "Look at the deck's end.", numbers)
        if self.repeat > 1e-11 * self.size:
            return Finding(
                "noise of forces",
                Verdict.bad,
                f"forces at the same positions differ by up to {self.repeat:.1e} {force}: they are random, or depend "
                "on what was evaluated before",
                "Remove thermostats, random forces and charges that equilibrate from the deck's end; tighten "
                "iterations inside the potential.",
                numbers,
            )
        verdict = Verdict.good if self.sigma <= 1e-11 * self.size else Verdict.limited
        return Finding(
            "noise of forces",
            verdict,
            f"{self.sigma:.1e} {force} a component, forces repeat "
            + ("exactly" if self.repeat == 0 else f"within {self.repeat:.1e}"),
            ""
            if verdict is Verdict.good
            else "Forces are interpolated, iterated or in single precision: differences need longer steps.",
            numbers,
        )


def measure_noise(engine: Evaluator) -> Noise:
    """Measure the noise of the forces at the reference: `POINTS` + 2 `REPEATS` evaluations.

    Parameters
    ----------
    engine : Evaluator
        Left at its reference.
    """
    away = line(engine, 900) * 1e-2 * angstrom(engine)
    first, repeat = np.array(engine.forces()), 0.0
    moved = first
    for _ in range(REPEATS):
        moved = np.array(engine.forces(away))
        repeat = max(repeat, engine.max_abs(np.array(engine.forces()) - first))
    count = max(free_count(engine), 1)
    size = engine.norm(moved - first) / max(engine.norm(away), np.finfo(float).tiny)
    step = SPACING * angstrom(engine) * line(engine, 901)
    table = [np.array(engine.forces((k - POINTS // 2) * step)) for k in range(POINTS)]
    engine.return_to_reference()
    levels = _levels(engine, table, count)
    return Noise(repeat, _settled(levels), tuple(levels), size)


def _levels(engine: Evaluator, table: list[FloatArray], count: int) -> list[float]:
    """Estimates of σ from the columns of the table of differences."""
    levels = []
    for order in range(1, POINTS - 1):
        table = [right - left for left, right in pairwise(table)]
        square = sum(engine.dot(row, row) for row in table) / (len(table) * count)
        levels.append(float(np.sqrt(factorial(order) ** 2 / factorial(2 * order) * square)))
    return levels


def _settled(levels: list[float]) -> float:
    """First estimate that two following ones agree with within a factor of 4; else the last."""
    for three in zip(levels, levels[1:], levels[2:], strict=False):
        if max(three) <= 4 * min(three):
            return three[0]
    return levels[-1]
