"""Cost and quality of products, and the meter that counts them."""

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
        ``"relaxation"``, ``"iterative"`` or ``"dense"``, or the name of the solver.
    tolerance : float
        Requested relative tolerance; for a relaxation its force tolerance, in LAMMPS' unit.
    evaluations : Evaluations
        Force and descriptor evaluations, including those that prepare the preconditioner if this product needed it.
    iterations : int
        Hessian products of the linear solves.
    solves : int
        Linear solves, including those with a dense inverse.
    residual : float
        Largest relative residual ‖b - Hx‖/‖b‖ of the solves; for a Jacobian, that of a random direction, evaluated
        anew.
    differencing_error : float
        Estimated error of the residual, relative to the right-hand side, due to differences in place of exact Hessian
        products. It exceeds the tolerance where round-off in a large cell prevents better.
    seconds, seconds_in_lammps : float
        Wall time, and the part of it spent in LAMMPS.
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
        """Include the solves of a product that was part of this one."""
        self.iterations += part.iterations
        self.solves += part.solves
        self.residual = max(self.residual, part.residual)
        self.differencing_error = max(self.differencing_error, part.differencing_error)


class Meter:
    """Counts the cost of products of one engine.

    Parameters
    ----------
    engine : Evaluator

    Attributes
    ----------
    statistics : Statistics
        Of the last product measured.
    counting : Statistics
        To which solves add now; discarded outside of `measured`.
    """

    def __init__(self, engine: Evaluator) -> None:
        self.engine = engine
        self.statistics = self.counting = Statistics("none", 0.0)
        self._depth = 0

    @contextmanager
    def measured(self, method: str, tol: float) -> Iterator[Statistics]:
        """Context that measures a product; the solves of nested products count in the outer one too.

        Parameters
        ----------
        method : str
        tol : float
            Requested tolerance, for `Statistics.tolerance`.

        Yields
        ------
        Statistics
        """
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
