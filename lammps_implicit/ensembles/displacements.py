"""Covariances of atomic displacements over an ensemble of parameters, to first order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.mpi.id_order import PIECE
from lammps_implicit.results.sensitivity import Sensitivity


def displacement_covariance(patterns: FloatArray, weights: FloatArray, covariance: FloatArray) -> FloatArray:
    """Covariance of the displacement of each atom to first order, J Σ Jᵀ.

    Parameters
    ----------
    patterns : (r, m, 3) float array
        Factor ``left`` of a `Jacobian` J, for m atoms; LAMMPS' unit of length.
    weights : (P, r) float array
        Factor ``right`` of the Jacobian.
    covariance : (P, P) float array
        Covariance Σ of the parameters.

    Returns
    -------
    (m, 3, 3) float array
        In LAMMPS' unit of length squared.
    """
    carried = np.tensordot(weights.T @ covariance @ weights, patterns, axes=1)
    return np.asarray(np.einsum("rna,rnb->nab", patterns, carried, optimize=True))


def displacement_covariances(sensitivity: Sensitivity, covariance: FloatArray) -> Iterator[FloatArray]:
    """Covariance of the displacement of each atom to first order, for a part of the atoms at a time.

    Parameters
    ----------
    sensitivity : Sensitivity
    covariance : (P, P) float array
        Of the parameters.

    Yields
    ------
    (m, 3, 3) float array
        For the next m atoms in the order of their ids, in LAMMPS' unit of length squared.
    """
    total = len(sensitivity.structure.ids)
    for first in range(0, total, PIECE):
        rows = slice(first, min(first + PIECE, total))
        yield displacement_covariance(sensitivity.factors.left(rows), sensitivity.factors.right, covariance)
