"""An inverse problem: minima that share their parameters, a loss over them, and constraints on the parameters."""

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
from lammps_implicit.inverse.saved_structure import SavedStructure
from lammps_implicit.inverse.terms import Contribution, Term
from lammps_implicit.minimum import Minimum
from lammps_implicit.observables.kind import Measure
from lammps_implicit.saddles.followed import FollowedMode
from lammps_implicit.stationary.states import Excursion

T = TypeVar("T")

CORRECTIONS = 8
"""Largest number of corrections that restore held observables.

Each reduces the drift by a factor of the order of the step, so that few are needed where the step is short enough.
"""

SMALL_CHANGE = 1e-4
"""Change of the parameters, in units of their scales, that sets the tolerance of a held observable close to zero.

The relative tolerance then refers to the effect of this change instead of the observable's value.
"""

BOUND_TOLERANCE = 1e-9
"""Distance, in units of the scales, by which a parameter may exceed a bound: round-off of the corrections."""

JUMP = 0.5
"""Å; distance of a relaxed atom from its predicted position above which the structure is in another basin.

About a fifth of the distance of neighbours in metals, and above `TRUST`, so that predictions within that pass.
"""

TRUST = 0.2
"""Å; largest error of predicted positions, estimated from the forces there, for which a step is tried.

Larger values allow longer steps, which cost more relaxation and leave the basin more often.
"""

REACH = 1.0
"""Å; largest displacement of an atom for which a first-order prediction is tried: less than half a bond length."""

PREDICTOR_TOLERANCE = 1e-4
"""Relative residual of predictions for a single step. Measured: at 1e-2 the distance of relaxed atoms from their
predicted positions, which decides on the length of the next step, is that of the solve, and up to twice that of the
first order; 1e-4 takes 7 % more evaluations."""


class StepRejectedError(LammpsImplicitError):
    """A step that must be rejected: a structure left its basin, or held observables or bounds cannot be kept."""


class StepTooLongError(LammpsImplicitError):
    """A step for which structures cannot be predicted.

    Attributes
    ----------
    share : float
        Estimated fraction of the step for which they can.
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
        Takes the cells and the order of the derivatives, 0 or 1, and returns an `Observable`, as for `terms.Number`.
    value : float
        Value that it is held at, in its units.
    tol : float
        Largest relative deviation from the value.
    """

    name: str
    observable: Measure
    value: float
    tol: float = 1e-7


@dataclass
class Trial:
    """An excursion of all cells to other parameters.

    Attributes
    ----------
    excursions : list of Excursion
        One for each cell.
    missed : float
        Largest distance of a relaxed atom from its predicted position, Å.
    """

    excursions: list[Excursion] = field(default_factory=list)
    missed: float = 0.0

    def keep(self) -> None:
        """Keep all cells at the new parameters instead of restoring them at the end."""
        for excursion in self.excursions:
            excursion.stay = True


