"""Constants that turn eigenvalues of the dynamical matrix into frequencies, energies and temperatures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_ELECTRON_VOLT = 1.602176634e-19  # J, exact (SI of 2019), as all below but the dalton
_AVOGADRO = 6.02214076e23
_BOLTZMANN = 1.380649e-23  # J/K
_HBAR = 6.62607015e-34 / (2 * np.pi)  # J s
_GRAM_PER_MOL = 1e-3 / _AVOGADRO  # kg
_KILOCALORIE_PER_MOL = 4184.0 / _AVOGADRO  # J


@dataclass(frozen=True)
class VibrationUnits:
    """Constants of a LAMMPS unit style, for eigenvalues λ = ω² in units of energy/(length² mass).

    Attributes
    ----------
    boltzmann : float
        k, energy per unit of temperature.
    hbar : float
        ħω = hbar·√λ, energy. In reduced units ħ has no value; it is taken as 1, which adds constants to free energies
        and entropies that cancel between cells with equally many modes.
    frequency_factor : float
        √λ/2π as a frequency, in `frequency`.
    frequency : str
        Unit of frequencies.
    temperature : str
        Unit of temperatures.
    quantum : bool
        Whether ħ is known.
    """

    boltzmann: float
    hbar: float
    frequency_factor: float
    frequency: str
    temperature: str
    quantum: bool = True


def _of_energy(joule: float) -> VibrationUnits:
    omega = float(np.sqrt(joule / (1e-20 * _GRAM_PER_MOL)))  # 1/s, of λ = 1
    return VibrationUnits(_BOLTZMANN / joule, _HBAR * omega / joule, omega / (2 * np.pi) * 1e-12, "THz", "K")


_KNOWN = {
    "metal": _of_energy(_ELECTRON_VOLT),
    "real": _of_energy(_KILOCALORIE_PER_MOL),
    "lj": VibrationUnits(1.0, 1.0, 1 / (2 * np.pi), "1/tau", "epsilon/k", quantum=False),
}


def vibration_units(style: str) -> VibrationUnits:
    """Return the constants of a unit style that `units.units_of` knows: ``metal``, ``real`` or ``lj``."""
    return _KNOWN[style]
