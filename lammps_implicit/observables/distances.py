"""Distances between atoms of a relaxed cell, with gradients from one solve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.observables.cells import unknown_gradient
from lammps_implicit.observables.observable import Observable
from lammps_implicit.results.sensitivity import Sensitivity
from lammps_implicit.stationary.point import StationaryPoint


def distance(minimum: StationaryPoint, pair: tuple[int, int], tol: float = 1e-6, order: int = 1) -> Observable:
    """Distance between the nearest images of two atoms, Å.

    Parameters
    ----------
    minimum : StationaryPoint
    pair : (int, int)
        Ids.
    tol : float
        Of the solve.
    order : int
        Of derivatives: 0 for the value alone.

    Raises
    ------
    LammpsImplicitError
        If there is no such atom, or both are one.
    """
    engine = minimum.engine
    if pair[0] == pair[1]:
        raise LammpsImplicitError(f"distance {pair[0]}-{pair[1]}: two atoms are needed")
    here = np.array([(engine.ids == id_).astype(float) for id_ in pair])
    counts = np.asarray(engine.sum(here.sum(axis=1)))
    if not counts.all():
        raise LammpsImplicitError(f"distance {pair[0]}-{pair[1]}: there is no atom {pair[int(np.argmin(counts))]}")
    places = np.asarray(engine.sum(here @ engine.positions))
    apart = places[1] - places[0]
    vector = engine.nearest_image(apart[None])[0]
    length = float(np.linalg.norm(vector))
    if order == 0:
        return Observable(np.asarray(length), unknown_gradient(minimum), minimum.units.length)
    along = vector / length
    pull = (here[1] - here[0])[:, None] * along
    if minimum.cell == "none":
        gradient = minimum.vjp(pull, tol)
    else:
        # The images between the two follow the cell.
        felt = minimum.cell_system(tol, minimum.cell).freedom.tensors() @ (vector - apart) @ along
        gradient = minimum.vjp(pull, tol, strain_cotangent=felt, cell=minimum.cell)
    return Observable(np.asarray(length), gradient, minimum.units.length)


def distance_at(minimum: StationaryPoint, pair: tuple[int, int], tol: float = 1e-5) -> Observable:
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
    patterns = sensitivity.factors.left(slice(int(row), int(row) + 1))
    return np.asarray(sensitivity.factors.right @ patterns[:, 0])
