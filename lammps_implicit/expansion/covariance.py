"""Square roots of covariance matrices."""

from __future__ import annotations

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError


def covariance_factor(covariance: FloatArray, source: str = "covariance") -> FloatArray:
    """Factor a covariance matrix.

    Parameters
    ----------
    covariance : (P, P) float array
    source : str
        Where it comes from, for messages.

    Returns
    -------
    (P, r) float array
        A with A Aᵀ = covariance and as many columns as its rank r.

    Raises
    ------
    PotentialError
        If the matrix is zero, not symmetric, or not positive semidefinite.
    """
    variances = np.diag(covariance)
    if not covariance.any():
        raise PotentialError(f"{source}: the covariance is zero")
    if np.any(variances < 0) or np.any(covariance[variances == 0]) or np.any(covariance[:, variances == 0]):
        raise PotentialError(
            f"{source}: the matrix is no covariance: a variance is negative, or zero where a covariance is not"
        )
    scale = np.sqrt(variances)
    # Parameters differ by orders of magnitude, so rank and definiteness are judged from the correlations.
    units = np.where(scale > 0, scale, 1.0)
    scaled = covariance / np.outer(units, units)
    if np.abs(scaled - scaled.T).max() > 1e-8 * np.abs(scaled).max():
        raise PotentialError(f"{source}: the covariance is not symmetric")
    values, vectors = np.linalg.eigh((scaled + scaled.T) / 2)
    if values[0] < -1e-8 * values[-1]:
        raise PotentialError(
            f"{source}: the matrix is no covariance: the smallest eigenvalue of its correlations is {values[0]:.2g}"
        )
    kept = values > 1e-12 * values[-1]
    if kept.all():  # the symmetric root does not depend on the signs of eigenvectors
        return np.asarray(units[:, None] * (vectors * np.sqrt(values)) @ vectors.T, np.float64)
    signs = np.sign(vectors[np.argmax(np.abs(vectors), axis=0), np.arange(len(values))])
    return np.asarray(units[:, None] * (vectors * signs)[:, kept] * np.sqrt(values[kept]), np.float64)
