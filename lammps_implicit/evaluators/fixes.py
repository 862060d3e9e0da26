"""Fixes a deck may leave defined: which freeze atoms, which add an energy, and which are removed at take-over."""

from __future__ import annotations

import re

import numpy as np

from lammps_implicit.errors import DeckError
from lammps_implicit.evaluators.deck import Fix

_EXTERNAL_FORCES = frozenset({"addforce", "gravity", "efield", "indent", "spring", "spring/self", "restrain"})
"""Styles, besides all ``wall/...``, whose forces derive from an energy: it becomes part of U, and the fix stays."""

_WALLS = re.compile(r"^wall/(lj|colloid|harmonic|morse|lepton|table|region|ees)")
"""Walls that have a potential energy (LAMMPS documentation); others reflect atoms, or rub."""

_STORAGE = re.compile(r"^(store/.*|property/atom)$")
"""Styles that only store per-atom data for other commands: the fix stays."""

WITHOUT_ATOM_DATA = frozenset(
    {"setforce", "lineforce", "planeforce", "enforce2d", "freeze", "aveforce", "addforce", "gravity", "efield"}
)
"""Styles that store no per-atom data, so that the order of a rank's atoms can be restored. Those in `EQUILIBRATING`
store where their iterations start from."""

EQUILIBRATING = re.compile(r"^(qeq/|acks2/|qtpie/)")
"""Styles that equilibrate charges: they stay, and charges converge at every evaluation (`charges`)."""

PASSIVE = re.compile(r"^(print|vector|ave/.*|box/relax|halt|momentum|dt/reset|balance|numdiff(/.*)?|tune/.*)$")
"""Styles that only observe or write, or that acted during the deck's own run: removed at take-over."""


def frozen_components(fix: Fix) -> list[int]:
    """Return the Cartesian components (0, 1, 2) that a fix holds fixed, after checking that the fix is supported.

    Raises
    ------
    DeckError
        If the fix moves atoms, acts on atoms without a potential energy, or is unknown.
    """
    if fix.style == "setforce":
        if "region" in fix.args[3:]:
            raise DeckError(f"'{fix}': atoms enter and leave a region as they move; freeze a group instead")
        return [axis for axis, arg in enumerate(fix.args[:3]) if arg != "NULL" and _must_be_zero(fix, arg)]
    if fix.style in ("lineforce", "planeforce"):
        direction = np.array([float(arg) for arg in fix.args[:3]])
        along = np.flatnonzero(direction)
        if len(along) != 1:
            raise DeckError(f"'{fix}': only directions along x, y or z are supported")
        return [axis for axis in range(3) if (axis == along[0]) == (fix.style == "planeforce")]
    if fix.style == "enforce2d":
        return [2]
    if fix.style == "freeze":
        return [0, 1, 2]
    if fix.style == "aveforce":
        joined_components(fix)
        return []
    if has_energy(fix) or _STORAGE.match(fix.style) or EQUILIBRATING.match(fix.style):
        return []
    raise DeckError(
        f"the deck leaves '{fix}' defined: this fix moves atoms, or acts on them without a known potential energy; add "
        f"'unfix {fix.id}' after the minimisation"
    )


def joined_components(fix: Fix) -> list[int]:
    """Return the Cartesian components (0, 1, 2) along which a fix has its group move as one.

    Raises
    ------
    DeckError
        If it also pushes the group, or acts in a region.
    """
    if fix.style != "aveforce":
        return []
    if "region" in fix.args[3:]:
        raise DeckError(f"'{fix}': atoms enter and leave a region as they move; name a group instead")
    for arg in fix.args[:3]:
        if arg != "NULL" and not _is_zero(arg):
            raise DeckError(
                f"'{fix}': only zero or NULL components are supported; add the force by a 'fix addforce' before it"
            )
    return [axis for axis, arg in enumerate(fix.args[:3]) if arg != "NULL"]


def has_energy(fix: Fix) -> bool:
    """Whether a fix adds forces that derive from a potential energy."""
    return fix.style in _EXTERNAL_FORCES or bool(_WALLS.match(fix.style))


def _must_be_zero(fix: Fix, arg: str) -> bool:
    if not _is_zero(arg):
        raise DeckError(f"'{fix}': only zero or NULL components are supported (frozen or free)")
    return True


def _is_zero(arg: str) -> bool:
    try:
        return float(arg) == 0.0
    except ValueError:
        return False
