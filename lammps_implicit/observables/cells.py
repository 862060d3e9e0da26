"""What a single relaxed cell gives: its energy, volume, composition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.minimum import Minimum
from lammps_implicit.observables.observable import Observable


def composition(minimum: Minimum) -> dict[str, int]:
    """Number of atoms of each chemical element."""
    counts: dict[str, int] = {}
    for type_, element in enumerate(minimum.potential.elements, 1):
        count = int(minimum.engine.sum(int(np.count_nonzero(minimum.engine.types == type_))))
        if count:
            counts[element or f"type {type_}"] = counts.get(element or f"type {type_}", 0) + count
    return counts


def enthalpy(minimum: Minimum, tol: float = 1e-5, second: bool = True) -> Observable:
    """U + pV of a relaxed cell at the pressure it is held at; its energy where the cell was not relaxed.

    Parameters
    ----------
    minimum : Minimum
    tol : float
        Of the Jacobian for the second derivative.
    second : bool
        Whether to take the second derivative, which needs one.
    """
    if minimum.cell != "none" and not np.array_equal(minimum.target, minimum.target[0, 0] * np.eye(3)):
        raise LammpsImplicitError(f"{minimum.deck_name}: at a stress that is not hydrostatic there is no enthalpy")
    hessian = minimum.energy_hessian(tol, cell=minimum.cell) if second else None
    pressure = float(np.trace(minimum.target)) / 3 if minimum.cell != "none" else 0.0
    value = minimum.energy + pressure * minimum.engine.volume
    return Observable(np.asarray(value), minimum.energy_gradient(), minimum.units.energy, hessian)


def volume(minimum: Minimum, tol: float = 1e-5) -> Observable:
    """Volume of the cell, relaxed together with positions."""
    if minimum.cell == "none":
        raise LammpsImplicitError(f"{minimum.deck_name}: a volume depends on Θ only where the cell is relaxed")
    gradient = minimum.volume_gradient(tol, cell=minimum.cell)
    return Observable(np.asarray(minimum.engine.volume), gradient, f"{minimum.units.length}^3")


def require_same_potential(minima: Sequence[Minimum]) -> None:
    """Check that these cells have the same potential, parameters and units.

    Raises
    ------
    LammpsImplicitError
    """
    first = minima[0]
    for other in minima[1:]:
        pair = _named(first, other)
        if other.units != first.units:
            raise LammpsImplicitError(f"{pair} have different units: {first.units.style} and {other.units.style}")
        if other.potential.names != first.potential.names:
            raise LammpsImplicitError(
                f"{pair} have different potentials: {len(first.potential.names)} parameters "
                f"({first.potential.names[0]}, ...) and {len(other.potential.names)} ({other.potential.names[0]}, ...)"
            )
        if other.potential.text != first.potential.text:
            raise LammpsImplicitError(f"{pair} have different potentials: the values of their parameters differ")
        for name, value in first.potential.fixed.items():
            if other.potential.fixed.get(name, value) != value:
                raise LammpsImplicitError(f"{pair} have different potentials: {name} differs")


def require_comparable(minima: Sequence[Minimum]) -> None:
    """Check that energies and volumes of these cells may be added: same potential, units and pressure.

    Raises
    ------
    LammpsImplicitError
    """
    require_same_potential(minima)
    first = minima[0]
    for other in minima[1:]:
        if (first.cell == "none") != (other.cell == "none"):
            raise LammpsImplicitError(f"{_named(first, other)}: the cell of one is relaxed, that of the other is not")
        if first.cell != "none" and not np.allclose(first.target, other.target, rtol=1e-9, atol=1e-15):
            held = [np.trace(m.target) / 3 * m.units.pressures for m in (first, other)]
            raise LammpsImplicitError(
                f"{_named(first, other)} are held at different pressures: {held[0]:g} and {held[1]:g}"
            )


def _named(first: Minimum, other: Minimum) -> str:
    return f"{first.deck_name or 'one cell'} and {other.deck_name or 'another'}"
