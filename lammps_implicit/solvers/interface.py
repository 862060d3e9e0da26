"""Linear solvers behind one interface: what they are given, and what they return."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import ConvergenceError, NotAMinimumError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.solvers.nullspace import NullSpace

Operator = Callable[[FloatArray, float, float | None], FloatArray]
"""Symmetric operator: an (n, 3) array, the relative error its product may have, and the product's norm as far as it is
known, to an (n, 3) array."""


PRODUCT_SHARE = 0.2
"""Share of the tolerance that the error of one product may use up in conjugate gradients."""

FLAT = 1e-8
"""Curvature, relative to the typical stiffness, below which a displacement meets no restoring force."""


@dataclass(frozen=True)
class LinearSystem:
    """What solvers need to know of H x = b besides b.

    Attributes
    ----------
    engine : Evaluator
        For inner products and shapes.
    operator : callable
        Hessian products.
    precondition : callable
        v to K⁻¹v, (n, 3) arrays.
    null_space : NullSpace
        Projected out of right-hand sides, products and solutions, frozen components with it.
    stiffness : float
        ‖Hw‖/‖w‖ of a random w: what curvatures are compared with.
    saddle : bool
        Whether the energy may curve downwards: a stationary point that is not a minimum.
    """

    engine: Evaluator
    operator: Operator
    precondition: Callable[[FloatArray], FloatArray]
    null_space: NullSpace
    stiffness: float
    saddle: bool = False

    def product(self, v: FloatArray, accuracy: float, size: float | None = None) -> tuple[FloatArray, float]:
        """Return H v and the curvature vᵀHv.

        Raises
        ------
        NotAMinimumError
            If the curvature is not positive, but at a saddle.
        """
        product = self.null_space.project(self.operator(v, accuracy, size))
        curvature = self.engine.dot(v, product)
        if not self.saddle:
            require_positive_curvature(curvature / self.engine.dot(v, v), self.stiffness)
        return product, curvature

    def reporting(self, expected: float, progress: Callable[[int, int], None]) -> LinearSystem:
        """Return the same system, whose products tell `progress` their number and how many are expected in all."""
        done = 0

        def operator(v: FloatArray, accuracy: float, size: float | None) -> FloatArray:
            nonlocal done
            product = self.operator(v, accuracy, size)
            done += 1
            progress(done, max(round(expected), done + 1))
            return product

        return replace(self, operator=operator)

    def preconditioned(self, residual: FloatArray) -> FloatArray:
        """Return K⁻¹r."""
        return self.null_space.project(self.precondition(residual))


class Status(Enum):
    """How a linear solve ended; the value says what to do about it."""

    CONVERGED = "the residual is below the tolerance"
    ITERATION_LIMIT = (
        "the iteration limit was reached: ask for a looser --tol, or use --method dense where the cell is small"
    )
    STAGNATED = (
        "the residual stopped falling at the noise of differenced forces: ask for a looser --tol, or relax to a "
        "smaller --ftol first"
    )
    DIVERGED = "the residual grew: the energy may not be smooth here; relax to a smaller --ftol, or check the potential"


@dataclass(frozen=True)
class Solution:
    """What a linear solve returned.

    Attributes
    ----------
    x : (n, 3) float array
    status : Status
    iterations : int
        Hessian products.
    residual : float
        Final ‖b - Hx‖ relative to the norm it was asked for, as the solver knows it.
    history : tuple of float
        The same before each iteration.
    reason : str
        The solver's own words, where it has some.
    """

    x: FloatArray
    status: Status
    iterations: int
    residual: float
    history: tuple[float, ...] = ()
    reason: str = ""

    def require_converged(self, tol: float) -> Solution:
        """Return the solution itself.

        Raises
        ------
        ConvergenceError
            If the status is not `Status.CONVERGED`, with a dozen residuals of the history.
        """
        if self.status is Status.CONVERGED:
            return self
        steps = sorted({round(step) for step in np.linspace(0, len(self.history) - 1, 12)}) if self.history else []
        shown = ", ".join(f"{step}: {self.history[step]:.1e}" for step in steps)
        reason = f" ({self.reason})" if self.reason else ""
        raise ConvergenceError(
            f"the linear solve did not reach {tol:g} in {self.iterations} iterations{reason}: {self.status.value}; "
            f"relative residuals by iteration {shown}"
        )


class LinearSolver(Protocol):
    """A way to solve H x = b.

    Attributes
    ----------
    name : str
        What results call it.
    """

    name: str

    def prepare(self, system: LinearSystem) -> None:
        """Take a system; what is needed once for all right-hand sides is done here.

        Raises
        ------
        NotAMinimumError
            If the energy curves downwards where it must not.
        """
        ...

    def solve(self, right: FloatArray, tol: float, scale: float) -> Solution:
        """Solve H x = b.

        Parameters
        ----------
        right : (n, 3) float array
            b, orthogonal to the null space.
        tol, scale : float
            ‖b - H x‖₂ ≤ tol·scale is asked for.

        Raises
        ------
        NotAMinimumError
            If some direction has non-positive curvature.
        """
        ...


def product_accuracy(tol: float, residual: float) -> float:
    """Relative error a product may have in conjugate gradients when ‖r‖ has fallen to `residual`·‖b‖.

    The closer to the end, the coarser (V. Simoncini, D. B. Szyld, SIAM J. Sci. Comput. 25, 454 (2003)). The factor
    keeps the sum of all errors below the tolerance.
    """
    return PRODUCT_SHARE * tol / max(residual, tol)


def iterations_expected(tol: float) -> float:
    """Conjugate-gradient iterations that a solve with springs takes, from experience with defect cells."""
    return 1.0 + 1.7 * max(0.0, -np.log10(tol))


def require_positive_curvature(curvature: float, stiffness: float) -> None:
    """Check a curvature vᵀHv/vᵀv against the typical stiffness.

    Raises
    ------
    NotAMinimumError
        Unless it is positive beyond the noise of differences.
    """
    if abs(curvature) <= FLAT * stiffness:
        raise _nothing_holds(curvature, stiffness)
    if not curvature > 0:
        raise NotAMinimumError(
            f"not a minimum: the energy curves downwards along some displacement (curvature {curvature:.3g} in the "
            "deck's units of energy per length squared). A saddle point has no parameter derivative that relaxation "
            "would follow; perturb the atoms and minimise again"
        )


def require_every_atom_held(engine: Evaluator, product: FloatArray, stiffness: float) -> None:
    """Check that a random displacement pulls at every atom that can move.

    Parameters
    ----------
    engine : Evaluator
    product : (n, 3) float array
        H w of a random w with |w| up to 1.
    stiffness : float
        ‖Hw‖/‖w‖.

    Raises
    ------
    NotAMinimumError
        If some atom feels nothing: an isolated one.
    """
    pull = np.abs(product).max(axis=1, initial=0.0)[engine.free.any(axis=1)]
    weakest = -engine.max(-float(pull.min(initial=np.inf)))
    if weakest <= FLAT * stiffness:
        raise _nothing_holds(weakest, stiffness)


def _nothing_holds(curvature: float, stiffness: float) -> NotAMinimumError:
    return NotAMinimumError(
        f"some atoms move without any restoring force (curvature {curvature:.2g}, typical {stiffness:.2g}): an "
        "isolated atom or fragment, out of reach of all others? Freeze it with 'fix setforce 0 0 0' or delete it"
    )
