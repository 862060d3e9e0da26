"""The interface of linear solvers for H x = b: the system they are given, and the solution they return."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import ConvergenceError, NotAMinimumError, UnheldError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.progress import Progress
from lammps_implicit.solvers.nullspace import NullSpace

Operator = Callable[[FloatArray, float, float | None], FloatArray]
"""Symmetric operator: maps (v, relative error the product may have, expected norm of the product or None) to H v, where
v and H v are (n, 3) arrays."""

PRODUCT_SHARE = 0.2
"""Fraction of the tolerance that the error of a single product may take up in conjugate gradients. Chosen: the errors
of some ten inexact products then still add up to less than the tolerance, as they are independent."""

_FLAT = 1e-8
"""Curvature, relative to the typical stiffness, below which a displacement counts as having no restoring force. Chosen
near the round-off of differenced products, as only a curvature of zero is meant."""

PATIENCE, HARDLY = 50, 0.7
"""Iterations within which a residual has to fall to a part. Chosen: at that pace a solve to 1e-6 takes 2,000; with
springs that fit it takes 20, and residuals of conjugate gradients seldom stand still for ten."""


@dataclass(frozen=True)
class LinearSystem:
    """The linear system H x = b for any b.

    Attributes
    ----------
    engine : Evaluator
        Provides inner products and array shapes.
    operator : callable
        Hessian products, see `Operator`.
    precondition : callable
        Maps v to K⁻¹v, (n, 3) arrays.
    null_space : NullSpace
        Projected out of right-hand sides, products and solutions, together with frozen components.
    stiffness : float
        Typical stiffness ‖Hw‖/‖w‖ for a random w, eV/Å², with which curvatures are compared.
    saddle : bool
        Whether negative curvatures are allowed: the stationary point may be a saddle.
    measure : callable
        Maps v to H v by the best means there are. A product that would show the structure to be no minimum is evaluated
        again so: a step that crosses a cutoff can make a positive curvature look negative.
    direct : float
        Products after which the system could be solved directly; infinite where it is too large for that. Iterations
        that are going to take more end as `Status.SLOW`.
    """

    engine: Evaluator
    operator: Operator
    precondition: Callable[[FloatArray], FloatArray]
    null_space: NullSpace
    stiffness: float
    saddle: bool = False
    measure: Callable[[FloatArray], FloatArray] | None = None
    direct: float = np.inf

    def product(self, v: FloatArray, accuracy: float, size: float | None = None) -> tuple[FloatArray, float]:
        """Return H v and the curvature vᵀHv.

        Parameters
        ----------
        v : (n, 3) float array
        accuracy : float
            Relative error the product may have.
        size : float, optional
            Expected norm of H v, if known.

        Raises
        ------
        NotAMinimumError
            If the curvature is not positive and the system is not that of a saddle.
        """
        product = self.null_space.project(self.operator(v, accuracy, size))
        curvature = self.engine.dot(v, product)
        if self.measure is not None and not (self.saddle or curvature > 0):
            product = self.null_space.project(self.measure(v))
            curvature = self.engine.dot(v, product)
        if not self.saddle:
            require_positive_curvature(curvature / self.engine.dot(v, v), self.stiffness)
        return product, curvature

    def reporting(self, expected: float, progress: Progress) -> LinearSystem:
        """Return the same system with products that report progress.

        Parameters
        ----------
        expected : float
            Expected total number of products.
        progress : callable
            Called after each product with (products done, expected total number).
        """
        done = 0

        def operator(v: FloatArray, accuracy: float, size: float | None) -> FloatArray:
            nonlocal done
            product = self.operator(v, accuracy, size)
            done += 1
            progress(done, max(round(expected), done + 1))
            return product

        return replace(self, operator=operator)

    def preconditioned(self, residual: FloatArray) -> FloatArray:
        """Return K⁻¹r for a residual r, (n, 3)."""
        return self.null_space.project(self.precondition(residual))


_USE_DENSE = (
    "evaluate the whole Hessian, with two force evaluations for each free component: --method dense (in Python "
    "jacobian(method='dense'), which later jvp and vjp use too)"
)
"""What to do about solves that do not converge, in cells of up to a few hundred atoms."""


class Status(Enum):
    """How a linear solve ended; the value is the part of the error message that says what to do."""

    CONVERGED = "the residual is below the tolerance"
    ITERATION_LIMIT = f"the iteration limit was reached: ask for a looser --tol, or {_USE_DENSE}"
    STAGNATED = (
        "the residual stopped falling at the noise of differenced forces: ask for a looser --tol, relax to a smaller "
        f"--ftol first, or {_USE_DENSE}"
    )
    SLOW = (
        "the residual hardly falls any more: the preconditioner does not see how stiff this structure is (as in "
        f"molecules, or where stiff parts touch softly): {_USE_DENSE}, or ask for a looser --tol"
    )
    DIVERGED = "the residual grew: the energy may not be smooth here; relax to a smaller --ftol, or check the potential"


@dataclass(frozen=True)
class Solution:
    """Result of a linear solve.

    Attributes
    ----------
    x : (n, 3) float array
        The solution.
    status : Status
        How the solve ended.
    iterations : int
        Number of Hessian products.
    residual : float
        Final ‖b - Hx‖₂ / scale, as computed by the solver; see `LinearSolver.solve` for the scale.
    history : tuple of float
        The same before each iteration.
    reason : str
        Further details from the solver, for error messages.
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
            If the status is not `Status.CONVERGED`; the message lists up to a dozen residuals of the history.
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


