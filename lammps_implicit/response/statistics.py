"""Cost and quality of products, and the meter that counts them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from lammps_implicit.errors import AccuracyError
from lammps_implicit.evaluators.interface import Evaluations, Evaluator

GOOD = 3.0
"""Multiple of its tolerance by which the check of a result may miss and still be called good: the error of the check
itself, and that of the products in the solve, each may be as large as the tolerance."""

REFUSED = 10.0
"""Multiple of its tolerance beyond which a result is refused."""


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
        Error of the residual, relative to the right-hand side, due to differences in place of exact Hessian products.
        It exceeds the tolerance where round-off in a large cell, or forces that are not smooth, prevent better. Of a
        result that was checked it is at least what the check found.
    accuracy : float
        Accuracy found by checks: the largest relative residual of a solution when H is applied with another step, and
        the largest relative difference of strain derivatives with two steps. Zero if nothing was checked.
    missed : float
        The largest ratio of what a check found to the tolerance of what it checked.
    limits : str
        What `missed` is about.
    remedy : str
        What helps against it, for messages.
    caution : str
        Where a finite change sees other derivatives than those at this very structure: how large it is, and what it
        sees. The result is accurate all the same.
    accepted : float
        Relative error that the user accepts whatever the tolerance.
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
    accuracy: float = 0.0
    missed: float = 0.0
    limits: str = ""
    remedy: str = "Ask for a looser --tol"
    caution: str = ""
    accepted: float = 0.0
    seconds: float = 0.0
    seconds_in_lammps: float = 0.0

    def include(self, part: Statistics) -> None:
        """Include the solves of a product that was part of this one."""
        self.iterations += part.iterations
        self.solves += part.solves
        self.residual = max(self.residual, part.residual)
        self.differencing_error = max(self.differencing_error, part.differencing_error)
        if part.missed > self.missed:
            self.missed, self.limits, self.remedy = part.missed, part.limits, part.remedy
        self.accuracy = max(self.accuracy, part.accuracy)
        self.accepted = max(self.accepted, part.accepted)
        if part.caution not in self.caution:
            self.caution = "; ".join(text for text in (self.caution, part.caution) if text)

    def checked(self, found: float, tol: float, what: str, remedy: str = "Ask for a looser --tol") -> None:
        """Take in what a check found.

        Parameters
        ----------
        found : float
            Relative error found.
        tol : float
            That which was asked for.
        what : str
            What was checked, for messages.
        remedy : str
            What helps if it is refused.
        """
        self.accuracy = max(self.accuracy, found)
        self.differencing_error = max(self.differencing_error, found)
        if not found / tol <= self.missed:
            self.missed, self.remedy = found / tol, remedy
            self.limits = f"{what} accurate to {found:.1e}, where {tol:.0e} was asked for"

    @property
    def verdict(self) -> str:
        """``good``, ``limited: …`` or ``refused: …`` with the numbers; ``not checked`` if there was no check."""
        if not (self.limits or self.caution):
            return "not checked"
        found = "; ".join(text for text in (self.limits if self.missed > GOOD else "", self.caution) if text)
        return f"{'refused' if self._is_refused else 'limited'}: {found}" if found else "good"

    @property
    def finding(self) -> str:
        """The verdict with the accuracy found, as commands print it."""
        return f"{self.verdict} (found by checks: {self.accuracy:.1e})" if self.limits else self.verdict

    @property
    def _is_refused(self) -> bool:
        return not (self.missed <= REFUSED or self.accuracy <= self.accepted)

    def require_accurate(self) -> None:
        """Check that the result is not to be refused.

        Raises
        ------
        AccuracyError
            If a check found more than `REFUSED` times the tolerance, and more than is accepted.
        """
        if self._is_refused:
            raise AccuracyError(
                f"the accuracy that was asked for cannot be had: {self.limits}. Energies or forces are not smooth at "
                "this structure (a pair near a cutoff, tables, a mesh; 'lammps-implicit check' says which), or too "
                f"noisy. {self.remedy}, or take the result as it is: --accept-accuracy "
                f"{_rounded_up(self.accuracy):g}, in Python and configurations accept_accuracy"
            )


def combined(parts: Mapping[str, Statistics]) -> Statistics:
    """Quality of a result that several cells contribute to: the worst of them, with the name of the cell.

    Parameters
    ----------
    parts : mapping of str to Statistics
        By the name of the cell.

    Returns
    -------
    Statistics
        Costs of the parts are not added up.
    """
    worst = Statistics("combined", 0.0)
    cautions: dict[str, list[str]] = {}
    for name, part in parts.items():
        worst.include(replace(part, limits=part.limits and f"{name}: {part.limits}", caution=""))
        if part.caution:
            cautions.setdefault(part.caution, []).append(name)
    worst.caution = "; ".join(f"{' and '.join(names)}: {text}" for text, names in cautions.items())
    return worst


def caution(found: str, changes: str, differs: float, where: str = "") -> str:
    """Say that finite changes see other derivatives.

    Parameters
    ----------
    found : str
        What was found.
    changes : str
        What sees others.
    differs : float
        Relative difference.
    where : str
        For which parameter.
    """
    return (
        f"{found}; {changes} see others, by {100 * differs:.2g} %{where} (tables whose second derivative jumps from "
        "one interval to the next, or pairs that cross a cutoff)"
    )


def _rounded_up(number: float) -> float:
    """A number rounded up to one digit."""
    digit = 10.0 ** math.floor(math.log10(number)) if 0 < number < math.inf else 1.0
    return math.ceil(number / digit) * digit


class Meter:
    """Counts the cost of products of one engine.

    Parameters
    ----------
    engine : Evaluator
    accept : float
        Relative error of products that is accepted, see `Statistics.require_accurate`.

    Attributes
    ----------
    statistics : Statistics
        Of the last product measured.
    overall : Statistics
        The worst of all products since `begin`, each of which was returned.
    counting : Statistics
        To which solves add now; discarded outside of `measured`.
    """

    def __init__(self, engine: Evaluator, accept: float = 0.0) -> None:
        self.engine = engine
        self.accept = accept
        self.statistics = self.counting = Statistics("none", 0.0)
        self._depth = 0
        self.begin()

    def begin(self) -> None:
        """Forget how good products were so far: those to come are at another reference."""
        self.overall = Statistics("combined", 0.0)

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

        Raises
        ------
        AccuracyError
            At the end, if a check found the result to be refused.
        """
        outer, counted = self.counting, Statistics(method, tol, accepted=self.accept)
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
        counted.require_accurate()
        if not self._depth:
            self.overall.include(counted)
