"""Lattice distortion of random alloys: displacements of the atoms from their ideal sites."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.observables.cells import unknown_gradient
from lammps_implicit.observables.observable import Observable
from lammps_implicit.response.jacobian import Jacobian
from lammps_implicit.stationary.point import StationaryPoint


@dataclass(frozen=True)
class Distortion:
    """Displacements u of a minimum's atoms from ideal sites, without the net translation.

    Attributes
    ----------
    minimum : StationaryPoint
    displacement : (n, 3) float array
        u of this rank's atoms, in LAMMPS' unit of length.
    """

    minimum: StationaryPoint
    displacement: FloatArray

    def mean_square(self, tol: float = 1e-6, order: int = 1) -> Observable:
        """Mean square displacement ⟨|u|²⟩; its gradient takes one solve.

        Parameters
        ----------
        tol : float
            Relative tolerance of the solve.
        order : int
            Order of the derivatives: 0 for the value only, else with the gradient.

        Returns
        -------
        Observable
            Scalar, in LAMMPS' unit of length squared.
        """
        engine = self.minimum.engine
        value = engine.dot(self.displacement, self.displacement) / engine.n_atoms
        if order == 0:
            gradient = unknown_gradient(self.minimum)
        else:
            gradient = self.minimum.vjp(2 * self.displacement / engine.n_atoms, tol)
        return Observable(np.asarray(value), gradient, f"{self.minimum.units.length}^2")

    def predict(self, jacobian: Jacobian, dtheta: ArrayLike) -> FloatArray:
        """⟨|u|²⟩ at Θ + δΘ, with u to first order in δΘ.

        Parameters
        ----------
        jacobian : Jacobian
            Of the minimum at fixed cell.
        dtheta : (..., P) array_like
            δΘ.

        Returns
        -------
        (...) float array
            In LAMMPS' unit of length squared.
        """
        engine = self.minimum.engine
        # |u + L w|² is a quadratic form in the weights w of the Jacobian's patterns L: no displacement is formed.
        left = _without_translation(self.minimum, np.moveaxis(jacobian.left, 0, -1))
        weights = np.asarray(dtheta, float) @ jacobian.right
        square = engine.dot(self.displacement, self.displacement)
        linear = np.asarray(engine.sum(np.einsum("na,nar->r", self.displacement, left)))
        quadratic = np.asarray(engine.sum(np.einsum("nar,nas->rs", left, left)))
        total = square + 2 * weights @ linear + np.einsum("...r,rs,...s->...", weights, quadratic, weights)
        return np.asarray(total / engine.n_atoms)


def distortion_from(minimum: StationaryPoint, sites: ArrayLike) -> Distortion:
    """Displacements of a minimum's atoms from ideal sites.

    Parameters
    ----------
    minimum : StationaryPoint
        With its cell held fixed.
    sites : (n, 3) array_like
        Ideal position of each of this rank's atoms, in the order of ``minimum.ids``; any periodic image. LAMMPS' unit
        of length.

    Returns
    -------
    Distortion

    Raises
    ------
    LammpsImplicitError
        If the cell was relaxed, so that the sites would move with it, or the shape of `sites` is wrong.
    """
    require_fixed_cell(minimum)
    ideal = np.asarray(sites, float)
    if minimum.engine.any(ideal.shape != minimum.positions.shape):
        raise LammpsImplicitError(
            "sites: the shape differs from that of minimum.positions; give an array (n, 3) for this rank's atoms"
        )
    displacement = minimum.engine.nearest_image(minimum.positions - ideal)
    return Distortion(minimum, _without_translation(minimum, displacement))


def require_fixed_cell(minimum: StationaryPoint) -> None:
    """Check that the cell was held fixed: ideal sites would move with it.

    Raises
    ------
    LammpsImplicitError
        If it was relaxed.
    """
    if minimum.cell != "none":
        raise LammpsImplicitError(
            f"{minimum.deck_name}: the ideal sites of a lattice distortion need a cell that is held fixed, and this "
            "one was relaxed; use cell 'none'"
        )


def _without_translation(minimum: StationaryPoint, array: FloatArray) -> FloatArray:
    """Subtract the mean over all atoms from an (n, 3, ...) array."""
    return array - np.asarray(minimum.engine.sum(array.sum(axis=0))) / minimum.engine.n_atoms
