"""Barriers between minima, and volumes of migration: a saddle minus a minimum of the same atoms.

At both forces vanish, so that the gradient of a barrier is the difference of the gradients ∂U/∂Θ, without any solve;
its second derivative is the difference of those of two stationary points.
"""

from __future__ import annotations

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.observables.cells import (
    composition,
    enthalpy,
    require_enthalpy,
    require_relaxed_cell,
    volume,
)
from lammps_implicit.observables.observable import Observable, combine
from lammps_implicit.stationary.comparable import pair_label, require_comparable, require_same_cell
from lammps_implicit.stationary.point import StationaryPoint


def barrier(saddle: StationaryPoint, minimum: StationaryPoint, tol: float = 1e-5, order: int = 2) -> Observable:
    """Barrier: the energy of a saddle minus that of a minimum; enthalpies at a pressure.

    Parameters
    ----------
    saddle, minimum : StationaryPoint
        Of the same atoms, with the same potential; either both relaxed with their cells at the same pressure, or both
        in the same fixed cell.
    tol : float
        Relative tolerance of the Jacobians, for the second derivative.
    order : int
        Order of the derivatives; see `cells.enthalpy`. The first needs no solve.

    Returns
    -------
    Observable
        Scalar, in LAMMPS' unit of energy.

    Raises
    ------
    LammpsImplicitError
        If the two cannot be compared, or the first is no saddle or the second one.
    """
    require_saddle_of(saddle, minimum)
    return combine([(1.0, enthalpy(saddle, tol, order)), (-1.0, enthalpy(minimum, tol, order))])


def migration_volume(
    saddle: StationaryPoint, minimum: StationaryPoint, tol: float = 1e-5, order: int = 2
) -> Observable:
    """Migration volume: the volume of a saddle's cell minus that of a minimum's; the barrier's derivative by pressure.

    Parameters
    ----------
    saddle, minimum : StationaryPoint
        Of the same atoms, with relaxed cells, and the same potential and pressure.
    tol, order
        See `cells.volume`.

    Returns
    -------
    Observable
        Scalar, in LAMMPS' unit of length cubed.

    Raises
    ------
    LammpsImplicitError
        As for `barrier`; also if a cell was not relaxed.
    """
    require_saddle_of(saddle, minimum)
    return combine([(1.0, volume(saddle, tol, order)), (-1.0, volume(minimum, tol, order))])


def require_saddle_of(saddle: StationaryPoint, minimum: StationaryPoint, volumes: bool = False) -> None:
    """Check that the difference of a saddle and a minimum is a barrier, or a migration volume.

    Parameters
    ----------
    saddle, minimum : StationaryPoint
    volumes : bool
        Whether their cells must be relaxed.

    Raises
    ------
    LammpsImplicitError
        If it is not.
    """
    if not saddle.saddle:
        raise LammpsImplicitError(
            f"{saddle.deck_name or 'the saddle'} is taken for a minimum: a barrier is that of a saddle; give its cell "
            "'saddle: true', or 'barrier: {from: CELL, to: CELL}' instead of a deck (in Python saddle=True)"
        )
    if minimum.saddle:
        raise LammpsImplicitError(
            f"{minimum.deck_name or 'the minimum'} is a saddle itself: a barrier is the energy above a minimum"
        )
    require_comparable([saddle, minimum])
    require_same_cell([saddle, minimum])
    atoms = composition(saddle), composition(minimum)
    if atoms[0] != atoms[1]:
        shown = [" ".join(f"{element} {count}" for element, count in sorted(one.items())) for one in atoms]
        raise LammpsImplicitError(f"{pair_label(saddle, minimum)} have different atoms: {shown[0]}, and {shown[1]}")
    for point in (saddle, minimum):
        require_enthalpy(point)
        if volumes:
            require_relaxed_cell(point, "a volume depends")
