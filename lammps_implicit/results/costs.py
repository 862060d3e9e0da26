"""What a result has cost, part by part, and whether second derivatives of the energy are worth theirs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lammps_implicit.evaluators.interface import Evaluations, Evaluator
from lammps_implicit.operators.swept_derivative import SweptDerivative
from lammps_implicit.response.statistics import Statistics
from lammps_implicit.stationary.point import StationaryPoint

PARTS = {
    "relaxation": "relaxation",
    "jacobian": "Jacobian",
    "hessian": "second derivatives of the energy",
}
"""Parts of a result, by the beginnings of their attributes (``…_evaluations``, ``…_seconds``), as they are called."""


@dataclass
class Spent:
    """What has been spent in a context of `spending`.

    Attributes
    ----------
    evaluations : Evaluations
    seconds : float
        Wall time.
    """

    evaluations: Evaluations = field(default_factory=Evaluations)
    seconds: float = 0.0


@contextmanager
def spending(engine: Evaluator) -> Iterator[Spent]:
    """Context that counts what is spent in it; known on leaving."""
    spent, before, start = Spent(), engine.evaluations.copy(), time.perf_counter()
    try:
        yield spent
    finally:
        spent.evaluations, spent.seconds = engine.evaluations.since(before), time.perf_counter() - start


def hessian_evaluations(point: StationaryPoint) -> int:
    """Force evaluations that ∂²U/∂Θ² at the reference costs; none where it is known exactly, or already."""
    return point.mixed.bare_evaluations if isinstance(point.mixed, SweptDerivative) else 0


def costs_of(point: StationaryPoint, jacobian: Statistics, hessian: Spent) -> dict[str, Any]:
    """Attributes of a result: evaluations and wall time in all and of each of `PARTS`.

    Evaluations in all include those of other products, such as third derivatives.
    """
    parts = {
        "relaxation": (point.setup, point.setup_seconds),
        "jacobian": (jacobian.evaluations, jacobian.seconds),
        "hessian": (hessian.evaluations, hessian.seconds),
    }
    total = point.engine.evaluations
    return {
        "force_evaluations": total.forces,
        "descriptor_evaluations": total.descriptors,
        "seconds": sum(seconds for _, seconds in parts.values()),
        **{f"{name}_evaluations": evaluations.total for name, (evaluations, _) in parts.items()},
        **{f"{name}_seconds": seconds for name, (_, seconds) in parts.items()},
    }


def parts_of(attributes: Mapping[str, Any], unit: str) -> str:
    """Evaluations (``unit`` "evaluations") or wall time ("seconds") of each part of a result, in words."""
    form = "{:,.0f}" if unit == "evaluations" else "{:.1f} s"
    return ", ".join(f"{form.format(float(attributes[f'{part}_{unit}']))} {name}" for part, name in PARTS.items())
