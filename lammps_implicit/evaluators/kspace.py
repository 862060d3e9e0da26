"""Solvers of long-range forces: settings with which forces can be differentiated, also under strain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from lammps_implicit.errors import DeckError
from lammps_implicit.evaluators.deck import Deck

FINE = 1e-6
"""Accuracy of forces, relative as ``kspace_style`` takes it, with which derivatives are taken. Measured on rock salt:
derivatives of the volume are off by 1e-4 and less with it. With 1e-4 they are off by 3e-3, and by 5e-3 against finite
changes where the number of waves of an Ewald sum changes with the cell."""

LARGEST_CHANGE = 1e-3
"""Change of the energy, relative, beyond which a deck is refused: it has relaxed with other forces."""

_CHOSEN = ("mesh", "gewald", "kmax", "force")
"""Beginnings of keywords of ``kspace_modify`` by which a deck chooses a resolution itself (LAMMPS documentation)."""

_CUT = re.compile(r"(^|/)coul/(cut|debye)$")
"""Pair styles whose Coulomb forces end at their cutoff, with a jump (LAMMPS documentation)."""

_ORDER = 5
"""LAMMPS' order of the assignment of charges to a mesh (LAMMPS documentation)."""


def why_forces_jump(deck: Deck) -> str:
    """The beginning of a sentence that says what to write in place of Coulomb forces that jump; empty if none do."""
    jumping = [word for word in deck.pair_style if _CUT.search(word)]
    if not jumping:
        return ""
    return f"forces of '{jumping[0]}' jump where pairs cross its cutoff: use coul/long or coul/dsf, or "


def differentiable(kspace: Sequence[tuple[str, ...]]) -> tuple[list[tuple[str, ...]], str]:
    """Commands that set up a deck's long-range solver with smooth forces, and with all components of the pressure.

    Parameters
    ----------
    kspace : sequence of tuple of str
        `Deck.kspace`.

    Returns
    -------
    list of tuple of str
        Words of each.
    str
        What to tell the user; empty if forces change by nothing.
    """
    smooth, told = [], ""
    for words in kspace:
        for place, pair in enumerate(pairwise(words)):
            if pair == ("diff", "ad"):
                words = (*words[: place + 1], "ik", *words[place + 2 :])
                told = "'kspace_modify diff ad' becomes 'diff ik', whose forces are smooth enough to be differentiated"
        smooth.append(words)
    if smooth and smooth[0][1].startswith("msm"):
        smooth.append(("kspace_modify", "pressure/scalar", "no"))
    return smooth, told


def refined(kspace: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Commands that set up a deck's long-range solver with an accuracy of `FINE`.

    Parameters
    ----------
    kspace : sequence of tuple of str
        `Deck.kspace`.

    Returns
    -------
    list of tuple of str
        Words of each; empty if the deck has no Ewald sum or particle mesh, a finer one, or chooses its resolution.
    """
    if not _has_resolution(kspace):
        return []
    (_, style, *words), *modifies = kspace
    try:
        coarse = float(words[0]) > FINE
    except (IndexError, ValueError):
        return []
    if not coarse or any(_chooses(*pair) for modify in modifies for pair in pairwise(modify)):
        return []
    return [("kspace_style", style, f"{FINE:g}", *words[1:]), *modifies]


def may_be_kept(kspace: Sequence[tuple[str, ...]]) -> bool:
    """Whether a deck has an Ewald sum or particle mesh whose resolution LAMMPS chooses by its charges."""
    if not _has_resolution(kspace):
        return False
    return "disp" not in kspace[0][1] and not any(words[1].startswith("gewald") for words in kspace[1:])


def kept_resolution(transcript: str) -> tuple[str, ...]:
    """The ``kspace_modify`` command that keeps the resolution which LAMMPS has chosen; empty if it has told none.

    Parameters
    ----------
    transcript : str
        LAMMPS' output, with what it told when it last set up its long-range forces.
    """
    width = re.findall(r"^ *G vector \(1/distance\) = (\S+)", transcript, re.MULTILINE)
    found = re.findall(r"^ *(grid|kxmax kymax kzmax) += (\d+) (\d+) (\d+)", transcript, re.MULTILINE)
    if not width or not found:
        return ()
    what, *numbers = found[-1]
    return ("kspace_modify", "gewald", width[-1], "mesh" if what == "grid" else "kmax/ewald", *numbers)


def _has_resolution(kspace: Sequence[tuple[str, ...]]) -> bool:
    """Whether a deck has an Ewald sum or a particle mesh."""
    return bool(kspace) and kspace[0][0] == "kspace_style" and kspace[0][1].startswith(("ewald", "pppm"))


def _chooses(keyword: str, value: str) -> bool:
    """Whether a setting of ``kspace_modify`` fixes the resolution, or needs a huge mesh for a fine accuracy."""
    return keyword.startswith(_CHOSEN) or (keyword.startswith("order") and value.isdecimal() and int(value) < _ORDER)


def describe_change(kspace: Sequence[str], before: float, after: float) -> str:
    """Say that a deck's long-range solver has been refined, and what its energy was and is.

    Raises
    ------
    DeckError
        If it has changed by more than `LARGEST_CHANGE`, relative.
    """
    change = f"the energy {before:.10g} of '{' '.join(kspace)}' becomes {after:.10g} with an accuracy of {FINE:g}"
    if not abs(after - before) <= LARGEST_CHANGE * max(abs(before), abs(after)):
        raise DeckError(f"{change}: write {FINE:g} in the deck, so that it relaxes with these forces")
    return f"{change}, with which derivatives are taken; 'kspace_modify mesh' or 'gewald' keep what a deck chooses"
