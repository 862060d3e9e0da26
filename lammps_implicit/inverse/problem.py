"""An inverse problem: minima that share their parameters, a loss over them, and which parameters may change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.cell import tensor
from lammps_implicit.errors import ConvergenceError, LammpsImplicitError, NotAMinimumError
from lammps_implicit.inverse.constraints import correction, free_space
from lammps_implicit.inverse.terms import Cells, Contribution, Term
from lammps_implicit.minimum import Excursion, Minimum
from lammps_implicit.observables.observable import Observable

FloatArray = NDArray[np.float64]

CORRECTIONS = 4
"""Changes that bring held observables back, one after the other."""

TINY = 1e-12

JUMP = 0.5
"""Å by which a relaxed atom may miss its predicted place before the structure counts as another."""


class JumpedError(LammpsImplicitError):
    """A structure that relaxed into another basin."""


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
    observable: Callable[[Cells, int], Observable]
    value: float
    tol: float = 1e-7


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
    held : sequence of Held
        Observables that stay as they are.
    tol : float
        Of solves.
    ftol : float
        eV/Å, of relaxations.
    jump : float
        Å.
    """

    cells: dict[str, Minimum]
    terms: Sequence[Term]
    scale: FloatArray
    patterns: str | Sequence[str] | None = None
    equalities: FloatArray | None = None
    held: Sequence[Held] = ()
    tol: float = 1e-5
    ftol: float = 1e-8
    jump: float = JUMP

    @property
    def theta(self) -> FloatArray:
        """Where it stands."""
        return next(iter(self.cells.values())).potential.theta

    @property
    def evaluations(self) -> int:
        """Force evaluations of all cells so far."""
        return sum(cell.engine.evaluations.forces for cell in self.cells.values())

    def allowed(self, with_held: bool = True) -> FloatArray:
        """Changes of the parameters that are allowed where it stands, (P, f), in units of `scale`."""
        names = next(iter(self.cells.values())).potential.names
        held = self.held_gradients() if with_held and self.held else None
        return free_space(names, self.scale, self.patterns, self.equalities, held)

    def held_gradients(self) -> FloatArray:
        """Gradients of the observables that are held, (k, P)."""
        return np.array([held.observable(self.cells, 1).gradient for held in self.held])

    def drift(self) -> FloatArray:
        """By how much the observables that are held miss their values, (k,)."""
        return np.array([float(held.observable(self.cells, 0).value) - held.value for held in self.held])

    def correct(self) -> None:
        """Bring the observables that are held back to their values: smallest changes of the parameters, one by one.

        Raises
        ------
        JumpedError
            If they do not come back.
        """
        if not self.held:
            return
        allowed = self.allowed(with_held=False)
        limits = np.array([held.tol * max(abs(held.value), TINY) for held in self.held])
        for _ in range(CORRECTIONS):
            drift = self.drift()
            if np.all(np.abs(drift) <= limits):
                return
            with self.trial(correction(self.held_gradients(), -drift, self.scale, allowed)) as trips:
                for trip in trips:
                    trip.stay = True
        drift = self.drift()
        if np.any(np.abs(drift) > limits):
            worst = int(np.argmax(np.abs(drift) / limits))
            raise JumpedError(f"{self.held[worst].name} does not come back to its value: {drift[worst]:.2e} is left")

    def values(self) -> dict[str, float]:
        """Value of each term where it stands."""
        return {term.name: term.value(self.cells) for term in self.terms}

    def contribution(self, curvature: bool) -> Contribution:
        """Value, gradient and curvature of the whole loss, with respect to all parameters."""
        parts = [term.contribution(self.cells, self.tol, curvature) for term in self.terms]
        total = sum(part.value for part in parts)
        gradient = np.sum([part.gradient for part in parts], axis=0)
        bends = [part.curvature for part in parts if part.curvature is not None]
        return Contribution(total, gradient, np.sum(bends, axis=0) if bends else None)

    @contextmanager
    def trial(self, dtheta: FloatArray) -> Iterator[list[Excursion]]:
        """Stand at Θ + δΘ with all cells relaxed; come back unless every excursion is told to stay.

        Raises
        ------
        JumpedError
            If a structure relaxes into another basin, or finds no minimum.
        """
        with ExitStack() as away:
            trips = []
            for name, cell in self.cells.items():
                displacement, strain = self._predicted(cell, dtheta)
                trips.append(away.enter_context(cell.excursion(dtheta, displacement, strain)))
                try:
                    missed = cell.relax_away(self.ftol, cell.cell)
                except (ConvergenceError, NotAMinimumError) as error:
                    raise JumpedError(f"{name}: {error}") from None
                if missed > self.jump:
                    raise JumpedError(f"{name}: an atom moved {missed:.2f} Å from where it was predicted")
            yield trips

    def _predicted(self, cell: Minimum, dtheta: FloatArray) -> tuple[FloatArray, FloatArray]:
        if cell.cell == "none":
            return cell.jacobian(self.tol).dot(dtheta), np.zeros((3, 3))
        jacobian = cell.jacobian(self.tol, cell=cell.cell)
        assert jacobian.strain_jacobian is not None
        basis = cell.cell_system(self.tol, cell.cell).freedom.basis
        return jacobian.dot(dtheta), tensor(basis @ (dtheta @ jacobian.strain_jacobian))
