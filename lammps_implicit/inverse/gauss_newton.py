"""Levenberg and Marquardt's method on a loss over minima: the damping is what keeps steps where predictions hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.inverse.problem import JumpedError, Problem

FloatArray = NDArray[np.float64]

ACCEPTED = 1e-3
"""Share of the predicted decrease that a step must bring."""

GROWTH, DECAY = 4.0, 0.25
"""Of the damping after a step that was refused, and after a good one."""

GOOD = 0.75
"""Share of the predicted decrease from which a step is good."""

TRIALS = 12
"""Steps refused in a row after which nothing smaller is tried."""


@dataclass(frozen=True)
class Iteration:
    """One accepted step.

    Attributes
    ----------
    number : int
    loss : float
    terms : dict of str to float
    step : float
        |δΘ| in units of the parameters' scales.
    slope : float
        Norm of the gradient along allowed changes, in the same units.
    forces : int
        Force evaluations so far.
    refused : int
        Trials before it.
    """

    number: int
    loss: float
    terms: dict[str, float]
    step: float
    slope: float
    forces: int
    refused: int


@dataclass
class Outcome:
    """Where the optimisation ended. The cells stand there.

    Attributes
    ----------
    history : list of Iteration
    converged : bool
    reason : str
    """

    history: list[Iteration] = field(default_factory=list)
    converged: bool = False
    reason: str = ""


def minimise(
    problem: Problem,
    target: float,
    iterations: int,
    damping: float = 1e-3,
    slope: float = 1e-10,
    told: Callable[[Iteration], None] = lambda iteration: None,
) -> Outcome:
    """Minimise a loss.

    Parameters
    ----------
    problem : Problem
    target : float
        Loss at which it is good enough.
    iterations : int
        At most.
    damping : float
        To begin with, relative to the curvature.
    slope : float
        Relative norm of the gradient at which it is at a minimum.
    told : callable
        Called with every iteration.
    """
    outcome, change, refused = Outcome(), 0.0, 0
    first = None
    for number in range(iterations + 1):
        scaled = problem.scale[:, None] * problem.allowed()
        here = problem.contribution(curvature=True)
        gradient = scaled.T @ here.gradient
        bend = scaled.T @ here.curvature @ scaled if here.curvature is not None else np.zeros((scaled.shape[1],) * 2)
        size = float(np.linalg.norm(gradient))
        first = size if first is None else first
        found = Iteration(number, here.value, problem.values(), change, size, problem.evaluations, refused)
        outcome.history.append(found)
        told(found)
        if here.value <= target:
            outcome.converged, outcome.reason = True, "the loss is what was asked for"
            return outcome
        if size <= slope * first:
            outcome.converged, outcome.reason = True, "no allowed change of the parameters lowers the loss any more"
            return outcome
        if number == iterations:
            break
        taken = _step(problem, scaled, here.value, gradient, bend, damping)
        if taken is None:
            outcome.reason = "no smaller step lowers the loss: the target cannot be reached from here"
            return outcome
        change, damping, refused = taken
    outcome.reason = f"{iterations} iterations were not enough"
    return outcome


def _step(
    problem: Problem, scaled: FloatArray, value: float, gradient: FloatArray, bend: FloatArray, damping: float
) -> tuple[float, float, int] | None:
    """Take a step; return its size, the damping for the next, and how many trials were refused. None if all were."""
    typical = float(np.trace(bend)) / len(bend) or 1.0
    for refused in range(TRIALS):
        step = -np.linalg.solve(bend + damping * typical * np.eye(len(bend)), gradient)
        predicted = -float(gradient @ step + 0.5 * step @ bend @ step)
        try:
            with problem.trial(scaled @ step) as trips:
                problem.correct()
                ratio = (value - sum(problem.values().values())) / predicted
                for trip in trips:
                    trip.stay = ratio > ACCEPTED
        except JumpedError:
            ratio = -1.0
        if ratio > ACCEPTED:
            return float(np.linalg.norm(step)), damping * (DECAY if ratio > GOOD else 1.0), refused
        damping *= GROWTH
    return None
