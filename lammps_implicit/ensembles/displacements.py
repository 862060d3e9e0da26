"""What an ensemble makes of a structure: covariances of displacements, distances between atoms."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.cell import tensor
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.images import nearest_image
from lammps_implicit.observables.observable import Observable
from lammps_implicit.parallel import PIECE
from lammps_implicit.results import Sensitivity

FloatArray = NDArray[np.float64]


def displacement_covariances(sensitivity: Sensitivity, covariance: FloatArray) -> Iterator[FloatArray]:
    """Covariance of each atom's displacement to first order, a piece (m, 3, 3) of all atoms in id order at a time.

    Parameters
    ----------
    sensitivity : Sensitivity
    covariance : (P, P) float array
        Of the parameters.
    """
    total = len(sensitivity.structure.ids)
    for first in range(0, total, PIECE):
        patterns, weights = sensitivity.factors(slice(first, min(first + PIECE, total)))
        between = weights.T @ covariance @ weights
        carried = np.tensordot(between, patterns, axes=1)
        yield np.einsum("rna,rnb->nab", patterns, carried, optimize=True)


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
    if pair[0] == pair[1]:
        raise LammpsImplicitError(f"distance {pair[0]}-{pair[1]}: two atoms are needed")
    apart = structure.positions[rows[1]] - structure.positions[rows[0]]
    vector = nearest_image(apart[None], structure.cell, structure.periodic)[0]
    length = float(np.linalg.norm(vector))
    change = _moves(sensitivity, rows[1]) - _moves(sensitivity, rows[0])
    if sensitivity.strain_jacobian is not None and sensitivity.strain_basis is not None:
        # The images between the two follow the cell.
        strains = np.array([tensor(column) for column in sensitivity.strain_basis.T])
        change = change + sensitivity.strain_jacobian @ (strains @ (vector - apart))
    return Observable(np.asarray(length), change @ vector / length, str(sensitivity.attributes["length_unit"]))


def _moves(sensitivity: Sensitivity, row: np.int64) -> FloatArray:
    """dx/dΘ of one atom, (P, 3)."""
    patterns, weights = sensitivity.factors(slice(int(row), int(row) + 1))
    return np.asarray(weights @ patterns[:, 0])
