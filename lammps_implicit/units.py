"""LAMMPS unit styles: names for results, and the size of 1 eV/Å in each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lammps_implicit.errors import DeckError, LammpsImplicitError

Pressure = Union[float, str, ArrayLike, None]
"""A pressure or stress as users give it: see `Units.pressure_tensor`; None for a default."""

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_BARS = {"Pa": 1e-5, "kPa": 1e-2, "MPa": 10.0, "GPa": 1e4, "bar": 1.0, "kbar": 1e3, "Mbar": 1e6, "atm": 1.01325}


@dataclass(frozen=True)
class Units:
    """A LAMMPS unit style.

    Attributes
    ----------
    style : str
    length, energy, pressure : str
        Names of its units.
    force_factor : float
        1 eV/Å in its unit of force (1 for reduced units).
    pressure_factor : float
        Units of pressure in one of energy per volume (LAMMPS' nktv2p).
    """

    style: str
    length: str
    energy: str
    force_factor: float
    pressure: str
    pressure_factor: float

    @property
    def force(self) -> str:
        """Name of the unit of force."""
        return f"{self.energy}/{self.length}"

    def pressure_tensor(self, value: Pressure) -> NDArray[np.float64]:
        """Read a pressure or a pressure tensor, positive when compressed.

        Parameters
        ----------
        value : float, str or array_like
            A number in LAMMPS' unit; six components (xx, yy, zz, yz, xz, xy); a symmetric (3, 3) tensor; or a text with
            one or six numbers, separated by commas, and a unit: ``"10 GPa"``, ``"1,1,0,0,0,0 kbar"``.

        Returns
        -------
        (3, 3) float array
            Energy per volume.

        Raises
        ------
        LammpsImplicitError
            If it is neither, or its unit is not one of pressure in these units.
        """
        wanted = "write one number or six (xx, yy, zz, yz, xz, xy), and a unit if it is not LAMMPS' own"
        factor = 1.0
        if isinstance(value, str):
            match = re.fullmatch(rf"\s*({_NUMBER}(?:\s*,\s*{_NUMBER})*)\s*([^\W\d][^\s,]*)?\s*", value)
            if match is None:
                raise LammpsImplicitError(f"pressure '{value}' is not a number: {wanted}")
            factor = self._pressure_unit(match[2])
            value = [float(part) for part in match[1].split(",")]
        try:
            array = np.asarray(value, float)
        except (TypeError, ValueError):
            raise LammpsImplicitError(f"pressure {value!r} is not a number: {wanted}") from None
        if array.size not in (1, 6) and array.shape != (3, 3):
            raise LammpsImplicitError(f"pressure of {array.size} numbers: {wanted}")
        if not np.isfinite(array).all():
            raise LammpsImplicitError("the pressure is not finite")
        if array.size == 1:
            array = array.item() * np.eye(3)
        elif array.size == 6:
            xx, yy, zz, yz, xz, xy = array.reshape(6)
            array = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        if not np.allclose(array, array.T):
            raise LammpsImplicitError("the pressure tensor is not symmetric")
        return array * factor / self.pressure_factor

    def _pressure_unit(self, name: str | None) -> float:
        """Size of a unit of pressure in LAMMPS' own."""
        if name is None or name == self.pressure:
            return 1.0
        if self.pressure not in _BARS:
            raise LammpsImplicitError(
                f"pressure in {name}: with units {self.style} pressures are in {self.pressure}; give a number"
            )
        if name not in _BARS:
            raise LammpsImplicitError(f"pressure in '{name}', which is none of {', '.join(_BARS)}")
        return _BARS[name] / _BARS[self.pressure]


_KNOWN = {
    "metal": Units("metal", "Å", "eV", 1.0, "bar", 1.6021765e6),
    "real": Units("real", "Å", "kcal/mol", 23.060549, "atm", 68568.415),
    "lj": Units("lj", "sigma", "epsilon", 1.0, "epsilon/sigma^3", 1.0),
}


def units_of(style: str) -> Units:
    """Return the units of a LAMMPS unit style.

    Raises
    ------
    DeckError
        If displacement steps are not known to suit it.
    """
    if style not in _KNOWN:
        raise DeckError(f"units {style} are not supported; use one of {', '.join(_KNOWN)}")
    return _KNOWN[style]
