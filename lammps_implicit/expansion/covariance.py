"""Square roots of covariances."""

from __future__ import annotations

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError


def covariance_factor(covariance: FloatArray, source: str = "covariance") -> FloatArray:
    """A with A Aᵀ = covariance and as many columns as its rank, (P, r).

    Raises
    ------
    PotentialError
        If the matrix is not symmetric, not positive semidefinite, or zero.
    """
    variances = np.diag(covariance)
    if not covariance.any():
        raise PotentialError(f"{source}: the covariance is zero")
    if np.any(variances < 0) or np.any(covariance[variances == 0]) or np.any(covariance[:, variances == 0]):
        raise PotentialError(f"{source}: the matrix is no covariance: a variance is negative, or too small for others")
    scale = np.sqrt(variances)
    # Parameters differ by orders of magnitude: what counts is seen in the correlations.
    units = np.where(scale > 0, scale, 1.0)
    scaled = covariance / np.outer(units, units)
    if np.abs(scaled - scaled.T).max() > 1e-8 * np.abs(scaled).max():
        raise PotentialError(f"{source}: the covariance is not symmetric")
    values, vectors = np.linalg.eigh((scaled + scaled.T) / 2)
    if values[0] < -1e-8 * values[-1]:
        raise PotentialError(
            f"{source}: the matrix is no covariance: of the correlations the smallest eigenvalue is {values[0]:.2g}"
        )
    kept = values > 1e-12 * values[-1]
    if kept.all():  # the symmetric root is the same whatever signs eigenvectors have
        return np.asarray(units[:, None] * (vectors * np.sqrt(values)) @ vectors.T, np.float64)
    signs = np.sign(vectors[np.argmax(np.abs(vectors), axis=0), np.arange(len(values))])
    return np.asarray(units[:, None] * (vectors * signs)[:, kept] * np.sqrt(values[kept]), np.float64)