@dataclass
class Problem:
    """A loss over relaxed cells, and the changes of the parameters that are allowed.

    Attributes
    ----------
    cells : dict of str to Minimum
        By name; all have the same parameters.
    terms : sequence of Term
        The loss is their sum.
    scale : (P,) float array
        Unit of changes of each parameter, positive.
    patterns, equalities
        Free parameters and linear equalities; see `free_space`.
    bounds : ((P,), (P,)) float arrays, optional
        Smallest and largest values of the parameters; infinite where there is no bound.
    held : sequence of Held
        Observables that are held fixed.
    factored : bool
        Whether structures are predicted from full Jacobians, which Gauss-Newton steps need anyway, rather than by one
        solve for each step.
    tol : float
        Relative tolerance of linear solves.
    ftol : float
        Force tolerance of relaxations, eV/Å.
    trust, jump : float
        Å; see `TRUST` and `JUMP`.
    modes : mapping of str to FollowedMode
        The negative modes of cells that are saddles.
    starts : mapping of str to SavedStructure
        Cells that every trial relaxes from a fixed initial structure, into whatever basin that leads to. Other cells
        continue from their present structure.
    previous : Evaluations
        Evaluations of the interrupted run that this one resumes.

    Raises
    ------
    LammpsImplicitError
        If two terms have the same name.
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
    modes: Mapping[str, FollowedMode] = field(default_factory=dict)
    starts: Mapping[str, SavedStructure] = field(default_factory=dict)
    previous: Evaluations = field(default_factory=Evaluations)

    @property
    def first(self) -> Minimum:
        """The first cell; all cells have the same parameters."""
        return next(iter(self.cells.values()))

    @property
    def theta(self) -> FloatArray:
        """Present parameters, (P,)."""
        return self.first.potential.theta

    @property
    def evaluations(self) -> Evaluations:
        """Evaluations of all cells so far, including those of an interrupted run."""
        spent = [self.previous, *(cell.engine.evaluations for cell in self.cells.values())]
        return Evaluations(sum(e.forces for e in spent), sum(e.descriptors for e in spent))

    def __post_init__(self) -> None:
        names = [term.name for term in self.terms]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise LammpsImplicitError(f"two terms of the loss are called '{twice[0]}': give each its own name")

    def on_root(self, task: Callable[[], T]) -> T:
        """Result of a task on rank 0, on all ranks: identical to the last digit."""
        return self.first.engine.on_root(task)

    def allowed(self, held: FloatArray | None = None) -> FloatArray:
        """Basis of the allowed changes of the parameters, in units of `scale`; see `free_space`.

        Parameters
        ----------
        held : (k, P) float array, optional
            `held_gradients`; default: no observables are held.

        Returns
        -------
        (P, f) float array

        Raises
        ------
        LammpsImplicitError
            If no change is allowed.
        """
        names = self.first.potential.names
        return self.on_root(lambda: free_space(names, self.scale, self.patterns, self.equalities, held))

    def step_bounds(self, allowed: FloatArray) -> tuple[FloatArray, FloatArray] | None:
        """Bounds of the parameters as bounds on steps s with δΘ = `allowed` s.

        Parameters
        ----------
        allowed : (P, f) float array

        Returns
        -------
        ((m, f), (m,)) float arrays or None
            A and b in A s ≤ b; None if there are no bounds.
        """
        if self.bounds is None:
            return None
        low, high = self.bounds
        matrix = np.concatenate([allowed[np.isfinite(high)], -allowed[np.isfinite(low)]])
        room = np.concatenate([(high - self.theta)[np.isfinite(high)], (self.theta - low)[np.isfinite(low)]])
        return matrix, np.maximum(room, 0.0)

    def within_bounds(self, dtheta: FloatArray) -> FloatArray:
        """Clip a change of the parameters, (P,), that exceeds a bound by round-off."""
        if self.bounds is None:
            return dtheta
        low, high = self.bounds
        return np.clip(dtheta, np.minimum(low - self.theta, 0.0), np.maximum(high - self.theta, 0.0))

    def require_within_bounds(self) -> None:
        """Check that corrections left no parameter outside its bounds.

        Raises
        ------
        StepRejectedError
            If they did.
        """
        if self.bounds is None:
            return
        excess = np.maximum(self.bounds[0] - self.theta, self.theta - self.bounds[1]) / self.scale
        if excess.max() > BOUND_TOLERANCE:
            name = self.first.potential.names[int(np.argmax(excess))]
            raise StepRejectedError(f"the held observables can only be kept with {name} outside its bounds")

    def held_gradients(self) -> FloatArray | None:
        """Gradients of the held observables, (k, P); None if there are none."""
        if not self.held:
            return None
        return np.array([held.observable(self.cells, 1).gradient for held in self.held])

    def drift(self) -> FloatArray:
        """Deviations of the held observables from their values, (k,)."""
        return np.array([float(held.observable(self.cells, 0).value) - held.value for held in self.held])

    def correct(self, gradients: FloatArray | None) -> None:
        """Restore the values of the held observables by a sequence of smallest changes of the parameters.

        Parameters
        ----------
        gradients : (k, P) float array or None
            `held_gradients` at the beginning of the step. They are not updated, so that no solves are needed; each
            correction still reduces the drift by a factor of the order of the step.

        Raises
        ------
        StepRejectedError
            If the observables cannot be restored within `CORRECTIONS` changes and the bounds.
        """
        if gradients is None:
            return
        allowed = self.allowed()
        slopes = np.linalg.norm(gradients * self.scale, axis=1)
        values = np.array([abs(held.value) for held in self.held])
        limits = np.array([held.tol for held in self.held]) * np.maximum(values, SMALL_CHANGE * slopes)
        for _ in range(CORRECTIONS):
            drift = self.drift()
            if np.all(np.abs(drift) <= limits):
                self.require_within_bounds()
                return
            change = self.on_root(partial(correction, gradients, -drift, self.scale, allowed))
            with self.trial(change) as trial:
                trial.keep()
        worst = int(np.argmax(np.abs(drift) / limits))
        raise StepRejectedError(
            f"{self.held[worst].name} cannot be restored to its value: it deviates by {drift[worst]:.2e}"
        )

    def values(self) -> dict[str, float]:
        """Value of each term of the loss at the present parameters, by name."""
        return {term.name: term.value(self.cells) for term in self.terms}

    def value(self) -> float:
        """Value of the loss at the present parameters."""
        return sum(term.value(self.cells) for term in self.terms)

    def contribution(self, curvature: bool) -> Contribution:
        """Value, gradient and, on request, curvature of the loss with respect to all parameters.

        Springs are fitted anew to the present structures: what follows then does not depend on how they were reached,
        and a run that is resumed here goes on as one that was not interrupted.
        """
        for cell in self.cells.values():
            cell.response.forget_springs()
        parts = [term.contribution(self.cells, self.tol, curvature) for term in self.terms]
        total = sum(part.value for part in parts)
        gradient = np.sum([part.gradient for part in parts], axis=0)
        curvatures = [part.curvature for part in parts if part.curvature is not None]
        return Contribution(total, gradient, np.sum(curvatures, axis=0) if curvatures else None)

    @contextmanager
    def trial(self, dtheta: FloatArray) -> Iterator[Trial]:
        """Context in which all cells are relaxed at Θ + δΘ; they are restored at the end unless the trial is kept.

        Parameters
        ----------
        dtheta : (P,) float array
            δΘ.

        Yields
        ------
        Trial

        Raises
        ------
        StepTooLongError
            If structures cannot be predicted that far.
        StepRejectedError
            If a structure relaxes into another basin, or finds no minimum, or a saddle is none any more.
        """
        with ExitStack() as stack:
            trial = Trial()
            for name, cell in self.cells.items():
                start = self.starts.get(name)
                move = self._predicted(name, cell, dtheta) if start is None else start.displacement_from(cell)
                trial.excursions.append(stack.enter_context(cell.excursion(dtheta, *move)))
                if start is None:
                    self._require_near(name, cell)
                try:
                    missed = cell.relax_away(self.ftol, cell.cell, within=self.jump)
                    if name in self.modes:
                        self.modes[name].require(cell)
                except (ConvergenceError, NotAMinimumError) as error:
                    raise StepRejectedError(f"{name}: {error}") from None
                if start is None:  # an initial structure is no prediction
                    if missed > self.jump:
                        raise StepRejectedError(f"{name}: an atom moved {missed:.2f} Å from its predicted position")
                    trial.missed = max(trial.missed, missed)
            yield trial

    def _predicted(self, name: str, cell: Minimum, dtheta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Displacement (n, 3) and strain (3, 3) to first order."""
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
            raise StepTooLongError(f"{name}: an atom would move {longest:.1f} Å, too far to predict", REACH / longest)
        return displacement, strain

    def _require_near(self, name: str, cell: Minimum) -> None:
        """Estimate the error of the predicted positions from the forces there, and check it."""
        forces = cell.hessian.reference_forces
        error = cell.engine.max_abs(cell.preconditioner.near(forces)(forces))
        if error > self.trust:
            share = float(np.sqrt(self.trust / error))  # the error grows with the square of the step
            raise StepTooLongError(f"{name}: the predicted position of an atom would be off by {error:.2f} Å", share)
