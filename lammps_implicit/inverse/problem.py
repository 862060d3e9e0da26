"""An inverse problem: minima that share their parameters, a loss over them, and which parameters may change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.cell import tensor
from lammps_implicit.errors import ConvergenceError, LammpsImplicitError, NotAMinimumError
from lammps_implicit.inverse.terms import Contribution, Term
from lammps_implicit.minimum import Excursion, Minimum

FloatArray = NDArray[np.float64]

JUMP = 0.5
"""Å by which a relaxed atom may miss its predicted place before the structure counts as another."""


class JumpedError(LammpsImplicitError):
    """A structure that relaxed into another basin."""


@dataclass
class Problem:
    """What is to be minimised.

    Attributes
    ----------
    cells : dict of str to Minimum
        With the same parameters.
    terms : sequence of Term
    free : (P, f) float array
        Orthonormal in units of `scale`: columns are the changes of the parameters that are allowed.
    scale : (P,) float array
        What counts as a change of size one of each parameter.
    tol : float
        Of solves.
    ftol : float
        eV/Å, of relaxations.
    jump : float
        Å.
    """

    cells: dict[str, Minimum]
    terms: Sequence[Term]
    free: FloatArray
    scale: FloatArray
    tol: float = 1e-5
    ftol: float = 1e-8
    jump: float = JUMP
    steps: int = field(default=0, init=False)

    @property
    def theta(self) -> FloatArray:
        """Where it stands."""
        return next(iter(self.cells.values())).potential.theta

    @property
    def evaluations(self) -> int:
        """Force evaluations of all cells so far."""
        return sum(cell.engine.evaluations.forces for cell in self.cells.values())

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
