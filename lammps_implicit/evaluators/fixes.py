"""Which fixes a deck may leave defined: what they freeze, what energy they add, and which are removed at take-over."""

from __future__ import annotations

import re

import numpy as np

from lammps_implicit.errors import DeckError
from lammps_implicit.evaluators.deck import Fix

# Fixes whose forces derive from an energy: part of U, they stay. So do all styles wall/...
EXTERNAL_FORCES = frozenset({"addforce", "gravity", "efield", "indent", "spring", "spring/self", "restrain"})

# Fixes without data of each atom.
KEEP_NOTHING = frozenset(
    {"setforce", "lineforce", "planeforce", "enforce2d", "freeze", "addforce", "gravity", "efield"}
)

# Fixes that hold per-atom data others may refer to: harmless, they stay.
STORAGE = re.compile(r"^(store/.*|property/atom)$")

# Fixes that only watch, write, or did their work during the deck's own run: removed at take-over.
BYSTANDERS = re.compile(r"^(print|vector|ave/.*|box/relax|halt|momentum|dt/reset|balance|numdiff(/.*)?|tune/.*)$")


def frozen_components(fix: Fix) -> list[int]:
    """Components a fix holds still; checks that the fix leaves a potential energy to differentiate.

    Raises
    ------
    DeckError
        If it does not, or is not known.
    """
    if fix.style == "setforce":
        if "region" in fix.args[3:]:
            raise DeckError(f"'{fix}': a region changes its members as atoms move; freeze a group instead")
        return [axis for axis, arg in enumerate(fix.args[:3]) if arg != "NULL" and _must_be_zero(fix, arg)]
    if fix.style in ("lineforce", "planeforce"):
        direction = np.array([float(arg) for arg in fix.args[:3]])
        along = np.flatnonzero(direction)
        if len(along) != 1:
            raise DeckError(f"'{fix}': only directions along x, y or z can be differentiated")
        return [axis for axis in range(3) if (axis == along[0]) == (fix.style == "planeforce")]
    if fix.style == "enforce2d":
        return [2]
    if fix.style == "freeze":
        return [0, 1, 2]
    if has_energy(fix) or STORAGE.match(fix.style):
        return []
    raise DeckError(
        f"the deck leaves '{fix}' defined: this fix moves atoms, or acts in a way that has no known potential energy; "
        f"add 'unfix {fix.id}' after the minimisation"
    )


def has_energy(fix: Fix) -> bool:
    """Whether a fix adds forces that derive from an energy."""
    return fix.style in EXTERNAL_FORCES or fix.style.startswith("wall/")


def _must_be_zero(fix: Fix, arg: str) -> bool:
    try:
        zero = float(arg) == 0.0
    except ValueError:
        zero = False
    if not zero:
        raise DeckError(f"'{fix}': only zero or NULL components can be differentiated (frozen or free)")
    return True
