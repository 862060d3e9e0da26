"""Search for a saddle from a structure near it: uphill along one mode, downhill along all others.

Steps are Newton steps with a model of the Hessian that past steps and the learned springs give (`curvature`), in which
the component along the followed mode goes uphill and all others go downhill, whatever the sign of their curvature (C.
J. Cerjan, W. H. Miller, J. Chem. Phys. 75, 2800 (1981)). The mode is first found by Davidson's method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import ConvergenceError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.relaxation.curvature import CurvatureModel, Pair
from lammps_implicit.relaxation.frame import Frame, Visited
from lammps_implicit.relaxation.report import ForceReport
from lammps_implicit.solvers.softest import equal_springs

_DIFFERENCE = 4e-4
"""Largest displacement component in a difference of forces, in units of the distance of neighbours. Chosen: far above
round-off, far below anharmonicity."""

_PRODUCTS = 8
"""Largest number of differences of forces in a search for the mode. Chosen: later steps improve it."""

_ANGLE = 0.2
"""Angle to which the mode is found before the first step. Chosen."""

_FIRST_RADIUS, _LONGEST, _SHORTEST = 0.04, 0.1, 0.008
"""Largest displacement component of the first step, and bounds on those of later ones, in units of the distance of
neighbours. Chosen: up to a quarter of an Å in metals."""

_PATIENCE = 3
"""Least number of steps between two searches for the mode on the way."""

_SOFTEST = 0.02
"""Least curvature, relative to that of the springs, by which forces are divided. Chosen: softer modes take more
steps."""

_GOOD, _BAD = 0.5, 1.0
"""Error of the change of force that the model predicts, relative to it, up to which the next step may be longer, and
beyond which it is to be shorter. Chosen."""

_SAME = 0.5
"""Least overlap of a mode with the one followed so far."""

_STEPS, _ROUNDS = 60, 6
"""Steps after which springs are fitted anew, and number of fits; a safeguard."""

_NOTHING = 1e-300
"""Stands for a norm that vanishes."""

_GROWTH = 3.0
"""Ratio of the forces after a step to those before it beyond which the step is taken back. Chosen."""


@dataclass(frozen=True)
class Climbed:
    """The end of a climb.

    Attributes
    ----------
    forces : (n, 3) float array
        In the present order of atoms, eV/Å.
    mode : (n, 3) float array
        The followed mode, of unit norm, in the same order.
    curvature : float
        vᵀHv / vᵀKv of it, as the model has it: below zero at a saddle.
    """

    forces: FloatArray
    mode: FloatArray
    curvature: float


def climb(
    engine: Evaluator,
    forces: FloatArray,
    fit: Callable[[FloatArray], Callable[[FloatArray], FloatArray]],
    direction: FloatArray,
    ftol: float,
    within: float = np.inf,
    above: float = -np.inf,
    progress: Progress = no_progress,
) -> Climbed:
    """Move the reference to a saddle, and return the forces and the negative mode there.

    Atoms may change owner or order.

    Parameters
    ----------
    engine : Evaluator
    forces : (n, 3) float array
        Forces at the reference, eV/Å.
    fit : callable
        Maps the forces at the reference to a function v → K⁻¹v, with springs fitted there.
    direction : (n, 3) float array
        Displacement along which the energy has its maximum, of any length; roughly.
    ftol : float
        Largest force component at which to stop, eV/Å.
    within : float
        Largest displacement of any atom, Å.
    above : float
        Energy above which the saddle lies, eV: the search is given up below it.
    progress : callable, optional
        Called with (steps done, steps expected).

    Raises
    ------
    ConvergenceError
        If no saddle is reached. The reference is then wherever the search ended.
    """
    report = ForceReport(progress, engine.max_abs(forces), ftol)
    travelled = 0.0
    for _ in range(_ROUNDS):
        if engine.drift > 0:
            before = engine.ids
            forces = engine.settle()
            direction = fetch(engine.comm, before, direction, engine.ids)
        frame = Frame(engine)
        climber = _Climber(frame, fit(forces), Visited(frame.start, engine.energy, forces), direction)
        reached = climber.climb(ftol, within - travelled, above, report)
        forces = fetch(engine.comm, frame.ids, climber.at.forces, engine.ids)
        direction = fetch(engine.comm, frame.ids, climber.mode.vector, engine.ids)
        if reached:
            engine.return_to_reference()  # the last evaluation may have been a difference of forces
            return Climbed(forces, direction / engine.norm(direction), climber.curvature)
        travelled += engine.max_abs(climber.at.positions - frame.start)
        if travelled > within:
            raise ConvergenceError(f"there is no saddle within {within:g} Å of where the search began")
        if climber.at.energy < above:
            raise ConvergenceError("the search for a saddle went down to energies below those of the minima")
    raise ConvergenceError(
        f"no saddle was reached: the largest force component is still {engine.max_abs(forces):.2g} after "
        f"{report.steps} steps"
    )


class _Climber:
    """A search with one fit of the springs.

    Attributes
    ----------
    at : Visited
        Where it is.
    mode : Pair
        The mode that is followed uphill.
    curvature : float
        vᵀHv / vᵀKv of it.
    """

    def __init__(
        self, frame: Frame, precondition: Callable[[FloatArray], FloatArray], at: Visited, direction: FloatArray
    ) -> None:
        self.frame, self.engine, self.at = frame, frame.engine, at
        self.precondition = precondition
        self.model = CurvatureModel(self.engine, precondition)
        self._radius, self._index, self._failed = _FIRST_RADIUS * self.engine.spacing, 0, False
        # K times the direction is not known. That of springs that are all alike is, and K⁻¹ of it points the same way.
        product = equal_springs(self.engine)(direction)
        self.mode, self.curvature = self._found(Pair(precondition(product), product))

    def climb(self, ftol: float, within: float, above: float, report: ForceReport) -> bool:
        """Whether a saddle was reached."""
        since = 0
        for _ in range(_STEPS):
            since += 1
            if not self._follow() and since > _PATIENCE:
                since = 0
                self.model.forget()
                self.mode, self.curvature = self._found(self.mode)
                self._follow()
            largest = self.engine.max_abs(self.at.forces)
            if largest <= ftol and self.curvature < 0:
                return True
            self._step(largest)
            report(self.engine.max_abs(self.at.forces))
            if self.engine.max_abs(self.at.positions - self.frame.start) > within or self.at.energy < above:
                return False
        return False

    def _found(self, trial: Pair) -> tuple[Pair, float]:
        """The mode of lowest curvature that Davidson's method finds from a trial, and its curvature."""
        for _ in range(_PRODUCTS):
            trial = trial * (_DIFFERENCE * self.engine.spacing / self.engine.max_abs(trial.vector))
            there = self.frame.visit(self.at.positions + trial.vector)
            self.model.learn(trial, self.at.forces - there.forces)
            mode, curvature, trial = self.model.lowest()
            if self.model.size(trial) <= _ANGLE * (1.0 - min(curvature, 0.5)):
                break
        self.frame.place(self.at.positions)
        return mode, curvature

    def _follow(self) -> bool:
        """Take the mode of the model that is most like the one followed so far; whether it is to be relied on."""
        model, forces = self.model, self.at.forces
        model.spectrum(Pair(self.precondition(forces), forces), self.mode)
        overlaps = np.abs(model.along(self.mode.product)) / model.size(self.mode)
        self._index = int(np.argmax(overlaps))
        sure = bool(overlaps[self._index] > _SAME and not self._failed) and (
            self._index == 0 or model.values[self._index] < 0
        )
        self.mode = model.combined(np.eye(len(overlaps))[self._index])
        self.curvature = float(model.values[self._index])
        return sure

    def _step(self, largest: float) -> None:
        """Take a step, or learn from one that is taken back."""
        model, engine = self.model, self.engine
        weights = model.along(self.at.forces) / np.maximum(np.abs(model.values), _SOFTEST)
        weights[self._index] *= -1.0
        step = model.combined(weights)
        longest = engine.max_abs(step.vector)
        share = min(1.0, self._radius / longest) if longest > 0 else 1.0
        step, predicted = step * share, share * model.values * weights
        there = self.frame.visit(self.at.positions + step.vector)
        change = self.at.forces - there.forces
        missed = model.along(change) - predicted
        error = float(np.linalg.norm(missed)) / max(float(np.linalg.norm(predicted)), _NOTHING)
        model.learn(step, change)
        self._failed = error > _BAD
        shortest, most = _SHORTEST * engine.spacing, _LONGEST * engine.spacing
        if self._failed:
            self._radius = max(shortest, 0.5 * min(self._radius, longest))
        elif error < _GOOD and share < 1.0:
            self._radius = min(most, 1.5 * self._radius)
        if engine.max_abs(there.forces) < _GROWTH * largest or self._radius <= shortest:
            self.at = there
            model.moved(share * longest)
        else:
            self.frame.place(self.at.positions)
