"""Minimise a loss over relaxed structures, by steps on a quadratic model within a trust region.

A trial is accepted or rejected, and the radius adapted, by the ratio of actual to predicted decrease (J. Nocedal, S. J.
Wright, Numerical Optimization, 2nd ed., chapter 4). The radius also shrinks where structures cannot be predicted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import ConvergenceError, NotAMinimumError
from lammps_implicit.inverse.problem import Problem, StepRejectedError, StepTooLongError
from lammps_implicit.inverse.quadratic import Pair, best_step, secant_curvature
from lammps_implicit.inverse.terms import Contribution

ACCEPTED = 1e-3
"""Smallest ratio of actual to predicted decrease at which a step is accepted; any small positive value will do."""

GOOD, POOR = 0.75, 0.25
"""Ratios above which the radius may grow, and below which it shrinks (Nocedal and Wright, algorithm 4.1)."""

GROWTH, SHRINKAGE = 2.0, 0.25
"""Factors by which the radius grows and shrinks (Nocedal and Wright, algorithm 4.1)."""

TRIALS = 12
"""Consecutive rejected steps after which the descent ends: the radius has shrunk by up to 4^12 = 1.7e7."""

MIN_DECREASE = 1e-13
"""Predicted decrease, relative to the loss, below which a step is lost in round-off."""

STALL_DECREASE, STALL_WINDOW = 1e-3, 4
"""Relative decrease of the loss, and number of iterations over which a smaller one ends the descent."""

PAIRS = 20
"""Steps that limited-memory BFGS keeps: as many as `relaxation.lbfgs` keeps. Each takes two vectors of length P."""

NO_DECREASE = "no allowed change of the parameters lowers the loss further"
"""Reason of a descent that ended at a minimum of the loss."""


@dataclass(frozen=True)
class Iteration:
    """An accepted step and the state it led to.

    Attributes
    ----------
    number : int
        From 0, the initial state.
    loss : float
        Value of the loss.
    terms : dict of str to float
        Value of each term of the loss.
    theta : (P,) float array
        The parameters.
    step : float
        |δΘ| in units of the parameters' scales.
    slope : float
        Norm of the gradient along allowed changes, in the same units.
    missed : float
        Largest distance of an atom from its predicted position, Å.
    refused : int
        Number of rejected trials before the step.
    forces, descriptors : int
        Numbers of evaluations up to here.
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
    """State of the optimisation: with the structures of the cells, all that is needed to resume it.

    Attributes
    ----------
    radius : float
        Trust radius, the longest step, in units of the parameters' scales.
    history : list of Iteration
        All iterations so far.
    pairs : list of Pair
        Steps and changes of the gradient of limited-memory BFGS, in units of the scales.
    gradient, scaled_theta : (P,) float array or None
        Gradient of the loss and parameters at the last iteration, in units of the scales; for limited-memory BFGS.
    converged : bool
        Whether the target or a minimum of the loss was reached.
    reason : str
        Why the descent ended.
    """

    radius: float = 1.0
    history: list[Iteration] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    gradient: FloatArray | None = None
    scaled_theta: FloatArray | None = None
    converged: bool = False
    reason: str = ""


