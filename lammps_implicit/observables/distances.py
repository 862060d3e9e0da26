"""Distances between the nearest images of two atoms of a relaxed cell, with gradients.

The distance is |v| with v = x₂ - x₁ + s, where s is a lattice vector, which deforms with the cell: under a strain ε,
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
    """Vector from an atom to the nearest image of another.

    Attributes
    ----------
    length : float
        In LAMMPS' unit of length.
    unit : (3,) float array
        Unit vector from the first atom to the second.
    shift : (3,) float array
        Lattice vector from the second atom to its nearest image, in LAMMPS' unit of length.
    """

    length: float
    unit: FloatArray
    shift: FloatArray

    def gradient(self, jacobians: FloatArray, strains: FloatArray) -> FloatArray:
        """Gradient of the length, (P,), from dx/dΘ of both atoms, (2, P, 3), and dε/dΘ, (P, 3, 3)."""
        return np.asarray((jacobians[1] - jacobians[0] + strains @ self.shift) @ self.unit)


def distance(minimum: StationaryPoint, pair: Pair, tol: float = 1e-6, order: int = 1) -> Observable:
    """Distance between the nearest images of two atoms; its gradient takes one solve.

    Parameters
    ----------
    minimum : StationaryPoint
    pair : (int, int)
        Ids of the atoms.
    tol : float
        Relative residual of the solve.
    order : int
        Order of the derivatives: 0 for the value only, else with the gradient.

    Returns
    -------
    Observable
        Scalar, in LAMMPS' unit of length.

    Raises
    ------
    LammpsImplicitError
        If an atom does not exist, or both are the same.
    """
    require_atoms(minimum, pair)
    selectors = _selectors(minimum, pair)
    found = _separation(np.asarray(minimum.engine.sum(selectors @ minimum.positions)), minimum.engine.nearest_image)
    if order == 0:
        return Observable(np.asarray(found.length), unknown_gradient(minimum), minimum.units.length)
    cotangent = (selectors[1] - selectors[0])[:, None] * found.unit
    if minimum.cell == "none":
        gradient = minimum.vjp(cotangent, tol)
    else:
        strain_cotangent = minimum.cell_system(tol, minimum.cell).freedom.tensors() @ found.shift @ found.unit
        gradient = minimum.vjp(cotangent, tol, strain_cotangent=strain_cotangent, cell=minimum.cell)
    return Observable(np.asarray(found.length), gradient, minimum.units.length)


def distance_from_jacobian(minimum: StationaryPoint, pair: Pair, tol: float = 1e-5) -> Observable:
    """Distance between the nearest images of two atoms, with its gradient from the Jacobian.

    Preferable to `distance` for many pairs of one minimum: the Jacobian is computed once and cached.

    Parameters
    ----------
    minimum : StationaryPoint
    pair : (int, int)
        Ids of the atoms.
    tol : float
        Relative tolerance of the Jacobian.

    Returns
    -------
    Observable
        Scalar, in LAMMPS' unit of length.

    Raises
    ------
    LammpsImplicitError
        If an atom does not exist, or both are the same.
    """
    require_atoms(minimum, pair)
    engine, selectors = minimum.engine, _selectors(minimum, pair)
    jacobian = minimum.jacobian(tol, cell=minimum.cell)
    patterns = np.asarray(engine.sum(np.einsum("bn,rna->bra", selectors, jacobian.left)))
    strains = np.zeros((len(minimum.potential.theta), 3, 3))
    if jacobian.strain_jacobian is not None:
        tensors = minimum.cell_system(tol, minimum.cell).freedom.tensors()
        strains = np.tensordot(jacobian.strain_jacobian, tensors, axes=1)
    found = _separation(np.asarray(engine.sum(selectors @ minimum.positions)), engine.nearest_image)
    gradient = found.gradient(jacobian.right @ patterns, strains)
    return Observable(np.asarray(found.length), gradient, minimum.units.length)


def distance_from_sensitivity(sensitivity: Sensitivity, pair: Pair) -> Observable:
    """Distance between the nearest images of two atoms, from a result of ``sensitivity``, without LAMMPS.

    Parameters
    ----------
    sensitivity : Sensitivity
    pair : (int, int)
        Ids of the atoms.

    Returns
    -------
    Observable
        Scalar, in LAMMPS' unit of length.

    Raises
    ------
    LammpsImplicitError
        If an atom does not exist, or both are the same.
    """
    structure = sensitivity.structure
    rows = np.searchsorted(structure.ids, pair)
    known = [bool(row < len(structure.ids) and structure.ids[row] == id_) for id_, row in zip(pair, rows, strict=True)]
    _require_two_atoms(pair, known)
    strains = np.zeros((len(sensitivity.theta), 3, 3))
    if sensitivity.strain_jacobian is not None and sensitivity.strain_basis is not None:
        tensors = np.array([tensor(column) for column in sensitivity.strain_basis.T])
        strains = np.tensordot(sensitivity.strain_jacobian, tensors, axes=1)
    nearest = partial(nearest_image, cell=structure.cell, periodic=structure.periodic)
    found = _separation(structure.positions[rows], nearest)
    jacobians = np.array([_atom_jacobian(sensitivity, int(row)) for row in rows])
    units = str(sensitivity.attributes["length_unit"])
    return Observable(np.asarray(found.length), found.gradient(jacobians, strains), units)


def require_atoms(minimum: StationaryPoint, pair: Pair) -> None:
    """Check, without any evaluation, that a cell has two different atoms with these ids; called on all ranks.

    Raises
    ------
    LammpsImplicitError
        If an atom does not exist, or both are the same.
    """
    counts = np.asarray(minimum.engine.sum(_selectors(minimum, pair).sum(axis=1)))
    _require_two_atoms(pair, [bool(count) for count in counts])


def _require_two_atoms(pair: Pair, known: list[bool]) -> None:
    if pair[0] == pair[1]:
        raise LammpsImplicitError(f"distance {pair[0]}-{pair[1]}: two atoms are needed")
    if not all(known):
        raise LammpsImplicitError(f"distance {pair[0]}-{pair[1]}: there is no atom {pair[known.index(False)]}")


def _selectors(minimum: StationaryPoint, pair: Pair) -> FloatArray:
    """Matrix (2, n) that selects the rows of both atoms: one where this rank owns the atom, else zero."""
    return np.array([(minimum.ids == id_).astype(float) for id_ in pair])


def _separation(positions: FloatArray, nearest: Callable[[FloatArray], FloatArray]) -> Separation:
    """Separation of two positions, (2, 3)."""
    difference = positions[1] - positions[0]
    vector = nearest(difference[None])[0]
    length = float(np.linalg.norm(vector))
    return Separation(length, vector / length, vector - difference)


def _atom_jacobian(sensitivity: Sensitivity, row: int) -> FloatArray:
    """dx/dΘ of one atom, (P, 3)."""
    patterns = sensitivity.factors.left(slice(row, row + 1))
    return np.asarray(sensitivity.factors.right @ patterns[:, 0])
