"""Cost and quality of products, and what counts them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lammps_implicit.evaluators.interface import Evaluations, Evaluator


@dataclass
class Statistics:
    """Cost and quality of one product.

    Attributes
    ----------
    method : str
        What gave it: ``"iterative"``, ``"dense"`` or ``"relaxation"``.
    tolerance : float
        Relative tolerance asked for; force tolerance of a relaxation.
    evaluations : Evaluations
        Force and descriptor evaluations spent, preparation of the preconditioner included when this product needed it.
    iterations : int
        Hessian products of the linear solves.
    solves : int
        Linear solves, those with a dense inverse included.
    residual : float
        Largest relative residual ‖b - Hx‖/‖b‖ of its solves; of a Jacobian, that of a random direction, evaluated anew.
    differencing_error : float
        Estimate of what differences in place of exact Hessian products left in the residual of a solve, relative to the
        right-hand side. Beyond the tolerance where round-off of a large cell allows no better.
    seconds, seconds_in_lammps : float
    """

    method: str
    tolerance: float
    evaluations: Evaluations = field(default_factory=Evaluations)
    iterations: int = 0
    solves: int = 0
    residual: float = 0.0
    differencing_error: float = 0.0
    seconds: float = 0.0
    seconds_in_lammps: float = 0.0

    def include(self, part: Statistics) -> None:
        """Add the solves of a product that was part of this one."""
        self.iterations += part.iterations
        self.solves += part.solves
        self.residual = max(self.residual, part.residual)
        self.differencing_error = max(self.differencing_error, part.differencing_error)


class Meter:
    """What the products of one engine cost.

    Attributes
    ----------
    statistics : Statistics
        Of the last product that was measured.
    counting : Statistics
        Where solves count now; thrown away outside of `measured`.
    """

    def __init__(self, engine: Evaluator) -> None:
        self.engine = engine
        self.statistics = self.counting = Statistics("none", 0.0)
        self._depth = 0

    @contextmanager
    def measured(self, method: str, tol: float) -> Iterator[Statistics]:
        """Count what a product costs into statistics of its own; parts of it are counted in both."""
        outer, counted = self.counting, Statistics(method, tol)
        evaluations, inside, start = self.engine.evaluations.copy(), self.engine.seconds, time.perf_counter()
        self.counting, self._depth = counted, self._depth + 1
        try:
            yield counted
        finally:
            counted.evaluations = self.engine.evaluations.since(evaluations)
            counted.seconds_in_lammps = self.engine.seconds - inside
            counted.seconds = time.perf_counter() - start
            self._depth -= 1
            self.counting = outer if self._depth else Statistics("none", 0.0)
            if self._depth:
                outer.include(counted)
            else:
                self.statistics = counted
