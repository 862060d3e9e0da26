"""Which steps differences of forces may take, and what accuracy they reach: measured over four decades of steps.

A difference taken with too short a step drowns in round-off, one with too long a step is that of a curved function,
and one that spans a kink is neither. Products with neighbouring steps are compared, and the accuracy of a step is the
larger of its differences from both neighbours: no model of the error enters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.conformance.directions import angstrom, line
from lammps_implicit.conformance.finding import Finding, graded
from lammps_implicit.evaluators.interface import Evaluator

FAIR = 1e-4
"""Relative error that marks the longest step: beyond it differences span kinks, or are those of a curved function."""

GOOD, LIMITED = 1e-6, 1e-2
"""Relative errors of the best central difference up to which a potential is good, and not yet bad, for derivatives."""


@dataclass(frozen=True)
class Steps:
    """Errors of differences against their step.

    Attributes
    ----------
    what : str
        What is differenced.
    unit : str
        Unit of the step; empty for strains.
    steps : (m,) float array
        Ascending.
    central, one_sided : (m,) float arrays
        Relative errors at each step; NaN at the ends, which have one neighbour only.
    """

    what: str
    unit: str
    steps: FloatArray
    central: FloatArray
    one_sided: FloatArray

    @property
    def best(self) -> tuple[float, float]:
        """Step of the most accurate central difference, and its relative error."""
        return _best(self.steps, self.central)

    @property
    def best_one_sided(self) -> tuple[float, float]:
        """Step of the most accurate one-sided difference, and its relative error."""
        return _best(self.steps, self.one_sided)

    @property
    def longest(self) -> float:
        """Longest step with which central differences are off by no more than `FAIR`; NaN if there is none."""
        fair = self.steps[np.nan_to_num(self.central, nan=np.inf) <= FAIR]
        return float(fair.max()) if len(fair) else float("nan")

    def finding(self) -> Finding:
        """Report it."""
        (step, error), (short, rough) = self.best, self.best_one_sided
        verdict = graded(error, GOOD, LIMITED)
        unit = f" {self.unit}" if self.unit else ""
        text = f"central: {error:.0e} with a step of {step:.0e}{unit}; one-sided: {rough:.0e} with {short:.0e}{unit}"
        if np.isfinite(self.longest):
            text += f"; central within {FAIR:.0e} up to {self.longest:.0e}{unit}"
        return Finding(
            f"steps of {self.what}",
            verdict,
            text,
            "" if error <= GOOD else f"Ask for no tolerance below {error:.0e}; see smoothness for the cause.",
            {
                "step": step,
                "accuracy": error,
                "longest_fair_step": self.longest,
                "one_sided_step": short,
                "one_sided_accuracy": rough,
                "steps": self.steps.tolist(),
                "central": self.central.tolist(),
                "one_sided": self.one_sided.tolist(),
            },
        )


def hessian_steps(engine: Evaluator, unit: str) -> Steps:
    """Errors of Hessian products against the step, from 1e-7 to 1e-2 Å (largest component): 23 evaluations.

    Parameters
    ----------
    engine : Evaluator
        Left at its reference.
    unit : str
        Name of the unit of length.
    """
    v = line(engine, 800)
    steps = 10.0 ** np.arange(-7, -1.9, 0.5) * angstrom(engine)
    middle = np.array(engine.forces())
    found = _errors(engine.norm, steps, middle, lambda step: engine.forces(step * v))
    engine.return_to_reference()
    return Steps("Hessian products", unit, steps, *found)


def strain_steps(engine: Evaluator, strain: FloatArray) -> Steps:
    """Errors of strain derivatives of forces and pressure against the step, from 1e-7 to 1e-3: 20 evaluations.

    Parameters
    ----------
    engine : Evaluator
        Left at its reference.
    strain : (3, 3) float array
        Direction in which the cell is strained: upper triangular, largest component 1.
    """
    steps = 10.0 ** np.arange(-7, -2.9, 0.5)
    stress = engine.volume / max(engine.n_atoms, 1) ** 0.5  # so that pressures weigh about as much as forces

    def at(step: float) -> FloatArray:
        rows = np.array(engine.strained_forces(step * strain))
        own = stress * engine.pressure if engine.comm.rank == 0 else np.zeros((3, 3))
        return np.concatenate([rows, own])

    try:
        found = _errors(engine.norm, steps, at(0.0), at)
    finally:
        engine.unstrain()
    return Steps("strain derivatives", "", steps, *found)


def _errors(
    norm: Callable[[FloatArray], float], steps: FloatArray, middle: FloatArray, at: Callable[[float], FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Relative errors of central and one-sided differences at each step, by comparison with the neighbouring steps."""
    central, one_sided = np.full(len(steps), np.nan), np.full(len(steps), np.nan)
    size, before, gaps, offsets = 0.0, None, [], []
    for step in steps:
        plus, minus = np.array(at(step)), np.array(at(-step))
        product = (minus - plus) / (2 * step)
        size = norm(product)
        offsets.append(norm((minus + plus - 2 * middle) / (2 * step)) / max(size, np.finfo(float).tiny))
        if before is not None:
            gaps.append(norm(product - before) / max(size, np.finfo(float).tiny))
        before = product
    for k in range(1, len(steps) - 1):
        central[k] = max(gaps[k - 1], gaps[k])
        one_sided[k] = max(central[k], offsets[k])
    return central, one_sided


def _best(steps: FloatArray, errors: FloatArray) -> tuple[float, float]:
    if not np.isfinite(errors).any():
        return float("nan"), float("nan")
    best = int(np.nanargmin(errors))
    return float(steps[best]), float(errors[best])
