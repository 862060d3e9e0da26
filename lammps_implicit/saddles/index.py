"""How many negative modes a stationary point has."""

from __future__ import annotations

from lammps_implicit.errors import NotAMinimumError
from lammps_implicit.response.softest_modes import ROUGHLY
from lammps_implicit.solvers.softest import Mode
from lammps_implicit.stationary.point import StationaryPoint

MODES = 2
"""Softest stiffnesses that are looked at: one more than a saddle may have below zero."""


def negative_modes(point: StationaryPoint) -> list[Mode]:
    """The negative modes of a stationary point, the softest first, as far as the two lowest stiffnesses tell.

    Parameters
    ----------
    point : StationaryPoint

    Returns
    -------
    list of Mode
        Empty at a minimum, one at a saddle. Of modes that are equal by symmetry one may stand for all.
    """
    groups = point.softest_modes(ROUGHLY, MODES)
    return [mode for group in groups for mode in group.modes if mode.curvature < 0]


def the_negative_mode(point: StationaryPoint, found: list[Mode] | None = None) -> Mode:
    """The one negative mode of a saddle.

    Parameters
    ----------
    point : StationaryPoint
    found : list of Mode, optional
        Its `negative_modes`, if they are known.

    Raises
    ------
    NotAMinimumError
        If there is none, or more than one.
    """
    found = negative_modes(point) if found is None else found
    if len(found) == 1:
        return found[0]
    what = "no negative mode: it is a minimum" if not found else f"{len(found)} negative modes instead of one"
    raise NotAMinimumError(f"{point.deck_name or 'this structure'} is not a saddle between two minima: it has {what}")
