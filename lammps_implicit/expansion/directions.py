"""The directions of an ensemble that move structures most."""

from __future__ import annotations

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.expansion.covariance import covariance_factor
from lammps_implicit.response.cubic import LeadingDirections

SHARE = 1e-4
"""Of the energy that relaxation gains along all directions: those with less are left out."""

MOST = 6
"""Directions at most: structures grow with their number squared."""


def leading_directions(changes: FloatArray, hessians: list[FloatArray], most: int = MOST) -> LeadingDirections:
    """Find the directions of an ensemble that move structures most.

    Parameters
    ----------
    changes : (S, P) float array
        δΘ of the ensemble.
    hessians : list of (P, P) float arrays
        d²W*/dΘ² of each minimum: minus the energy that relaxation gains.
    most : int
    """
    if not changes.any():
        raise LammpsImplicitError("the ensemble does not vary: all its samples are the potential's own parameters")
    factor = covariance_factor(changes.T @ changes / len(changes))
    metric = np.zeros((changes.shape[1],) * 2)
    for hessian in hessians:
        gained = -(hessian + hessian.T) / 2
        size = float(np.einsum("pk,pq,qk->", factor, gained, factor))
        metric += gained / size if size > 0 else 0.0
    values, turned = np.linalg.eigh(factor.T @ metric @ factor)
    values, turned = values[::-1], turned[:, ::-1]
    total = float(np.clip(values, 0.0, None).sum())
    kept = np.flatnonzero(values > SHARE * total)[:most]
    vectors = factor @ turned[:, kept]
    duals = metric @ vectors / values[kept]
    size = total if total > 0 else 1.0
    return LeadingDirections(vectors, duals, values[kept] / size, metric / size)
