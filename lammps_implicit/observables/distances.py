"""Distances between the nearest images of two atoms of a relaxed cell, with gradients.

The distance is |v|, v = x₂ - x₁ + s, where the shift s is a lattice vector and follows the cell: under a strain ε,
d|v| = v·(dx₂ - dx₁ + ε s)/|v|.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.voigt import tensor
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.images import nearest_image
from lammps_implicit.observables.cells import unknown_gradient
from lammps_implicit.observables.observable import Observable
from lammps_implicit.results.sensitivity import Sensitivity
from lammps_implicit.stationary.point import StationaryPoint

Pair = tuple[int, int]
"""Ids of two atoms."""


class Separation(NamedTuple):
    """Vector between the nearest images of two atoms.

    Attributes
    ----------
    length : float
        Å.
    unit : (3,) float array
        Direction from the first to the second.
    shift : (3,) float array
        Lattice vector between the second atom and its image, Å.
    """

    length: float
    unit: FloatArray
    shift: FloatArray

    def gradient(self, moves: FloatArray, strains: FloatArray) -> FloatArray:
        """Derivative of the length, (P,), for dx/dΘ of both atoms, (2, P, 3), and dε/dΘ, (P, 3, 3)."""
        return np.asarray((moves[1] - moves[0] + strains @ self.shift) @ self.unit)


def distance(minimum: StationaryPoint, pair: Pair, tol: float = 1e-6, order: int = 1) -> Observable:
    """Distance between the nearest images of two atoms, Å; its gradient from one solve.

    Parameters
    ----------
    minimum : StationaryPoint
    pair : (int, int)
        Ids.
    tol : float
        Relative residual of the solve.
    order : int
        Of derivatives: 0 for the value alone.

    Raises
    ------
    LammpsImplicitError
        If there is no such atom, or both are one.
    """
    require_atoms(minimum, pair)
    here = _rows(minimum, pair)
    found = _separation(np.asarray(minimum.engine.sum(here @ minimum.positions)), minimum.engine.nearest_image)
    if order == 0:
        return Observable(np.asarray(found.length), unknown_gradient(minimum), minimum.units.length)
    cotangent = (here[1] - here[0])[:, None] * found.unit
    if minimum.cell == "none":
        gradient = minimum.vjp(cotangent, tol)
    else:
        strain_cotangent = minimum.cell_system(tol, minimum.cell).freedom.tensors() @ found.shift @ found.unit
        gradient = minimum.vjp(cotangent, tol, strain_cotangent=strain_cotangent, cell=minimum.cell)
    return Observable(np.asarray(found.length), gradient, minimum.units.length)


def distance_from_jacobian(minimum: StationaryPoint, pair: Pair, tol: float = 1e-5) -> Observable:
    """The same from the Jacobian, which is computed unless it is known: for many distances of one minimum."""
    require_atoms(minimum, pair)
    engine, here = minimum.engine, _rows(minimum, pair)
    jacobian = minimum.jacobian(tol, cell=minimum.cell)
    patterns = np.asarray(engine.sum(np.einsum("bn,rna->bra", here, jacobian.left)))
    strains = np.zeros((len(minimum.potential.theta), 3, 3))
    if jacobian.strain_jacobian is not None:
        tensors = minimum.cell_system(tol, minimum.cell).freedom.tensors()
        strains = np.tensordot(jacobian.strain_jacobian, tensors, axes=1)
    found = _separation(np.asarray(engine.sum(here @ minimum.positions)), engine.nearest_image)
    gradient = found.gradient(jacobian.right @ patterns, strains)
    return Observable(np.asarray(found.length), gradient, minimum.units.length)


def distance_from_sensitivity(sensitivity: Sensitivity, pair: Pair) -> Observable:
    """The same from a result of ``lammps-implicit sensitivity``, without LAMMPS.

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
    known = [bool(row < len(structure.ids) and structure.ids[row] == id_) for id_, row in zip(pair, rows, strict=True)]
    _require_two(pair, known)
    strains = np.zeros((len(sensitivity.theta), 3, 3))
    if sensitivity.strain_jacobian is not None and sensitivity.strain_basis is not None:
        tensors = np.array([tensor(column) for column in sensitivity.strain_basis.T])
        strains = np.tensordot(sensitivity.strain_jacobian, tensors, axes=1)
    nearest = partial(nearest_image, cell=structure.cell, periodic=structure.periodic)
    found = _separation(structure.positions[rows], nearest)
    moves = np.array([_moves(sensitivity, int(row)) for row in rows])
    units = str(sensitivity.attributes["length_unit"])
    return Observable(np.asarray(found.length), found.gradient(moves, strains), units)


def require_atoms(minimum: StationaryPoint, pair: Pair) -> None:
    """Check that a cell has two atoms of these ids, without any evaluation.

    Raises
    ------
    LammpsImplicitError
    """
    counts = np.asarray(minimum.engine.sum(_rows(minimum, pair).sum(axis=1)))
    _require_two(pair, [bool(count) for count in counts])


def _require_two(pair: Pair, known: list[bool]) -> None:
    if pair[0] == pair[1]:
        raise LammpsImplicitError(f"distance {pair[0]}-{pair[1]}: two atoms are needed")
    if not all(known):
        raise LammpsImplicitError(f"distance {pair[0]}-{pair[1]}: there is no atom {pair[known.index(False)]}")


def _rows(minimum: StationaryPoint, pair: Pair) -> FloatArray:
    """(2, n): one in the column of each atom, where this rank owns it."""
    return np.array([(minimum.ids == id_).astype(float) for id_ in pair])


def _separation(places: FloatArray, nearest: Callable[[FloatArray], FloatArray]) -> Separation:
    """Between two positions, (2, 3)."""
    apart = places[1] - places[0]
    vector = nearest(apart[None])[0]
    length = float(np.linalg.norm(vector))
    return Separation(length, vector / length, vector - apart)


def _moves(sensitivity: Sensitivity, row: int) -> FloatArray:
    """dx/dΘ of one atom, (P, 3)."""
    patterns = sensitivity.factors.left(slice(row, row + 1))
    return np.asarray(sensitivity.factors.right @ patterns[:, 0])
