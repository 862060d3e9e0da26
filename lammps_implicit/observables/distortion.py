"""Lattice distortion of random alloys: how far atoms are from their ideal sites."""

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
    """Displacements from ideal sites, net translation removed.

    Attributes
    ----------
    minimum : StationaryPoint
    displacement : (n, 3) float array
        Of this rank's atoms, Å.
    """

    minimum: StationaryPoint
    displacement: FloatArray

    def mean_square(self, tol: float = 1e-6, order: int = 1) -> Observable:
        """⟨|u|²⟩, Å², with its gradient from one ``vjp`` unless `order` is 0."""
        engine = self.minimum.engine
        value = engine.dot(self.displacement, self.displacement) / engine.n_atoms
        if order == 0:
            gradient = unknown_gradient(self.minimum)
        else:
            gradient = self.minimum.vjp(2 * self.displacement / engine.n_atoms, tol)
        return Observable(np.asarray(value), gradient, f"{self.minimum.units.length}^2")

    def predict(self, jacobian: Jacobian, dtheta: ArrayLike) -> FloatArray:
        """⟨|u|²⟩ at Θ + δΘ with displacements of first order, (...), Å², for δΘ of shape (..., P).

        Parameters
        ----------
        jacobian : Jacobian
            Of the minimum at fixed cell.
        dtheta : (P,) or (..., P) array_like
        """
        engine = self.minimum.engine
        # |u + Lw|² is a quadratic form in the few weights w of the patterns: no displacement is formed.
        left = _without_translation(self.minimum, np.moveaxis(jacobian.left, 0, -1))
        weights = np.asarray(dtheta, float) @ jacobian.right
        square = engine.dot(self.displacement, self.displacement)
        linear = np.asarray(engine.sum(np.einsum("na,nar->r", self.displacement, left)))
        quadratic = np.asarray(engine.sum(np.einsum("nar,nas->rs", left, left)))
        total = square + 2 * weights @ linear + np.einsum("...r,rs,...s->...", weights, quadratic, weights)
        return np.asarray(total / engine.n_atoms)


def distortion_from(minimum: StationaryPoint, sites: ArrayLike) -> Distortion:
    """Displacements of a minimum from ideal sites.

    Parameters
    ----------
    minimum : StationaryPoint
        With its cell held fixed.
    sites : (n, 3) array_like
        Ideal position of each of this rank's atoms, in the order of ``minimum.ids``; any periodic image.

    Raises
    ------
    LammpsImplicitError
        If the cell was relaxed, so that sites would move too, or shapes differ.
    """
    require_fixed_cell(minimum)
    ideal = np.asarray(sites, float)
    if minimum.engine.any(ideal.shape != minimum.positions.shape):
        raise LammpsImplicitError(f"sites have shape {ideal.shape}, expected {minimum.positions.shape}")
    moved = minimum.engine.nearest_image(minimum.positions - ideal)
    return Distortion(minimum, _without_translation(minimum, moved))


def require_fixed_cell(minimum: StationaryPoint) -> None:
    """Check that the cell was not relaxed: ideal sites would move with it.

    Raises
    ------
    LammpsImplicitError
    """
    if minimum.cell != "none":
        raise LammpsImplicitError("distortions are from the sites of a cell that is held fixed; this one was relaxed")


def _without_translation(minimum: StationaryPoint, array: FloatArray) -> FloatArray:
    """Remove the mean over all atoms of an (n, 3, ...) array."""
    return array - np.asarray(minimum.engine.sum(array.sum(axis=0))) / minimum.engine.n_atoms
