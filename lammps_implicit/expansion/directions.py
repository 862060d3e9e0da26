"""The directions of an ensemble to which structures respond most."""

from __future__ import annotations

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.expansion.covariance import covariance_factor
from lammps_implicit.response.cubic import LeadingDirections

SHARE = 1e-4
"""Directions with a smaller share in the energy gained by relaxation are left out. Chosen: negligible."""

MOST = 6
"""Largest number of directions. Chosen: the number of structures to evaluate grows with its square."""


def leading_directions(changes: FloatArray, hessians: list[FloatArray], most: int = MOST) -> LeadingDirections:
    """Find the directions of an ensemble to which structures respond most.

    With the covariance A Aᵀ of the ensemble and the energy gained by relaxation, ½ δΘᵀ M δΘ, the directions are A v for
    the leading eigenvectors v of Aᵀ M A. M is summed over minima, each scaled to the same average gain.

    Parameters
    ----------
    changes : (S, P) float array
        δΘ of the samples.
    hessians : list of (P, P) float arrays
        Contribution of relaxation to d²W*/dΘ² of each minimum, minus M: see `StationaryPoint.relaxation_hessian`.
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
