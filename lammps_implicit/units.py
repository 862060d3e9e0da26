"""LAMMPS unit styles: names for results, and the size of 1 eV/Å in each."""

from __future__ import annotations

from dataclasses import dataclass

from lammps_implicit.errors import DeckError


@dataclass(frozen=True)
class Units:
    """A LAMMPS unit style.

    Attributes
    ----------
    style : str
    length, energy : str
        Names of its units.
    force : float
        1 eV/Å in its unit of force (1 for reduced units).
    """

    style: str
    length: str
    energy: str
    force: float

    @property
    def force_name(self) -> str:
        """Name of the unit of force."""
        return f"{self.energy}/{self.length}"


_KNOWN = {
    "metal": Units("metal", "Å", "eV", 1.0),
    "real": Units("real", "Å", "kcal/mol", 23.060549),
    "lj": Units("lj", "sigma", "epsilon", 1.0),
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
