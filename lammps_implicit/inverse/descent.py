"""Minimise a loss over minima: steps on a quadratic model, no longer than what predictions of structures allow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import ConvergenceError, NotAMinimumError
from lammps_implicit.inverse.problem import FarError, JumpedError, Problem
from lammps_implicit.inverse.quadratic import Pair, best_step, secant_curvature
from lammps_implicit.inverse.terms import Contribution

OPTIMIZERS = ("gauss-newton", "lbfgs")

ACCEPTED = 1e-3
"""Share of the predicted decrease that a step must bring."""

GOOD, POOR = 0.75, 0.25
"""Shares of the predicted decrease from which the radius may grow, and below which it shrinks."""

GROWTH, SHRINKAGE = 2.0, 0.25
"""Of the trust radius."""

TRIALS = 12
"""Steps refused in a row after which nothing smaller is tried."""

FLAT = 1e-13
"""Predicted decrease, relative to the loss, at which it is at a minimum."""

STALLED, LATELY = 1e-3, 4
"""Share of the loss that so many iterations must bring together."""

PAIRS = 20
"""Steps that limited-memory BFGS remembers."""


@dataclass(frozen=True)
class Iteration:
    """Where an accepted step led.

    Attributes
    ----------
    number : int
    loss : float
    terms : dict of str to float
    theta : (P,) float array
    step : float
        |δΘ| in units of the parameters' scales.
    slope : float
        Norm of the gradient along allowed changes, in the same units.
    missed : float
        Largest distance of an atom from where the step predicted it, Å.
    refused : int
        Trials before it.
    forces, descriptors : int
        Evaluations so far.
    """

    number: int
    loss: float
    terms: dict[str, float]
    theta: FloatArray
    step: float
    slope: float
    missed: float
    refused: int
    forces: int
    descriptors: int


@dataclass
class Descent:
    """How far the optimisation is: what it needs to go on, besides where the cells stand.

    Attributes
    ----------
    radius : float
        Longest step, in units of the parameters' scales.
    history : list of Iteration
    pairs : list of Pair
        Of limited-memory BFGS, in units of the scales.
    gradient, place : (P,) float array or None
        At the last iteration: of the loss, and the parameters, in units of the scales.
    converged : bool
    reason : str
        Why it ended.
    """

    radius: float = 1.0
    history: list[Iteration] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    gradient: FloatArray | None = None
    place: FloatArray | None = None
    converged: bool = False
    reason: str = ""


@dataclass(frozen=True)
class _Taken:
    """A step that was kept, and the loss where it led."""

    step: float
    missed: float
    refused: int
    loss: Contribution | None = None


def minimise(
    problem: Problem,
    target: float,
    iterations: int,
    optimizer: str = "gauss-newton",
    descent: Descent | None = None,
    callback: Callable[[Descent], None] = lambda descent: None,
) -> Descent:
    """Minimise a loss; the cells end at the best parameters found.

    Parameters
    ----------
    problem : Problem
    target : float
        Loss at which it is good enough.
    iterations : int
        At most, those of an interrupted run included.
    optimizer : {"gauss-newton", "lbfgs"}
        Curvature from the Jacobian of the residuals: few iterations; or from past gradients, for which each structure
        needs one solve and no Jacobian.
    descent : Descent, optional
        Of an interrupted run: the cells stand at its last iteration.
    callback : callable
        Called after every iteration.
    """
    descent = Descent() if descent is None else descent
    factored = optimizer == "gauss-newton"
    # An interrupted run has its last iteration on record; it is evaluated again for the step that follows.
    taken, again = _Taken(0.0, 0.0, 0), bool(descent.history)
    while True:
        here = problem.contribution(curvature=factored) if taken.loss is None else taken.loss
        held = problem.held_gradients()
        allowed = problem.scale[:, None] * problem.allowed(held)
        gradient = allowed.T @ here.gradient
        if not again:
            if not factored:
                _learn(descent, problem.scale * here.gradient, problem.theta / problem.scale)
            descent.history.append(_iteration(problem, len(descent.history), here.value, gradient, taken))
            callback(descent)
        again = False
        if here.value <= target and descent.history[0].loss > 0:
            descent.converged, descent.reason = True, "the loss is what was asked for"
            return descent
        fallen = descent.history[max(len(descent.history) - 1 - LATELY, 0)].loss - here.value
        if len(descent.history) > LATELY and fallen < STALLED * (fallen + abs(here.value)):
            descent.reason = f"the last {LATELY} iterations lowered the loss by less than {STALLED:.1%}"
            return descent
        if len(descent.history) > iterations:
            descent.reason = f"{iterations} iterations were not enough"
            return descent
        bend = here.curvature if factored else _secant(descent, problem)
        reduced = np.zeros((allowed.shape[1],) * 2) if bend is None else allowed.T @ bend @ allowed
        found = _step(problem, held, allowed, here.value, gradient, reduced, factored, descent)
        if isinstance(found, str):
            descent.converged, descent.reason = found == FLAT_REASON, found
            return descent
        taken = found


FLAT_REASON = "no allowed change of the parameters lowers the loss any more"


def _iteration(problem: Problem, number: int, loss: float, gradient: FloatArray, taken: _Taken) -> Iteration:
    return Iteration(
        number,
        loss,
        problem.values(),
        problem.theta.copy(),
        taken.step,
        float(np.linalg.norm(gradient)),
        taken.missed,
        taken.refused,
        problem.evaluations.forces,
        problem.evaluations.descriptors,
    )


def _learn(descent: Descent, gradient: FloatArray, place: FloatArray) -> None:
    """Keep the change of the gradient along the step, in units of the scales."""
    if descent.gradient is not None and descent.place is not None:
        step, change = place - descent.place, gradient - descent.gradient
        if step.any():
            descent.pairs = [*descent.pairs, (step, change)][-PAIRS:]
    descent.gradient, descent.place = gradient, place


def _secant(descent: Descent, problem: Problem) -> FloatArray:
    assert descent.gradient is not None
    first = float(np.linalg.norm(descent.gradient)) / descent.radius
    scaled = secant_curvature(descent.pairs, len(problem.scale), first)
    return scaled / np.outer(problem.scale, problem.scale)


def _step(
    problem: Problem,
    held: FloatArray | None,
    allowed: FloatArray,
    value: float,
    gradient: FloatArray,
    bend: FloatArray,
    curvature: bool,
    descent: Descent,
) -> _Taken | str:
    """Take a step and set the next radius; say why if there is none."""
    why = ""
    for refused in range(TRIALS):
        walls = problem.walls(allowed)
        step = problem.on_root(partial(best_step, gradient, bend, descent.radius, walls))
        predicted = -float(gradient @ step + 0.5 * step @ bend @ step)
        if predicted <= FLAT * abs(value):
            return FLAT_REASON
        size, ratio, missed = float(np.linalg.norm(step)), -1.0, 0.0
        try:
            with problem.trial(problem.within_bounds(allowed @ step)) as trial:
                problem.correct(held)
                ratio, missed = (value - problem.value()) / predicted, trial.missed
                if ratio > ACCEPTED:  # evaluated while there is a way back
                    loss = problem.contribution(curvature)
                    trial.keep()
            why = "steps lower the loss less than predicted, however short"
        except FarError as far:
            descent.radius, why = 0.9 * size * far.share, str(far)
            continue
        except (JumpedError, NotAMinimumError, ConvergenceError) as jumped:
            why, ratio = str(jumped), -1.0
        if ratio > ACCEPTED:
            descent.radius = _next_radius(descent.radius, size, ratio, problem.trust / max(missed, 1e-12))
            return _Taken(size, missed, refused, loss)
        descent.radius = SHRINKAGE * size
    return f"the target cannot be reached from here: {why}"


def _next_radius(radius: float, size: float, ratio: float, room: float) -> float:
    """Radius after an accepted step; errors of predicted structures grow with its square."""
    if ratio < POOR:
        return 0.5 * size
    if ratio > GOOD:
        return max(radius, size * min(GROWTH, float(np.sqrt(room))))
    return radius
