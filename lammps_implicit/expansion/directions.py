"""The directions of an ensemble to which structures respond most."""

from __future__ import annotations

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.expansion.covariance import covariance_factor
from lammps_implicit.response.cubic import LeadingDirections
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.stationary.relaxable import CellRequest

SHARE = 1e-4
"""Directions with a smaller share in the energy gained by relaxation are left out. Chosen: negligible."""

MOST = 6
"""Largest number of directions. Chosen: the number of structures to evaluate grows with its square."""


def relaxation_sizes(point: StationaryPoint, tol: float, cell: CellRequest) -> FloatArray:
    """Contribution of relaxation to d²W*/dΘ², (P, P), by size: each mode counts as if its curvature were positive.

    Of a minimum that is `StationaryPoint.relaxation_hessian`, -Σ_m c_m c_mᵀ / κ_m over modes φ_m with curvatures κ_m
    and c_m = Cᵀφ_m. A saddle gains energy as it moves along its negative mode, whose term is reversed.

    Parameters
    ----------
    point : StationaryPoint
    tol : float
        Relative tolerance of each column of the Jacobian.
    cell : str or StrainFreedom
        As for `StationaryPoint.jvp`.
    """
    hessian = point.relaxation_hessian(tol, cell=cell)
    if not point.saddle:
        return hessian
    mode = point.softest_modes()[0].modes[0]
    pull = point.mixed.transposed_times(mode.vector)
    return hessian + 2 * np.outer(pull, pull) / mode.curvature if mode.curvature < 0 else hessian


def leading_directions(changes: FloatArray, hessians: list[FloatArray], most: int = MOST) -> LeadingDirections:
    """Find the directions of an ensemble to which structures respond most.

    With the covariance A Aᵀ of the ensemble and the energy gained by relaxation, ½ δΘᵀ M δΘ, the directions are A v for
    the leading eigenvectors v of Aᵀ M A. M is summed over minima, each scaled to the same average gain.

    Parameters
    ----------
    changes : (S, P) float array
        δΘ of the samples.
    hessians : list of (P, P) float arrays
        Contribution of relaxation to d²W*/dΘ² of each minimum, minus M: see `relaxation_sizes`.
    most : int
        Largest number of directions.

    Returns
    -------
    LeadingDirections

    Raises
    ------
    LammpsImplicitError
        If all samples are the parameters of the potential itself.
    """
    if not changes.any():
        raise LammpsImplicitError("the ensemble does not vary: all its samples are the potential's own parameters")
    factor = covariance_factor(changes.T @ changes / len(changes))
    metric = np.zeros((changes.shape[1],) * 2)
    for hessian in hessians:
        gained = -(hessian + hessian.T) / 2
        size = float(np.einsum("pk,pq,qk->", factor, gained, factor))
        metric += gained / size if size > 0 else 0.0
    values, axes = np.linalg.eigh(factor.T @ metric @ factor)
    values, axes = values[::-1], axes[:, ::-1]
    total = float(np.clip(values, 0.0, None).sum())
    kept = np.flatnonzero(values > SHARE * total)[:most]
    vectors = factor @ axes[:, kept]
    duals = metric @ vectors / values[kept]
    size = total if total > 0 else 1.0
    return LeadingDirections(vectors, duals, values[kept] / size, metric / size)
