"""An inverse problem: minima that share their parameters, a loss over them, and which parameters may change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.voigt import tensor
from lammps_implicit.errors import ConvergenceError, LammpsImplicitError, NotAMinimumError
from lammps_implicit.evaluators.interface import Evaluations
from lammps_implicit.inverse.constraints import correction, free_space
from lammps_implicit.inverse.places import Place
from lammps_implicit.inverse.terms import Contribution, Term
from lammps_implicit.minimum import Minimum
from lammps_implicit.observables.kind import Measure
from lammps_implicit.stationary.states import Excursion

CORRECTIONS = 8
"""Changes that bring held observables back, one after the other."""

NOTHING = 1e-4
"""Change of the parameters, in units of their scales, whose effect counts as an observable's size where it vanishes."""

BEYOND = 1e-9
"""Of a bound, in units of the scales, that round-off leaves."""

T = TypeVar("T")

JUMP = 0.5
"""Å by which a relaxed atom may miss its predicted place before the structure counts as another."""

TRUST = 0.2
"""Å by which atoms may be off their places, as estimated from the forces where they were predicted."""

REACH = 1.0
"""Å; longest way of an atom that a first-order prediction is tried with."""

PREDICTOR_TOLERANCE = 1e-2
"""Relative residual of predictions that are made for one step only."""


class JumpedError(LammpsImplicitError):
    """A structure that relaxed into another basin."""


class FarError(LammpsImplicitError):
    """A step for which structures cannot be predicted.

    Attributes
    ----------
    share : float
        About how much of the step could be taken.
    """

    def __init__(self, message: str, share: float) -> None:
        super().__init__(message)
        self.share = share


@dataclass(frozen=True)
class Held:
    """An observable that is held fixed.

    Attributes
    ----------
    name : str
    observable : callable
        As of `terms.Number`.
    value : float
        What it is held at.
    tol : float
        By how much it may be off, relative to the value.
    """

    name: str
    observable: Measure
    value: float
    tol: float = 1e-7


@dataclass
class Trial:
    """A visit of all cells to other parameters.

    Attributes
    ----------
    trips : list of Excursion
    missed : float
        Largest distance of an atom from where it was predicted, Å.
    """

    trips: list[Excursion] = field(default_factory=list)
    missed: float = 0.0

    def keep(self, stay: bool = True) -> None:
        """Stay there, or come back."""
        for trip in self.trips:
            trip.stay = stay


