"""What LAMMPS says is defined, compared with what was read from a deck's commands: a deck misread is refused."""

from __future__ import annotations

import re

from lammps_implicit.errors import DeckError
from lammps_implicit.evaluators.deck import Deck

_FIX = re.compile(r"^Fix\[ *\d+\]: *(\S+), *style = (\S+), *group = (\S+)", re.MULTILINE)

_SUFFIXES = ("/omp", "/opt", "/intel", "/gpu", "/kk", "/kk/host", "/kk/device")
"""What ``suffix`` adds to the names of styles (LAMMPS documentation)."""


def require_as_read(deck: Deck, info: str, pair_style: str | None) -> None:
    """Check that LAMMPS has the fixes and the pair style that were read from the deck.

    Parameters
    ----------
    deck : Deck
        As read from the transcript.
    info : str
        What LAMMPS' ``info fixes`` wrote.
    pair_style : str or None
        LAMMPS' pair style; None or ``none`` if there is none.

    Raises
    ------
    DeckError
        If they differ.
    """
    defined = {id: (style, group) for id, style, group in _FIX.findall(info) if not style.isupper()}
    for id, (style, group) in defined.items():
        if id not in deck.fixes:
            # Commands and potentials define fixes of their own, which hold data of atoms or models.
            if style.startswith(("store/", "property/")):
                continue
            raise _misread(f"LAMMPS has 'fix {id} {group} {style}', but no such fix")
        read = deck.fixes[id]
        if (_plain(read.style), read.group) != (_plain(style), group):
            raise _misread(f"LAMMPS has 'fix {id} {group} {style}', but '{read}'")
    missing = [fix for id, fix in deck.fixes.items() if id not in defined and not fix.style.isupper()]
    if missing:
        raise _misread(f"LAMMPS does not have '{missing[0]}', but this fix")
    if deck.pair_style and _plain(deck.pair_style[0]) != _plain(pair_style or "none"):
        raise _misread(f"LAMMPS has 'pair_style {pair_style}', but 'pair_style {' '.join(deck.pair_style)}'")


def boundary_follows_atoms(info: str) -> bool:
    """Whether a boundary is shrink-wrapped (``s``, ``m``), from what LAMMPS' ``info system`` wrote."""
    boundaries = re.search(r"^Boundaries = (.*)", info, re.MULTILINE)
    return boundaries is not None and any(kind in boundaries[1] for kind in "sm")


def _plain(style: str) -> str:
    for suffix in _SUFFIXES:
        style = style.removesuffix(suffix)
    return style


def _misread(what: str) -> DeckError:
    return DeckError(
        f"the deck was misread: {what} was read from the commands that LAMMPS echoed; remove 'print' and 'fix print' "
        "lines whose text looks like a command"
    )
