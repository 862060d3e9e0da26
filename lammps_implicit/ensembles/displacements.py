"""What an ensemble makes of a structure: covariances of displacements, distances between atoms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.images import nearest_image
from lammps_implicit.minimum import Minimum
from lammps_implicit.observables.observable import Observable
from lammps_implicit.parallel import PIECE
from lammps_implicit.results import Sensitivity
from lammps_implicit.voigt import tensor

FloatArray = NDArray[np.float64]


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
        yield displacement_covariance(*sensitivity.factors(slice(first, min(first + PIECE, total))), covariance)


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


def distance_at(minimum: Minimum, pair: tuple[int, int], tol: float = 1e-5) -> Observable:
    """The same at a minimum whose Jacobian is known or then computed, on all ranks."""
    engine, cell = minimum.engine, minimum.cell
    jacobian = minimum.jacobian(tol, cell=cell)
    places, moves = [], []
    for id_ in pair:
        here = (engine.ids == id_).astype(float)
        if not engine.sum(float(here.sum())):
            raise LammpsImplicitError(f"distance {pair[0]}-{pair[1]}: there is no atom {id_}")
        places.append(engine.sum(here @ engine.positions))
        moves.append(jacobian.right @ engine.sum(np.einsum("n,rna->ra", here, jacobian.left)))
    strains = np.zeros((len(minimum.potential.theta), 3, 3))
    if jacobian.strain_jacobian is not None:
        each = minimum.cell_system(tol, cell).freedom.tensors()
        strains = np.tensordot(jacobian.strain_jacobian, each, axes=1)
    return _distance(pair, np.array(places), (moves[0], moves[1]), strains, engine.nearest_image, minimum.units.length)


def _distance(
    pair: tuple[int, int],
    places: FloatArray,
    moves: tuple[FloatArray, FloatArray],
    strains: FloatArray,
    nearest: Callable[[FloatArray], FloatArray],
    units: str,
) -> Observable:
    if pair[0] == pair[1]:
        raise LammpsImplicitError(f"distance {pair[0]}-{pair[1]}: two atoms are needed")
    apart = places[1] - places[0]
    vector = nearest(apart[None])[0]
    length = float(np.linalg.norm(vector))
    # The images between the two follow the cell.
    change = moves[1] - moves[0] + strains @ (vector - apart)
    return Observable(np.asarray(length), change @ vector / length, units)


def _moves(sensitivity: Sensitivity, row: np.int64) -> FloatArray:
    """dx/dΘ of one atom, (P, 3)."""
    patterns, weights = sensitivity.factors(slice(int(row), int(row) + 1))
    return np.asarray(weights @ patterns[:, 0])
