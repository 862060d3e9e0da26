"""Composition, enthalpy and volume of a single relaxed cell."""

from __future__ import annotations

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.observables.observable import Observable
from lammps_implicit.stationary.point import StationaryPoint


def composition(minimum: StationaryPoint) -> dict[str, int]:
    """Number of atoms of each chemical element, on all ranks.

    Parameters
    ----------
    minimum : StationaryPoint

    Returns
    -------
    dict of str to int
        By element; atoms whose element is unknown under ``type N``.
    """
    counts: dict[str, int] = {}
    for type_, element in enumerate(minimum.potential.elements, 1):
        count = int(minimum.engine.sum(int(np.count_nonzero(minimum.engine.types == type_))))
        if count:
            counts[element or f"type {type_}"] = counts.get(element or f"type {type_}", 0) + count
    return counts


def enthalpy(minimum: StationaryPoint, tol: float = 1e-5, order: int = 2) -> Observable:
    """Enthalpy U + pV of a relaxed cell at the pressure it is held at; the energy U if the cell was not relaxed.

    Parameters
    ----------
    minimum : StationaryPoint
    tol : float
        Relative tolerance of the Jacobian, for the second derivative.
    order : int
        Order of the derivatives: 0 for the value only, 1 to include the gradient, 2 to include the second derivative,
        which needs a Jacobian, and the third if `StationaryPoint.third` has it.

    Returns
    -------
    Observable
        Scalar, in LAMMPS' unit of energy.

    Raises
    ------
    LammpsImplicitError
        If the cell is held at a stress that is not hydrostatic.
    """
    require_enthalpy(minimum)
    value = np.asarray(minimum.enthalpy)
    if order == 0:
        return Observable(value, unknown_gradient(minimum), minimum.units.energy)
    hessian = minimum.energy_hessian(tol, cell=minimum.cell) if order >= 2 else None
    cubic = minimum.third.enthalpy if minimum.third is not None and order >= 2 else None
    return Observable(value, minimum.energy_gradient(), minimum.units.energy, hessian, cubic)


def volume(minimum: StationaryPoint, tol: float = 1e-5, order: int = 2) -> Observable:
    """Volume of a relaxed cell; of a two-dimensional one its area.

    Parameters
    ----------
    minimum : StationaryPoint
    tol : float
        Relative tolerance of the solve for the gradient.
    order : int
        Order of the derivatives: 0 for the value only, 1 to include the gradient, 2 to include the second derivative if
        `StationaryPoint.third` has it.

    Returns
    -------
    Observable
        Scalar, in LAMMPS' unit of length cubed (squared).

    Raises
    ------
    LammpsImplicitError
        If the cell was not relaxed: its volume does not depend on Θ.
    """
    require_relaxed_cell(minimum, "a volume depends")
    value, units = np.asarray(minimum.engine.volume), minimum.units.volume
    if order == 0:
        return Observable(value, unknown_gradient(minimum), units)
    hessian = error = None
    if order >= 2 and minimum.third is not None and minimum.third.volume_hessian is not None:
        hessian, error = minimum.third.volume_hessian, np.asarray(minimum.third.volume_error)
    system = minimum.cell_system(tol, minimum.cell)
    return Observable(value, system.volume_gradient, units, hessian, second_order_error=error, caution=system.caution)


def unknown_gradient(minimum: StationaryPoint, *shape: int) -> FloatArray:
    """NaN of shape (P, *shape): placeholder for a gradient that was not requested."""
    return np.full((len(minimum.potential.theta), *shape), np.nan)


def require_enthalpy(minimum: StationaryPoint) -> None:
    """Check that the enthalpy is defined: the cell is fixed, or held at a hydrostatic pressure.

    Raises
    ------
    LammpsImplicitError
        If the cell is held at another stress.
    """
    if minimum.cell != "none" and not np.array_equal(minimum.target, minimum.target[0, 0] * np.eye(3)):
        raise LammpsImplicitError(
            f"{minimum.deck_name}: the enthalpy is not defined at a stress that is not hydrostatic; relax at a pressure"
        )


def require_relaxed_cell(minimum: StationaryPoint, what: str) -> None:
    """Check that the cell was relaxed.

    Parameters
    ----------
    minimum : StationaryPoint
    what : str
        Subject and verb of the message, such as ``a volume depends``.

    Raises
    ------
    LammpsImplicitError
        If it was held fixed.
    """
    if minimum.cell == "none":
        raise LammpsImplicitError(
            f"{minimum.deck_name}: {what} on Θ only where the cell is relaxed; relax it with 'iso' or other strains"
        )