def hardly_falls(history: Sequence[float], tol: float = 0.0, direct: float = np.inf) -> bool:
    """Whether the residual of a solve falls so slowly that iterating on is of no use.

    That is so if it has fallen by less than `HARDLY` in the last `PATIENCE` iterations, or at this pace takes more
    iterations to the tolerance than a direct solution takes products.

    Parameters
    ----------
    history : sequence of float
        Residuals before each iteration so far. Those of conjugate gradients go up and down: lowest ones are compared.
    tol : float
        The residual that is to be reached.
    direct : float
        See `LinearSystem.direct`.
    """
    if len(history) <= PATIENCE:
        return False
    before, now = min(history[:-PATIENCE]), min(history[-PATIENCE:])
    if now > HARDLY * before:
        return True
    return tol > 0 and direct < np.inf and now > tol and PATIENCE * np.log(now / tol) / np.log(before / now) > direct


class LinearSolver(Protocol):
    """Interface of linear solvers.

    Attributes
    ----------
    name : str
        Name of the method in results: ``iterative`` or ``dense``.
    """

    name: str

    def prepare(self, system: LinearSystem) -> None:
        """Set the linear system, and do the work that is common to all right-hand sides.

        Raises
        ------
        NotAMinimumError
            If the system is that of a minimum, and H has an eigenvalue that is not positive.
        """
        ...

    def solve(self, right: FloatArray, tol: float, scale: float) -> Solution:
        """Solve H x = b to ‖b - H x‖₂ ≤ tol·scale.

        Parameters
        ----------
        right : (n, 3) float array
            b, orthogonal to the null space.
        tol : float
            Relative tolerance.
        scale : float
            Norm that the tolerance is relative to, usually ‖b‖₂ of this or of the largest right-hand side.

        Returns
        -------
        Solution
            Whose status says whether the tolerance was reached.

        Raises
        ------
        NotAMinimumError
            If the system is that of a minimum, and a curvature that is not positive is found.
        """
        ...


def product_accuracy(tol: float, residual: float) -> float:
    """Return the relative error a product may have in conjugate gradients.

    It grows as the residual falls (inexact Krylov methods: V. Simoncini, D. B. Szyld, SIAM J. Sci. Comput. 25, 454
    (2003)). `PRODUCT_SHARE` keeps the sum of all errors below the tolerance.

    Parameters
    ----------
    tol : float
        Relative tolerance of the solve.
    residual : float
        Present residual relative to the initial one.
    """
    return PRODUCT_SHARE * tol / max(residual, tol)


def iterations_expected(tol: float) -> float:
    """Return the typical number of preconditioned iterations to a relative tolerance, for progress and cost estimates.

    Measured on Ta vacancy cells of 431 to 3,455 atoms: 12 to 14 iterations to 1e-8.
    """
    return 1.0 + 1.7 * max(0.0, -np.log10(tol))


def require_positive_curvature(curvature: float, stiffness: float) -> None:
    """Check that a curvature is positive.

    Parameters
    ----------
    curvature : float
        vᵀHv/vᵀv, eV/Å².
    stiffness : float
        Typical stiffness ‖Hw‖/‖w‖, eV/Å².

    Raises
    ------
    NotAMinimumError
        If it is negative, or vanishes compared with the typical stiffness.
    """
    if abs(curvature) <= _FLAT * stiffness:
        raise _no_restoring_force(curvature, stiffness)
    if not curvature > 0:
        raise NotAMinimumError(
            f"not a minimum: the energy has negative curvature along some displacement ({curvature:.3g} in the deck's "
            "units of energy per length squared). A relaxation would not follow the derivatives of a saddle point: "
            "perturb the atoms and minimise again"
        )


def every_atom_is_held(engine: Evaluator, product: FloatArray, stiffness: float) -> bool:
    """Whether a random displacement causes a force on every atom that can move.

    Parameters
    ----------
    engine : Evaluator
    product : (n, 3) float array
        H w of a random w with components up to 1.
    stiffness : float
        Typical stiffness ‖Hw‖/‖w‖, eV/Å².
    """
    force = np.abs(product).max(axis=1, initial=0.0)[engine.free.any(axis=1)]
    weakest = -engine.max(-float(force.min(initial=np.inf)))
    return weakest > _FLAT * stiffness


def _no_restoring_force(curvature: float, stiffness: float) -> UnheldError:
    return UnheldError(
        f"some atoms move without any restoring force (curvature {curvature:.2g}, typically {stiffness:.2g}): "
        "isolated ones (freeze them with 'fix setforce 0 0 0', or delete them), or an angle or a twist of a molecule "
        "that no part of the energy holds"
    )
