"""Checks of losses and observables: derivatives by Θ against relaxing again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.inverse.problem import Problem
from lammps_implicit.inverse.terms import Term
from lammps_implicit.minimum import Minimum
from lammps_implicit.observables.kind import Measure
from lammps_implicit.testing.comparison import (
    STENCIL,
    first_derivative,
    random_change,
    require,
    require_small,
    second_derivative,
)

T = TypeVar("T")

STEP = 1e-3
"""Of central differences by Θ, relative to each parameter; smaller ones drown in what relaxing leaves."""

FTOL = 1e-10
"""eV/Å, of relaxations."""


def check_loss(
    term: Term,
    cells: Mapping[str, Minimum],
    *,
    tol: float = 1e-4,
    solve: float = 1e-8,
    step: float = STEP,
    seed: int = 0,
) -> dict[str, float]:
    """Check a term of a loss: dL/dΘ δΘ against L relaxed again at Θ ± hδΘ and Θ ± ½hδΘ, cells too where they are.

    Besides, the value of `contribution` must be that of `value`, the gradient the same when curvature is asked for, and
    the curvature symmetric and positive semidefinite.

    Parameters
    ----------
    term : Term
    cells : mapping of str to Minimum
        With the same parameters, relaxed to 1e-9 eV/Å or better; they stand where they stood afterwards.
    tol : float
        Largest difference, relative to the typical size of a change, (Σ_p (∂L/∂Θ_p δΘ_p)²)½, or to the change itself
        where that is larger.
    solve : float
        Tolerance of solves.
    step : float
        h, for δΘ that changes each parameter by a random share of its value.
    seed : int

    Returns
    -------
    dict of str to float
        ``gradient``; with a curvature ``curvature``: its lowest eigenvalue over its largest. Four relaxations of every
        cell, and what the term needs: a Jacobian for its curvature.

    Raises
    ------
    ConformanceError
        Most often: a dependence that is left out, as that on the cell, or a factor of two.
    """
    theta = next(iter(cells.values())).potential.theta
    change = random_change(theta, seed)
    found = term.contribution(cells, solve, False)
    require(
        bool(np.isclose(found.value, term.value(cells), rtol=1e-12, atol=1e-15)),
        f"{term.name}: the value of `contribution` is {found.value:.12g}, `value` is {term.value(cells):.12g}",
        "two formulas for one number",
    )
    ends = _relaxed_again(cells, change, step, lambda: term.value(cells))
    error = _require_slope(found.gradient, change, first_derivative(ends, step), tol, f"the gradient of {term.name}")
    bent = term.contribution(cells, solve, True)
    size = float(np.abs(found.gradient).max())
    require(
        bool(np.allclose(bent.gradient, found.gradient, rtol=tol, atol=tol * size)),
        f"{term.name}: the gradient with curvature differs by {np.abs(bent.gradient - found.gradient).max():.2g}",
        "two formulas for one gradient",
    )
    if bent.curvature is None:
        return {"gradient": error}
    return {"gradient": error, "curvature": _require_semidefinite(bent.curvature, term.name)}


def check_observable(
    measure: Measure,
    cells: Mapping[str, Minimum],
    *,
    tol: float = 1e-4,
    bend_tol: float = 1e-3,
    step: float = STEP,
    seed: int = 0,
) -> dict[str, float]:
    """Check an observable: its derivatives along δΘ against its values relaxed again at Θ ± hδΘ and Θ ± ½hδΘ.

    Parameters
    ----------
    measure : callable
        Cells and the order of derivatives, 0, 1 or 2, to the observable.
    cells : mapping of str to Minimum
        With the same parameters, relaxed to 1e-9 eV/Å or better, cells too where the observable depends on them; they
        stand where they stood afterwards.
    tol, bend_tol : float
        Largest difference of the first and of the second derivative, relative to the typical size of each for such δΘ.
    step : float
        h, for δΘ that changes each parameter by a random share of its value.
    seed : int

    Returns
    -------
    dict of str to float
        Relative differences, ``gradient`` and, where the observable has one, ``hessian``. Four relaxations of every
        cell, and what the observable needs.

    Raises
    ------
    ConformanceError
    """
    theta = next(iter(cells.values())).potential.theta
    change, known = random_change(theta, seed), measure(cells, 2)
    middle = measure(cells, 0).value
    require(
        bool(np.allclose(known.value, middle, rtol=1e-12, atol=0)),
        f"the value is {known.value} with derivatives and {middle} without",
        "two formulas for one number",
    )
    ends = _relaxed_again(cells, change, step, lambda: measure(cells, 0).value)
    slope = first_derivative(ends, step)
    found = {"gradient": _require_slope(known.gradient, change, slope, tol, "the gradient")}
    if known.hessian is not None:
        expected = float(second_derivative(ends, middle, step))
        typical = float(np.linalg.norm(known.hessian * np.outer(change, change)))
        error = abs(float(change @ known.hessian @ change) - expected) / max(abs(expected), typical)
        found["hessian"] = require_small(
            error,
            bend_tol,
            f"δΘᵀ d²f/dΘ² δΘ = {float(change @ known.hessian @ change):.8g} against {expected:.8g} relaxed again",
            "the part that relaxing adds, or ∂²f/∂Θ² at fixed positions, is left out",
        )
    return found


def _relaxed_again(cells: Mapping[str, Minimum], change: FloatArray, step: float, evaluate: Callable[[], T]) -> list[T]:
    """Evaluate something at all places of the stencil, all cells relaxed there."""
    problem, found = Problem(dict(cells), [], np.abs(change), factored=False, ftol=FTOL), []
    for place in STENCIL:
        with problem.trial(place * step * change):
            found.append(evaluate())
    return found


def _require_slope(gradient: FloatArray, change: FloatArray, expected: FloatArray, tol: float, what: str) -> float:
    """Largest difference over all components of a gradient, (P, ...), along a change."""
    slope = np.tensordot(change, gradient, axes=1)
    # What such a change typically does: so that a derivative that nearly vanishes along this one does not fail.
    typical = np.linalg.norm((gradient.T * change).T.reshape(len(change), -1), axis=0).max()
    size = max(float(typical), float(np.abs(expected).max()))
    missed = float(np.abs(slope - expected).max())
    return require_small(
        missed / size if size > 0 else float(missed > 0),
        tol,
        f"{what} along δΘ, {slope}, against {expected} relaxed again",
        "a dependence that is left out, as that on the cell, a wrong sign, or a factor of two",
    )


def _require_semidefinite(curvature: FloatArray, name: str) -> float:
    """Lowest eigenvalue of a curvature, (P, P), over its largest, in absolute value."""
    size = float(np.abs(curvature).max())
    require(
        bool(np.allclose(curvature, curvature.T, rtol=0, atol=1e-10 * size)),
        f"{name}: the curvature is not symmetric, by {np.abs(curvature - curvature.T).max() / size:.1e}",
        "a product J₁ᵀJ₂ of two Jacobians that differ",
    )
    values = np.linalg.eigvalsh(curvature)
    lowest = float(values[0] / max(np.abs(values).max(), np.finfo(float).tiny))
    require(
        lowest >= -1e-10,
        f"{name}: the lowest eigenvalue of the curvature is {lowest:.1e} of the largest, expected at least 0",
        "a curvature that is not JᵀJ of residuals",
    )
    return lowest
