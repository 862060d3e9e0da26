"""Fixes a deck may leave defined: which freeze atoms, which add an energy, and which are removed at take-over."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import numpy as np

from lammps_implicit.errors import DeckError
from lammps_implicit.evaluators.deck import Deck, Fix

_EXTERNAL_FORCES = frozenset({"addforce", "gravity", "efield", "indent", "spring", "spring/self", "restrain"})
"""Styles, besides all ``wall/...``, whose forces derive from an energy: it becomes part of U, and the fix stays."""

_WALLS = re.compile(r"^wall/(lj|colloid|harmonic|morse|lepton|table|region|ees)")
"""Walls that have a potential energy (LAMMPS documentation); others reflect atoms, or rub."""

_STORAGE = re.compile(r"^(store/.*|property/atom)$")
"""Styles that only store per-atom data for other commands: the fix stays."""

_WITHOUT_ATOM_DATA = frozenset(
    {"setforce", "lineforce", "planeforce", "enforce2d", "freeze", "aveforce", "addforce", "gravity", "efield"}
)
"""Styles that store no per-atom data, so that the order of a rank's atoms can be restored."""

EQUILIBRATING = re.compile(r"^(qeq/|acks2/|qtpie/)")
"""Styles that equilibrate charges: they stay, and charges converge at every evaluation (`charges`)."""

_PASSIVE = re.compile(
    r"^(print|vector|ave/.*|box/relax|halt|momentum(/.*)?|dt/reset|balance|numdiff(/.*)?|tune/.*|pair|phonon"
    r"|reaxff/(bonds|species)|reax/c/(bonds|species))$"
)
"""Styles that only observe or write, or that acted during the deck's own minimisation: removed at take-over."""

_DYNAMIC = re.compile(
    r"^(nve|nvt|npt|nph|nphug|nvk|langevin|temp|press|brownian|gjf|gld|gle|ffl|bocs|msst|viscous|deform|recenter|heat"
    r"|ehex|evaporate|deposit|pour|append|gcmc|widom|sgcmc|tfmc|wall/reflect|oneway|thermal|viscosity|electron"
    r"|bond/(break|create|react|swap)|(atom|mol|neighbor)/swap)(/.*)?$"
)
"""Styles that act while atoms move in time, and not while LAMMPS minimises (LAMMPS documentation): removed at take-over
too, and told, as the deck may have used them after it minimised."""

_REMEDIES = (
    (
        r"(shake|rattle)(/.*)?",
        "holds bonds by constraints, which LAMMPS replaces by stiff springs of its own while it minimises; write "
        "'unfix {id}' before the minimisation, so that the bonds of the bond_coeff lines act, as stiff as you like",
    ),
    (
        r"(rigid|poems|filter/corotate)(/.*)?",
        "moves atoms as rigid bodies, which LAMMPS ignores while it minimises: write 'unfix {id}' before the "
        "minimisation and relax all atoms, or hold the bodies in place with 'fix setforce 0 0 0'",
    ),
    (
        r"move",
        "moves atoms along a path, and LAMMPS ignores it while it minimises: write 'unfix {id}' before the "
        "minimisation, and hold these atoms with 'fix setforce 0 0 0' if they are not to relax",
    ),
    (
        r"adapt(/.*)?",
        "changes the potential as time goes on: write 'unfix {id}' after the minimisation, and the values that are to "
        "hold in the pair_coeff lines",
    ),
    (r"wall/.*|drag|addtorque", "exerts forces that have no energy of the positions alone: remove it"),
)
"""Styles, and what is to be said of them."""

_OF_TIME = re.compile(
    r"(?<!\w)(step|elapsed|elaplong|time|cpu|ramp|stagger|logfreq\d?|stride\d?|vdisplace|swiggle|cwiggle|random|normal)\b"
)
"""Words of formulas of variables whose values change from step to step (LAMMPS documentation)."""

_REFERENCE = re.compile(r"(?<![A-Za-z0-9_])([cfv])_(\w+)")
"""A compute, fix or variable in a formula or among arguments."""


def removed(fix: Fix) -> bool:
    """Whether a fix is taken off at take-over: it does not change the minimum."""
    return bool(_PASSIVE.match(fix.style)) or told_removed(fix)


def told_removed(fix: Fix) -> bool:
    """Whether a fix that is taken off would act if time went on."""
    return bool(_DYNAMIC.match(fix.style))


def needed_by(words: Sequence[str], deck: Deck) -> set[str]:
    """References, such as ``c_pull``, to all that commands use, directly or through variables and computes.

    Parameters
    ----------
    words : sequence of str
        Arguments of fixes, and of ``pair_style``, which ``hybrid/scaled`` may take from variables.
    deck : Deck
        Has the definitions.
    """
    known: set[str] = set()
    waiting = list(words)
    while waiting:
        word = waiting.pop()
        # Computes name others also by their plain IDs.
        for kind, name in _REFERENCE.findall(word) + [("c", word)] * (f"c_{word}" in deck.definitions):
            reference = f"{kind}_{name}"
            if reference not in known:
                known.add(reference)
                fix = deck.fixes.get(name)
                waiting += deck.definitions.get(reference, ()) if kind != "f" else fix.args if fix else ()
    return known


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
    for styles, remedy in _REMEDIES:
        if re.fullmatch(styles, fix.style):
            raise DeckError(f"the deck leaves '{fix}' defined: this fix {remedy.format(id=fix.id)}")
    raise DeckError(
        f"the deck leaves '{fix}' defined: this fix moves atoms, or acts on them without a known potential energy; add "
        f"'unfix {fix.id}' after the minimisation"
    )


def stores_atom_data(fix: Fix) -> bool:
    """Whether a fix stores per-atom data other than where iterations start from (`EQUILIBRATING`)."""
    return fix.style not in _WITHOUT_ATOM_DATA and not EQUILIBRATING.match(fix.style)


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


def require_steady(references: Collection[str], deck: Deck) -> None:
    """Check that what fixes and pair styles use does not change with LAMMPS' time, which each evaluation advances.

    Parameters
    ----------
    references : collection of str
        As `needed_by` returns them.
    deck : Deck

    Raises
    ------
    DeckError
        If a variable does.
    """
    for reference in sorted(references):
        style, *formula = deck.definitions.get(reference, ("",))
        if style in ("equal", "atom", "vector") and _OF_TIME.search(" ".join(formula)):
            raise DeckError(
                f"a fix or pair_style that acts on atoms uses the variable '{reference[2:]}', '{' '.join(formula)}', "
                "which changes with time: write its last value in its place"
            )


def minimised_without(deck: Deck) -> str:
    """What to write where LAMMPS minimised without the energy of a fix that has one; empty if it did not."""
    weights = [fix for fix in deck.fixes.values() if fix.style == "gravity"]
    without = [fix for fix in deck.fixes.values() if has_energy(fix) and fix.id not in deck.with_energy]
    return "".join(
        [
            *(
                f"; LAMMPS does not minimise with '{fix}': --relax does, or write the weight as 'fix addforce'"
                for fix in weights
            ),
            *(
                f"; write 'fix_modify {fix.id} energy yes', so that LAMMPS minimises with it"
                for fix in without
                if fix not in weights
            ),
        ]
    )


def _must_be_zero(fix: Fix, arg: str) -> bool:
    if not _is_zero(arg):
        raise DeckError(f"'{fix}': only zero or NULL components are supported (frozen or free)")
    return True


def _is_zero(arg: str) -> bool:
    try:
        return float(arg) == 0.0
    except ValueError:
        return False
