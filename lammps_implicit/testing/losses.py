"""Checks of loss terms and observables: derivatives with respect to Θ against relaxing again."""

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
"""Step of central differences with respect to Θ, relative to each parameter. Residual forces of the relaxations limit
the accuracy of smaller steps."""

FTOL = 1e-10
"""eV/Å; force tolerance of the relaxations."""


def check_loss(
    term: Term,
    cells: Mapping[str, Minimum],
    *,
    tol: float = 1e-4,
    solve: float = 1e-8,
    step: float = STEP,
    seed: int = 0,
) -> dict[str, float]:
    """Check the derivatives of a loss term against relaxing again.

    dL/dΘ δΘ is compared with differences of L relaxed at Θ ± hδΘ and Θ ± ½hδΘ; cells that were relaxed are relaxed
    there too. In addition `contribution` and `value` must give the same value, the gradient must not depend on whether
    the curvature is requested, and the curvature must be symmetric and positive semidefinite. Costs four relaxations of
    every cell, the term's own evaluations, and a Jacobian if the term has a curvature.

    Parameters
    ----------
    term : Term
    cells : mapping of str to Minimum
        By name; with the same parameters, relaxed to 1e-9 eV/Å or better. The check leaves them as they are.
    tol : float
        Largest difference accepted, relative to (Σ_p (∂L/∂Θ_p δΘ_p)²)½, the typical size of a change, or to the change
        itself if that is larger.
    solve : float
        Relative tolerance of linear solves.
    step : float
        h; δΘ changes each parameter by a random fraction of its value.
    seed : int
        Seed of δΘ.

    Returns
    -------
    dict of str to float
        ``gradient``: relative difference; ``curvature``, if there is one: its lowest over its largest eigenvalue.

    Raises
    ------
    ConformanceError
        Usual causes: a neglected dependence, such as that on the cell, or a factor of two.
    """
    theta = next(iter(cells.values())).potential.theta
    change = random_change(theta, seed)
    found = term.contribution(cells, solve, False)
    require(
        bool(np.isclose(found.value, term.value(cells), rtol=1e-12, atol=1e-15)),
        f"{term.name}: the value of `contribution` is {found.value:.12g}, `value` is {term.value(cells):.12g}",
        "separate code for the same number",
    )
    ends = _relaxed_again(cells, change, step, lambda: term.value(cells))
    error = _require_slope(found.gradient, change, first_derivative(ends, step), tol, f"the gradient of {term.name}")
    curved = term.contribution(cells, solve, True)
    size = float(np.abs(found.gradient).max())
    require(
        bool(np.allclose(curved.gradient, found.gradient, rtol=tol, atol=tol * size)),
        f"{term.name}: the gradient with curvature differs by {np.abs(curved.gradient - found.gradient).max():.2g}",
        "separate code for the same gradient",
    )
    if curved.curvature is None:
        return {"gradient": error}
    return {"gradient": error, "curvature": _require_semidefinite(curved.curvature, term.name)}


def check_observable(
    measure: Measure,
    cells: Mapping[str, Minimum],
    *,
    tol: float = 1e-4,
    second_tol: float = 1e-3,
    step: float = STEP,
    seed: int = 0,
) -> dict[str, float]:
    """Check the derivatives of an observable along δΘ against its values relaxed again at Θ ± hδΘ and Θ ± ½hδΘ.

    Costs four relaxations of every cell, and the observable's own evaluations.

    Parameters
    ----------
    measure : callable
        Called with (cells, order), where order is the highest order of derivatives, 0, 1 or 2; returns an `Observable`.
    cells : mapping of str to Minimum
        By name; with the same parameters, relaxed to 1e-9 eV/Å or better, including the cell if the observable depends
        on it. The check leaves them as they are.
    tol, second_tol : float
        Largest difference accepted for the first and for the second derivative, relative to its typical size.
    step : float
        h; δΘ changes each parameter by a random fraction of its value.
    seed : int
        Seed of δΘ.

    Returns
    -------
    dict of str to float
        Relative differences ``gradient`` and, if the observable has one, ``hessian``.

    Raises
    ------
    ConformanceError
        Usual causes: a neglected dependence, such as that on the cell, or the contribution of relaxation.
    """
    theta = next(iter(cells.values())).potential.theta
    change, known = random_change(theta, seed), measure(cells, 2)
    middle = measure(cells, 0).value
    require(
        bool(np.allclose(known.value, middle, rtol=1e-12, atol=0)),
        f"the value is {known.value} with derivatives and {middle} without",
        "separate code for the same number",
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
            second_tol,
            f"δΘᵀ d²f/dΘ² δΘ = {float(change @ known.hessian @ change):.8g} against {expected:.8g} relaxed again",
            "the contribution of relaxation, or ∂²f/∂Θ² at fixed positions, is missing",
        )
    return found


def _relaxed_again(cells: Mapping[str, Minimum], change: FloatArray, step: float, evaluate: Callable[[], T]) -> list[T]:
    """Evaluate a function at all points of the stencil, with all cells relaxed there."""
    problem, found = Problem(dict(cells), [], np.abs(change), factored=False, ftol=FTOL), []
    for place in STENCIL:
        with problem.trial(place * step * change):
            found.append(evaluate())
    return found


def _require_slope(gradient: FloatArray, change: FloatArray, expected: FloatArray, tol: float, what: str) -> float:
    """Largest relative difference over all components of a gradient, (P, ...), contracted with δΘ."""
    slope = np.tensordot(change, gradient, axes=1)
    # The typical size of a change, so that a derivative that happens to vanish along δΘ does not fail.
    typical = np.linalg.norm((gradient.T * change).T.reshape(len(change), -1), axis=0).max()
    size = max(float(typical), float(np.abs(expected).max()))
    error = float(np.abs(slope - expected).max())
    return require_small(
        error / size if size > 0 else float(error > 0),
        tol,
        f"{what} along δΘ, {slope}, against {expected} relaxed again",
        "a neglected dependence, such as that on the cell, a wrong sign, or a factor of two",
    )


def _require_semidefinite(curvature: FloatArray, name: str) -> float:
    """Lowest eigenvalue of a curvature, (P, P), over the largest absolute one; checks that it is not negative."""
    size = float(np.abs(curvature).max())
    require(
        bool(np.allclose(curvature, curvature.T, rtol=0, atol=1e-10 * size)),
        f"{name}: the curvature is not symmetric, by {np.abs(curvature - curvature.T).max() / size:.1e}",
        "a product J₁ᵀJ₂ of two different Jacobians",
    )
    values = np.linalg.eigvalsh(curvature)
    lowest = float(values[0] / max(np.abs(values).max(), np.finfo(float).tiny))
    require(
        lowest >= -1e-10,
        f"{name}: the lowest eigenvalue of the curvature is {lowest:.1e} of the largest, expected at least 0",
        "a curvature that is not JᵀJ of residuals",
    )
    return lowest