@dataclass
class Problem:
    """What is to be minimised.

    Attributes
    ----------
    cells : dict of str to Minimum
        With the same parameters.
    terms : sequence of Term
    scale : (P,) float array
        What counts as a change of size one of each parameter.
    patterns, equalities
        Parameters that may change, and linear equalities; see `free_space`.
    bounds : ((P,), (P,)) float arrays, optional
        Least and largest values of the parameters; infinite where there are none.
    held : sequence of Held
        Observables that stay as they are.
    factored : bool
        Whether structures are predicted from whole Jacobians, which Gauss and Newton's method needs anyway.
    tol : float
        Of solves.
    ftol : float
        eV/Å, of relaxations.
    trust, jump : float
        Å; see `TRUST` and `JUMP`.
    starts : mapping of str to Place
        Cells that every trial relaxes from one structure, whatever basin that leads to, and where that is; other cells
        go on from where they stand.
    earlier : Evaluations
        Of the run that this one goes on with.
    """

    cells: dict[str, Minimum]
    terms: Sequence[Term]
    scale: FloatArray
    patterns: str | Sequence[str] | None = None
    equalities: FloatArray | None = None
    bounds: tuple[FloatArray, FloatArray] | None = None
    held: Sequence[Held] = ()
    factored: bool = True
    tol: float = 1e-5
    ftol: float = 1e-8
    trust: float = TRUST
    jump: float = JUMP
    starts: Mapping[str, Place] = field(default_factory=dict)
    earlier: Evaluations = field(default_factory=Evaluations)

    @property
    def first(self) -> Minimum:
        """One of the cells: all have the same parameters."""
        return next(iter(self.cells.values()))

    @property
    def theta(self) -> FloatArray:
        """Where it stands."""
        return self.first.potential.theta

    @property
    def evaluations(self) -> Evaluations:
        """Of all cells so far."""
        spent = [self.earlier, *(cell.engine.evaluations for cell in self.cells.values())]
        return Evaluations(sum(e.forces for e in spent), sum(e.descriptors for e in spent))

    def __post_init__(self) -> None:
        names = [term.name for term in self.terms]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise LammpsImplicitError(f"two terms of the loss are called '{twice[0]}'")

    def on_root(self, task: Callable[[], T]) -> T:
        """What rank 0 finds, on all ranks: the same to the last digit."""
        return self.first.engine.on_root(task)

    def allowed(self, held: FloatArray | None = None) -> FloatArray:
        """Changes of the parameters that are allowed where it stands, (P, f), in units of `scale`.

        Parameters
        ----------
        held : (k, P) float array, optional
            `held_gradients`; default: nothing is held.
        """
        names = self.first.potential.names
        return self.on_root(lambda: free_space(names, self.scale, self.patterns, self.equalities, held))

    def walls(self, allowed: FloatArray) -> tuple[FloatArray, FloatArray] | None:
        """Bounds on steps s, δΘ = `allowed` s, as A s ≤ b; None where there are none."""
        if self.bounds is None:
            return None
        low, high = self.bounds
        matrix = np.concatenate([allowed[np.isfinite(high)], -allowed[np.isfinite(low)]])
        room = np.concatenate([(high - self.theta)[np.isfinite(high)], (self.theta - low)[np.isfinite(low)]])
        return matrix, np.maximum(room, 0.0)

    def within_bounds(self, dtheta: FloatArray) -> FloatArray:
        """A change without the round-off that would lead beyond a bound."""
        if self.bounds is None:
            return dtheta
        low, high = self.bounds
        return np.clip(dtheta, np.minimum(low - self.theta, 0.0), np.maximum(high - self.theta, 0.0))

    def require_within_bounds(self) -> None:
        """Check that corrections left no parameter outside its bounds.

        Raises
        ------
        JumpedError
        """
        if self.bounds is None:
            return
        beyond = np.maximum(self.bounds[0] - self.theta, self.theta - self.bounds[1]) / self.scale
        if beyond.max() > BEYOND:
            name = self.first.potential.names[int(np.argmax(beyond))]
            raise JumpedError(f"what is held can be held only with {name} beyond its bounds")

    def held_gradients(self) -> FloatArray | None:
        """Gradients of the observables that are held, (k, P); None if there are none."""
        if not self.held:
            return None
        return np.array([held.observable(self.cells, 1).gradient for held in self.held])

    def drift(self) -> FloatArray:
        """By how much the observables that are held miss their values, (k,)."""
        return np.array([float(held.observable(self.cells, 0).value) - held.value for held in self.held])

    def correct(self, gradients: FloatArray | None) -> None:
        """Bring the observables that are held back to their values: smallest changes of the parameters, one by one.

        Parameters
        ----------
        gradients : (k, P) float array or None
            `held_gradients` nearby, where the step began: each correction misses by a higher order.

        Raises
        ------
        JumpedError
            If they do not come back.
        """
        if gradients is None:
            return
        allowed = self.allowed()
        felt = np.linalg.norm(gradients * self.scale, axis=1)
        values = np.array([abs(held.value) for held in self.held])
        limits = np.array([held.tol for held in self.held]) * np.maximum(values, NOTHING * felt)
        for _ in range(CORRECTIONS):
            drift = self.drift()
            if np.all(np.abs(drift) <= limits):
                self.require_within_bounds()
                return
            change = self.on_root(partial(correction, gradients, -drift, self.scale, allowed))
            with self.trial(change) as trial:
                trial.keep()
        worst = int(np.argmax(np.abs(drift) / limits))
        raise JumpedError(f"{self.held[worst].name} does not come back to its value: {drift[worst]:.2e} is left")

    def values(self) -> dict[str, float]:
        """Value of each term where it stands."""
        return {term.name: term.value(self.cells) for term in self.terms}

    def value(self) -> float:
        """Of the whole loss where it stands."""
        return sum(term.value(self.cells) for term in self.terms)

    def contribution(self, curvature: bool) -> Contribution:
        """Value, gradient and curvature of the whole loss, with respect to all parameters."""
        parts = [term.contribution(self.cells, self.tol, curvature) for term in self.terms]
        total = sum(part.value for part in parts)
        gradient = np.sum([part.gradient for part in parts], axis=0)
        bends = [part.curvature for part in parts if part.curvature is not None]
        return Contribution(total, gradient, np.sum(bends, axis=0) if bends else None)

    @contextmanager
    def trial(self, dtheta: FloatArray) -> Iterator[Trial]:
        """Stand at Θ + δΘ with all cells relaxed; come back unless the trial is kept.

        Raises
        ------
        FarError
            If structures cannot be predicted that far.
        JumpedError
            If a structure relaxes into another basin, or finds no minimum.
        """
        with ExitStack() as away:
            trial = Trial()
            for name, cell in self.cells.items():
                start = self.starts.get(name)
                way = self._predicted(name, cell, dtheta) if start is None else start.way_from(cell)
                trial.trips.append(away.enter_context(cell.excursion(dtheta, *way)))
                if start is None:
                    self._require_near(name, cell)
                try:
                    missed = cell.relax_away(self.ftol, cell.cell)
                except (ConvergenceError, NotAMinimumError) as error:
                    raise JumpedError(f"{name}: {error}") from None
                if start is None:  # wherever else it began, it was not predicted
                    if missed > self.jump:
                        raise JumpedError(f"{name}: an atom moved {missed:.2f} Å from where it was predicted")
                    trial.missed = max(trial.missed, missed)
            yield trial

    def _predicted(self, name: str, cell: Minimum, dtheta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Displacement and strain of first order."""
        if self.factored:
            jacobian, strain = cell.jacobian(self.tol, cell=cell.cell), np.zeros((3, 3))
            displacement = jacobian.dot(dtheta)
            if jacobian.strain_jacobian is not None:
                basis = cell.cell_system(self.tol, cell.cell).freedom.basis
                strain = tensor(basis @ (dtheta @ jacobian.strain_jacobian))
        else:
            displacement, strain = cell.predicted_at(dtheta, PREDICTOR_TOLERANCE, cell.cell)
        longest = cell.engine.max_abs(displacement)
        if longest > REACH:
            raise FarError(f"{name}: an atom would move {longest:.1f} Å, too far to predict", REACH / longest)
        return displacement, strain

    def _require_near(self, name: str, cell: Minimum) -> None:
        """Check how far atoms are from a minimum, by the forces at the structure predicted."""
        forces = cell.hessian.reference_forces
        missed = cell.engine.max_abs(cell.preconditioner.near(forces)(forces))
        if missed > self.trust:  # it grows with the square of the step
            share = float(np.sqrt(self.trust / missed))
            raise FarError(f"{name}: an atom would be {missed:.2f} Å from where it is predicted", share)