@dataclass(frozen=True)
class _AcceptedStep:
    """An accepted step, and value and derivatives of the loss after it."""

    size: float
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
        Loss at which the descent has converged.
    iterations : int
        Largest number of iterations, including those of an interrupted run.
    optimizer : {"gauss-newton", "lbfgs"}
        Source of the curvature. Gauss-Newton takes it from the Jacobian of the residuals and needs few iterations.
        Limited-memory BFGS takes it from past gradients: one solve per structure and no Jacobian.
    descent : Descent, optional
        State of an interrupted run; the cells are at its last iteration.
    callback : callable
        Called with the state of the descent after every iteration.

    Returns
    -------
    Descent
        The final state; the same object as `descent` if that is given.
    """
    descent = Descent() if descent is None else descent
    gauss_newton = optimizer == "gauss-newton"
    # The last iteration of an interrupted run is on record already, but its derivatives are needed for the next step.
    step, resumed = _AcceptedStep(0.0, 0.0, 0), bool(descent.history)
    while True:
        loss = problem.contribution(curvature=gauss_newton) if step.loss is None else step.loss
        held = problem.held_gradients()
        allowed = problem.scale[:, None] * problem.allowed(held)
        gradient = allowed.T @ loss.gradient
        if not resumed:
            if not gauss_newton:
                _record_pair(descent, problem.scale * loss.gradient, problem.theta / problem.scale)
            descent.history.append(_iteration(problem, len(descent.history), loss.value, gradient, step))
            callback(descent)
        resumed = False
        if loss.value <= target and descent.history[0].loss > 0:
            descent.converged, descent.reason = True, "the target loss was reached"
            return descent
        decrease = descent.history[max(len(descent.history) - 1 - STALL_WINDOW, 0)].loss - loss.value
        if len(descent.history) > STALL_WINDOW and decrease < STALL_DECREASE * (decrease + abs(loss.value)):
            descent.reason = f"the last {STALL_WINDOW} iterations lowered the loss by less than {STALL_DECREASE:.1%}"
            return descent
        if len(descent.history) > iterations:
            descent.reason = f"the limit of {iterations} iterations was reached"
            return descent
        curvature = loss.curvature if gauss_newton else _secant(descent, problem)
        reduced = np.zeros((allowed.shape[1],) * 2) if curvature is None else allowed.T @ curvature @ allowed
        found = _step(problem, held, allowed, loss.value, gradient, reduced, gauss_newton, descent)
        if isinstance(found, str):
            descent.converged, descent.reason = found == NO_DECREASE, found
            return descent
        step = found


def _iteration(problem: Problem, number: int, loss: float, gradient: FloatArray, step: _AcceptedStep) -> Iteration:
    return Iteration(
        number,
        loss,
        problem.values(),
        problem.theta.copy(),
        step.size,
        float(np.linalg.norm(gradient)),
        step.missed,
        step.refused,
        problem.evaluations.forces,
        problem.evaluations.descriptors,
    )


def _record_pair(descent: Descent, gradient: FloatArray, scaled_theta: FloatArray) -> None:
    """Record the last step and the change of the gradient along it, in units of the scales."""
    if descent.gradient is not None and descent.scaled_theta is not None:
        step, change = scaled_theta - descent.scaled_theta, gradient - descent.gradient
        if step.any():
            descent.pairs = [*descent.pairs, (step, change)][-PAIRS:]
    descent.gradient, descent.scaled_theta = gradient, scaled_theta


def _secant(descent: Descent, problem: Problem) -> FloatArray:
    """Curvature from past gradients, (P, P); without pairs such that the first step has the length of the radius."""
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
    curvature: FloatArray,
    gauss_newton: bool,
    descent: Descent,
) -> _AcceptedStep | str:
    """Take a step and set the next radius; return the reason if no step is accepted."""
    reason = ""
    for refused in range(TRIALS):
        bounds = problem.step_bounds(allowed)
        step = problem.on_root(partial(best_step, gradient, curvature, descent.radius, bounds))
        predicted = -float(gradient @ step + 0.5 * step @ curvature @ step)
        if predicted <= MIN_DECREASE * abs(value):
            return NO_DECREASE
        size, ratio, missed = float(np.linalg.norm(step)), -1.0, 0.0
        try:
            with problem.trial(problem.within_bounds(allowed @ step)) as trial:
                problem.correct(held)
                ratio, missed = (value - problem.value()) / predicted, trial.missed
                if ratio > ACCEPTED:  # evaluated before it is kept: after an error the cells are as before
                    loss = problem.contribution(gauss_newton)
                    trial.keep()
            reason = "steps lower the loss less than predicted, however short"
        except StepTooLongError as error:
            descent.radius, reason = 0.9 * size * error.share, str(error)  # 0.9: a margin for the estimated share
            continue
        except (StepRejectedError, NotAMinimumError, ConvergenceError) as error:
            reason, ratio = str(error), -1.0
        if ratio > ACCEPTED:
            descent.radius = _next_radius(descent.radius, size, ratio, problem.trust / max(missed, 1e-12))
            return _AcceptedStep(size, missed, refused, loss)
        descent.radius = SHRINKAGE * size
    return f"the target cannot be reached from here: {reason}"


def _next_radius(radius: float, size: float, ratio: float, room: float) -> float:
    """Radius after an accepted step: halved after a poor one, larger after a good one.

    `room` is the ratio of the largest to the actual error of the predicted structures, which grows with the square of
    the step.
    """
    if ratio < POOR:
        return 0.5 * size
    if ratio > GOOD:
        return max(radius, size * min(GROWTH, float(np.sqrt(room))))
    return radius
