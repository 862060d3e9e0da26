"""Covariances of atomic displacements over an ensemble of parameters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.mpi.id_order import PIECE
from lammps_implicit.results.sensitivity import Sensitivity


def displacement_covariance(patterns: FloatArray, weights: FloatArray, covariance: FloatArray) -> FloatArray:
    """Covariance of each atom's displacement to first order, (m, 3, 3).

    Parameters
    ----------
    patterns : (r, m, 3) float array
    weights : (P, r) float array
        A Jacobian's factors ``left`` and ``right``.
    covariance : (P, P) float array
        Of the parameters.
    """
    carried = np.tensordot(weights.T @ covariance @ weights, patterns, axes=1)
    return np.asarray(np.einsum("rna,rnb->nab", patterns, carried, optimize=True))


def displacement_covariances(sensitivity: Sensitivity, covariance: FloatArray) -> Iterator[FloatArray]:
    """Covariance of each atom's displacement, (m, 3, 3), in id order, a piece of the atoms at a time."""
    total = len(sensitivity.structure.ids)
    for first in range(0, total, PIECE):
        rows = slice(first, min(first + PIECE, total))
        yield displacement_covariance(sensitivity.factors.left(rows), sensitivity.factors.right, covariance)
