"""Checks that the energies and volumes of several cells can be combined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.stationary.point import StationaryPoint

_SAME_CELL = 1e-9
"""Relative difference of cell vectors that is rounding."""


def require_same_potential(minima: Sequence[StationaryPoint]) -> None:
    """Check that cells have the same units, potential and parameters.

    Raises
    ------
    LammpsImplicitError
        If two differ.
    """
    first = minima[0]
    for other in minima[1:]:
        pair = pair_label(first, other)
        if other.units != first.units:
            one, two = (f"{m.units.style} in {m.units.dimension} dimensions" for m in (first, other))
            raise LammpsImplicitError(f"{pair} have different units: {one}, and {two}")
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


def require_comparable(minima: Sequence[StationaryPoint]) -> None:
    """Check that energies and volumes of cells can be added: same potential, units and target pressure.

    Raises
    ------
    LammpsImplicitError
        If two differ.
    """
    require_same_potential(minima)
    first = minima[0]
    for other in minima[1:]:
        if (first.cell == "none") != (other.cell == "none"):
            raise LammpsImplicitError(
                f"{pair_label(first, other)}: the cell of one is relaxed, that of the other is not; treat both alike"
            )
        if first.cell != "none" and not np.allclose(first.target, other.target, rtol=1e-9, atol=1e-15):
            held = [np.trace(m.target) / 3 * m.units.pressure_factor for m in (first, other)]
            raise LammpsImplicitError(
                f"{pair_label(first, other)} are held at different pressures: {held[0]:g} and {held[1]:g} "
                f"{first.units.pressure}"
            )


def require_same_cell(minima: Sequence[StationaryPoint]) -> None:
    """Check that cells which are not relaxed have the same vectors, as far as they are periodic.

    Raises
    ------
    LammpsImplicitError
        If two differ.
    """
    first = minima[0]
    for other in minima[1:]:
        periodic = np.array(first.engine.periodic)
        cells = first.engine.cell[periodic], other.engine.cell[periodic]
        if first.cell == "none" and not np.allclose(
            *cells, rtol=_SAME_CELL, atol=_SAME_CELL * np.abs(cells[0]).max(initial=0.0)
        ):
            raise LammpsImplicitError(
                f"{pair_label(first, other)} have different cells: give both the same, or relax both with their cells"
            )


def pair_label(first: StationaryPoint, other: StationaryPoint) -> str:
    """What messages call two cells; those of one deck by the variables in which they differ."""
    if not first.deck_name or first.deck_name != other.deck_name:
        return f"{first.deck_name or 'one cell'} and {other.deck_name or 'another'}"
    known = [dict(point.recipe.get("variables", {})) for point in (first, other)]
    differ = [name for name in sorted({*known[0], *known[1]}) if known[0].get(name) != known[1].get(name)]
    if not differ:
        return f"{first.deck_name} and {other.deck_name}"
    shown = (" ".join(f"{name}={one.get(name, 'default')}" for name in differ) for one in known)
    return " and ".join(f"{first.deck_name} ({text})" for text in shown)
