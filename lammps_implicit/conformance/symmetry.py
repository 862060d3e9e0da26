"""Whether the Hessian is symmetric, as it is where forces are the gradient of some energy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.conformance.directions import free_count, line
from lammps_implicit.conformance.finding import Finding, Verdict, graded
from lammps_implicit.evaluators.interface import Evaluator

SHORTER = 3.0
"""The second step is this many times shorter than the one with which products are most accurate."""


@dataclass(frozen=True)
class Asymmetry:
    """|⟨v, H w⟩ - ⟨w, H v⟩| relative to ‖v‖‖H w‖/√n, its typical size with n free components, at each step.

    Attributes
    ----------
    steps : tuple of float
        In the deck's unit of length.
    relative : tuple of float
    accuracy : float
        Of the products themselves, with the first step.
    """

    steps: tuple[float, ...]
    relative: tuple[float, ...]
    accuracy: float

    def finding(self, length: str) -> Finding:
        """Report it; `length` is the unit."""
        least = min(self.relative)
        verdict = graded(least, 1e-6, max(1e-3, 10 * self.accuracy))
        shown = " and ".join(f"{a:.0e} (step {h:.0e} {length})" for h, a in zip(self.steps, self.relative, strict=True))
        return Finding(
            "symmetry of H",
            verdict,
            f"v'Hw and w'Hv differ by {shown}",
            "" if verdict is Verdict.good else "The forces are not the gradient of an energy, or not smooth enough.",
            {"steps": list(self.steps), "relative": list(self.relative)},
        )


def measure_asymmetry(engine: Evaluator, step: float = 1e-5, accuracy: float = 0.0) -> Asymmetry:
    """Compare ⟨v, H w⟩ with ⟨w, H v⟩ at two steps: eight evaluations.

    Parameters
    ----------
    engine : Evaluator
        Left at its reference.
    step : float
        Step with which products are most accurate, in the deck's unit of length: see `hessian_steps`.
    accuracy : float
        Their relative error with it.
    """
    v, w = line(engine, 700), line(engine, 701)
    found = []
    steps = step, step / SHORTER
    for h in steps:
        left, right = (_product(engine, direction, h) for direction in (v, w))
        size = engine.norm(v) * engine.norm(right) / max(free_count(engine), 1) ** 0.5
        found.append(abs(engine.dot(v, right) - engine.dot(w, left)) / max(size, np.finfo(float).tiny))
    engine.return_to_reference()
    return Asymmetry(steps, tuple(found), accuracy)


def _product(engine: Evaluator, v: FloatArray, step: float) -> FloatArray:
    minus = np.array(engine.forces(-step * v))
    return (minus - engine.forces(step * v)) / (2 * step)
