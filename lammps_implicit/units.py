"""LAMMPS unit styles: unit names for results, the size of 1 eV/Å, and pressures as users write them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lammps_implicit.errors import DeckError, LammpsImplicitError

Pressure = Union[float, str, ArrayLike, None]
"""A pressure or stress as given by the user, see `Units.pressure_tensor`; None stands for a default."""

_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
"""A number in decimal notation; Python also reads ``1_000``, ``nan`` and the digits of all scripts."""

_BAR = {"Pa": 1e-5, "kPa": 1e-2, "MPa": 10.0, "GPa": 1e4, "bar": 1.0, "kbar": 1e3, "Mbar": 1e6, "atm": 1.01325}
"""Units of pressure that users may write, in bar."""

PRESSURES = frozenset(_BAR)
"""Names of units of pressure."""


_NAMED = {
    "eV": (1, 0, 1.0),
    "meV": (1, 0, 1e-3),
    "kJ/mol": (1, 0, 1 / 96.485332),
    "kcal/mol": (1, 0, 1 / 23.060549),
    "J": (1, 0, 1 / 1.602176634e-19),
    "Ry": (1, 0, 13.605693),
    "Ha": (1, 0, 27.211386),
    "Å": (0, 1, 1.0),
    "Angstrom": (0, 1, 1.0),
    "angstrom": (0, 1, 1.0),
    "A": (0, 1, 1.0),
    "nm": (0, 1, 10.0),
    "pm": (0, 1, 0.01),
    "Bohr": (0, 1, 0.529177211),
    "bohr": (0, 1, 0.529177211),
    **{name: (1, -3, bar / 1.6021765e6) for name, bar in _BAR.items()},
}
"""Units by name: powers of energy and length, and size in eV and Å; molar energies are per particle."""


def _dimension(unit: str) -> tuple[int, int, float]:
    """Powers of energy and length of a product of units, such as ``eV/Å^3``, and its size in eV and Å."""
    energy, length, size = 0, 0, 1.0
    names = "|".join(re.escape(name) for name in sorted(_NAMED, key=len, reverse=True))
    parts = list(re.finditer(rf"(^|[*/])\s*({names})(?:\^?(-?[1-6])|([²³]))?\s*", unit.strip()))
    if not parts or "".join(part[0] for part in parts) != unit.strip():
        raise LammpsImplicitError(f"'{unit[:40]}' is no unit that is known: {', '.join(_NAMED)}, with / and ^")
    for part in parts:
        named = _NAMED[part[2]]
        power = int(part[3] or {"²": 2, "³": 3}.get(part[4], 1)) * (-1 if part[1] == "/" else 1)
        energy, length, size = energy + power * named[0], length + power * named[1], size * named[2] ** power
    return energy, length, size


def decimal(text: str) -> float:
    """Read a finite number in decimal notation, as ``-1.5e-3``.

    Raises
    ------
    ValueError
        If it is anything else, of which Python reads much: ``inf``, ``1_000``, digits of other scripts.
    """
    if re.fullmatch(_NUMBER, text.strip()) is None or not np.isfinite(float(text)):
        raise ValueError(f"'{text[:40]}' is not a finite number in decimal notation")
    return float(text)


def split_unit(value: float | str) -> tuple[float, str]:
    """Split a quantity into its number and its unit.

    Parameters
    ----------
    value : float or str
        ``160``, ``"160"`` or ``"160 GPa"``.

    Returns
    -------
    number : float
    unit : str
        Empty if there is none.

    Raises
    ------
    LammpsImplicitError
        If it is not a finite number, or the unit is not known.
    """
    match = re.fullmatch(rf"\s*({_NUMBER})\s*([^\W\d_].*)?", str(value))
    if match is None or not np.isfinite(float(match[1])):
        raise LammpsImplicitError(f"'{str(value)[:40]}' is not a number with or without a unit, as '160 GPa'")
    unit = (match[2] or "").strip()
    if unit:
        _dimension(unit)
    return float(match[1]), unit


def is_quantity(value: float | str) -> bool:
    """Whether `split_unit` can read a value."""
    try:
        split_unit(value)
    except LammpsImplicitError:
        return False
    return True


def in_unit(value: float | str, unit: str) -> float:
    """Convert a quantity to a unit.

    Parameters
    ----------
    value : float or str
        A number in this unit, or with a unit of its own: ``"160 GPa"``.
    unit : str
        For example ``bar``, ``eV/Å`` or ``Å^3``.

    Returns
    -------
    float

    Raises
    ------
    LammpsImplicitError
        If it is not a finite number, or its unit is not known or of another dimension.
    """
    number, given = split_unit(value)
    if given in ("", unit):
        return number
    if not unit:
        raise LammpsImplicitError(f"'{value}' has a unit: give a plain number")
    try:
        wanted = _dimension(unit)
    except LammpsImplicitError:
        raise LammpsImplicitError(f"'{value}' cannot be converted to {unit}: give a plain number") from None
    energy, length, size = _dimension(given)
    if (energy, length) != wanted[:2]:
        raise LammpsImplicitError(f"'{value}' is not a quantity in {unit} or units like it")
    return number * size / wanted[2]


@dataclass(frozen=True)
class Units:
    """A LAMMPS unit style.

    Attributes
    ----------
    style : str
        Argument of LAMMPS' ``units`` command.
    length, energy, pressure : str
        Names of the units of length, energy and pressure.
    force_factor : float
        1 eV/Å expressed in the style's unit of force (1 for reduced units).
    pressure_factor : float
        One unit of energy per volume expressed in the style's unit of pressure (LAMMPS' ``nktv2p``).
    dimension : int
        3; 2 for two-dimensional decks, whose volumes are areas and whose pressures, energy per area, LAMMPS multiplies
        by the same factor: they are in its unit of pressure times that of length.
    """

    style: str
    length: str
    energy: str
    force_factor: float
    pressure: str
    pressure_factor: float
    dimension: int = 3

    @property
    def volume(self) -> str:
        """Name of the unit of volumes, ``Å^3``; of the area of two-dimensional cells, ``Å^2``."""
        return f"{self.length}^{self.dimension}"

    @property
    def volume_name(self) -> str:
        """What the measure of a cell is called: ``volume`` or ``area``."""
        return "volume" if self.dimension == 3 else "area"

    @property
    def force(self) -> str:
        """Name of the unit of force, for example ``eV/Å``."""
        return f"{self.energy}/{self.length}"

    def pressure_tensor(self, value: Pressure) -> NDArray[np.float64]:
        """Convert a pressure or pressure tensor (positive in compression) to energy per volume.

        Parameters
        ----------
        value : float, str or array_like
            A number in LAMMPS' unit of pressure; six components (xx, yy, zz, yz, xz, xy); a symmetric (3, 3) tensor; or
            a string of one or six numbers separated by commas, optionally followed by a unit: ``"10 GPa"``,
            ``"1,1,0,0,0,0 kbar"``.

        Returns
        -------
        (3, 3) float array
            Pressure tensor, energy per volume (eV/Å³ in ``units metal``), per area in two dimensions.

        Raises
        ------
        LammpsImplicitError
            If the value has none of these forms, is not finite or not symmetric, or its unit is unknown.
        """
        wanted = "give one number or six (xx, yy, zz, yz, xz, xy), followed by a unit if it is not LAMMPS' own"
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
            raise LammpsImplicitError(f"pressure {value!r} is not finite: {wanted}")
        if array.size == 1:
            array = array.item() * np.eye(3)
        elif array.size == 6:
            xx, yy, zz, yz, xz, xy = array.reshape(6)
            array = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        if not np.allclose(array, array.T):
            raise LammpsImplicitError(f"the pressure tensor {array.tolist()} is not symmetric: give a symmetric one")
        return array * factor / self.pressure_factor

    def _pressure_unit(self, name: str | None) -> float:
        """One of the named units of pressure expressed in the style's own."""
        if name is None or name == self.pressure:
            return 1.0
        if self.dimension == 2:
            if name in _BAR:
                raise LammpsImplicitError(
                    f"pressure in '{name}': that of a two-dimensional deck is a force per length; give a plain number, "
                    f"in {self.pressure}"
                )
            return in_unit(f"1 {name}", self.pressure)
        if self.pressure not in _BAR:
            raise LammpsImplicitError(
                f"pressure in '{name}': decks with units {self.style} have pressures in {self.pressure}; give a plain "
                "number"
            )
        if name not in _BAR:
            raise LammpsImplicitError(f"pressure in '{name}', which is none of {', '.join(_BAR)}: use one of these")
        return _BAR[name] / _BAR[self.pressure]


_KNOWN = {
    "metal": Units("metal", "Å", "eV", 1.0, "bar", 1.6021765e6),
    "real": Units("real", "Å", "kcal/mol", 23.060549, "atm", 68568.415),
    "lj": Units("lj", "sigma", "epsilon", 1.0, "epsilon/sigma^3", 1.0),
}
"""Factors as in LAMMPS' ``update.cpp`` (``nktv2p``); 1 eV = 23.060549 kcal/mol."""


def units_of(style: str, dimension: int = 3) -> Units:
    """Return the units of a LAMMPS unit style.

    Parameters
    ----------
    style : str
        ``metal``, ``real`` or ``lj``.
    dimension : int
        2 for two-dimensional decks.

    Raises
    ------
    DeckError
        If the style is another one: suitable finite-difference steps are known for these three only.
    """
    if style not in _KNOWN:
        raise DeckError(f"units {style} are not supported: use one of {', '.join(_KNOWN)} in the deck")
    known = _KNOWN[style]
    if dimension == 3:
        return known
    per_length = "epsilon/sigma^2" if style == "lj" else f"{known.pressure}*{known.length}"
    return replace(known, pressure=per_length, dimension=dimension)
