"""How many negative modes a stationary point has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lammps_implicit.errors import NotAMinimumError
from lammps_implicit.response.softest_modes import ROUGHLY, negative_modes_of
from lammps_implicit.solvers.softest import Mode, softest_modes
from lammps_implicit.stationary.point import StationaryPoint

_ANGLE, _PRODUCTS = 0.03, 30
"""Angle to which the eigenvector of the negative mode is found, and limit on the products. Chosen: its eigenvalue is
then known to a per mille."""

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
        Empty at a minimum, one at a saddle. Two may stand for more.
    """
    return negative_modes_of(point.response, ROUGHLY, MODES)


def eigenmode(point: StationaryPoint, mode: Mode) -> Mode:
    """The eigenvector of H itself that a soft mode turns into, and its eigenvalue as the curvature.

    Softness is measured against equal springs, which only few modes are eigenvectors of.
    """
    system = replace(point.response.prepared().system, saddle=True)
    return softest_modes(system, np.copy, mode.vector, _ANGLE, _PRODUCTS)[0].modes[0]


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
        return eigenmode(point, found[0])
    what = "no negative mode: it is a minimum" if not found else f"{len(found)} negative modes instead of one"
    raise NotAMinimumError(f"{point.deck_name or 'this structure'} is not a saddle between two minima: it has {what}")
