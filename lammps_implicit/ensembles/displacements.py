"""What an ensemble makes of a structure: covariances of displacements, distances between atoms."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.voigt import tensor
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.images import nearest_image
from lammps_implicit.mpi.id_order import PIECE
from lammps_implicit.observables.distances import _distance, _moves
from lammps_implicit.observables.observable import Observable
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
    """The same for all atoms of a result in id order, a piece at a time."""
    total = len(sensitivity.structure.ids)
    for first in range(0, total, PIECE):
        rows = slice(first, min(first + PIECE, total))
        yield displacement_covariance(sensitivity.factors.left(rows), sensitivity.factors.right, covariance)


def distance(sensitivity: Sensitivity, pair: tuple[int, int]) -> Observable:
    """Distance between the nearest images of two atoms, with its gradient.

    Parameters
    ----------
    sensitivity : Sensitivity
    pair : (int, int)
        Ids.

    Raises
    ------
    LammpsImplicitError
        If there is no such atom, or both are one.
    """
    structure = sensitivity.structure
    rows = np.searchsorted(structure.ids, pair)
    for id_, row in zip(pair, rows, strict=True):
        if row >= len(structure.ids) or structure.ids[row] != id_:
            raise LammpsImplicitError(f"distance {pair[0]}-{pair[1]}: there is no atom {id_}")
    strains = np.zeros((len(sensitivity.theta), 3, 3))
    if sensitivity.strain_jacobian is not None and sensitivity.strain_basis is not None:
        each = np.array([tensor(column) for column in sensitivity.strain_basis.T])
        strains = np.tensordot(sensitivity.strain_jacobian, each, axes=1)
    return _distance(
        pair,
        structure.positions[rows],
        (_moves(sensitivity, rows[0]), _moves(sensitivity, rows[1])),
        strains,
        partial(nearest_image, cell=structure.cell, periodic=structure.periodic),
        str(sensitivity.attributes["length_unit"]),
    )
