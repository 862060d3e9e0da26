"""Thermal functions of harmonic modes, and their derivatives with respect to the eigenvalues λ = ω².

Quantum, with x = ħω/kT, per mode: F = ħω/2 + kT ln(1 - e⁻ˣ), U = (ħω/2) coth(x/2), S = (U - F)/T,
C = k (x/2)²/sinh²(x/2). Classical: F = kT ln x, U = kT, S = k (1 - ln x), C = k. As U, S and C are functions of ω/T up
to a factor, λ ∂F/∂λ = U/2, λ ∂U/∂λ = (U - TC)/2, λ ∂S/∂λ = -C/2 and λ ∂C/∂λ = C (1 - (x/2) coth(x/2)).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.vibrations.constants import VibrationUnits

QUANTITIES = ("free_energy", "energy", "entropy", "heat_capacity")
"""Thermal functions, in the order of the first axis of arrays."""

_SMALL, _LARGE = 1e-4, 600.0
"""Values of x/2 below which series are used, and above which exponentials vanish."""


class ModeFunctions(NamedTuple):
    """Thermal functions of every mode.

    Attributes
    ----------
    values : (4, T, m) float array
        In the order of `QUANTITIES`; of the modes alone, without the energy of the structure.
    slopes : (4, T, m) float array
        Their derivatives with respect to λ.
    """

    values: FloatArray
    slopes: FloatArray


def checked_temperatures(temperatures: ArrayLike, units: VibrationUnits) -> FloatArray:
    """Return temperatures as an array, (T,).

    Parameters
    ----------
    temperatures : float or (T,) array_like
    units : VibrationUnits
        For the message.

    Raises
    ------
    LammpsImplicitError
        If there is none, or one is not a positive number.
    """
    try:
        found = np.atleast_1d(np.asarray(temperatures, float))
    except (TypeError, ValueError):
        raise LammpsImplicitError(f"temperatures {temperatures!r} are no numbers") from None
    if found.ndim != 1 or not found.size:
        raise LammpsImplicitError(f"temperatures of shape {found.shape}: give one or a list of them")
    wrong = found[~((found > 0) & np.isfinite(found))]
    if wrong.size:
        raise LammpsImplicitError(
            f"temperature {wrong[0]:g} {units.temperature} is not a positive number; towards zero, give a low one"
        )
    return found


def mode_functions(
    eigenvalues: FloatArray, temperatures: FloatArray, quantum: bool, units: VibrationUnits
) -> ModeFunctions:
    """Thermal functions of modes with positive eigenvalues.

    Parameters
    ----------
    eigenvalues : (m,) float array
        λ, energy/(length² mass).
    temperatures : (T,) float array
    quantum : bool
        Whether modes are quantum-mechanical oscillators; else classical ones.
    units : VibrationUnits

    Raises
    ------
    LammpsImplicitError
        If ħ has no value in these units, but is needed.
    """
    if quantum and not units.quantum:
        raise LammpsImplicitError(
            "quantum-mechanical vibrations need ħ, which has no value in reduced units (units lj): give quantum=False"
        )
    heat = units.boltzmann * temperatures[:, None]
    hbar_omega = units.hbar * np.sqrt(eigenvalues)
    x = hbar_omega / heat
    one = np.ones_like(x)
    if not quantum:
        values = [heat * np.log(x), heat * one, units.boltzmann * (1 - np.log(x)), units.boltzmann * one]
        products = [heat * one / 2, 0 * x, -units.boltzmann * one / 2, 0 * x]
        return ModeFunctions(np.array(values), np.array(products) / eigenvalues)
    half = x / 2
    # (x/2) coth(x/2) and (x/2)²/sinh²(x/2), without overflow at either end
    safe = np.clip(half, _SMALL, _LARGE)
    along = np.where(half < _SMALL, 1 + half**2 / 3, half / np.tanh(safe) * np.where(half < _SMALL, 0, 1))
    capacity = np.where(half < _SMALL, 1 - half**2 / 3, (half / np.sinh(safe)) ** 2)
    free = hbar_omega / 2 + heat * np.log(-np.expm1(-x))
    energy = heat * along
    heat_capacity = units.boltzmann * capacity
    values = [free, energy, (energy - free) / temperatures[:, None], heat_capacity]
    products = [
        energy / 2,
        (energy - temperatures[:, None] * heat_capacity) / 2,
        -heat_capacity / 2,
        heat_capacity * (1 - along),
    ]
    return ModeFunctions(np.array(values), np.array(products) / eigenvalues)
