"""Pair styles that look long-range forces up in tables, which are not smooth enough to be differentiated."""

from __future__ import annotations

from itertools import pairwise

from lammps_implicit.errors import DeckError
from lammps_implicit.evaluators.deck import Deck

WITHOUT = ("table", "0", "table/disp", "0")
"""Arguments of ``pair_modify`` that have forces computed at each distance."""

LARGEST_ERROR = 1e-5
"""Error of energies by tables, relative, beyond which a deck is refused. LAMMPS' default tables make 1e-6."""


def uses_tables(deck: Deck, pair_style: str) -> bool:
    """Whether a pair style of the deck has tables of Coulomb or dispersion forces, LAMMPS' default where it has them.

    These are styles with ``long`` or ``msm`` in their names (LAMMPS documentation of ``pair_modify``).

    Parameters
    ----------
    deck : Deck
    pair_style : str
        With its arguments; LAMMPS may have it from a restart file.
    """
    settings = [word for words in deck.pair_modifies for word in words]
    last = dict(pairwise(settings))
    if last.get("table") == "0" and last.get("table/disp") == "0":
        return False
    return any(part in ("long", "msm") for word in pair_style.split() for part in word.split("/"))


def require_alike(with_tables: float, without: float) -> None:
    """Check that a deck's energy is hardly changed by computing forces without tables.

    Raises
    ------
    DeckError
        If it differs by more than `LARGEST_ERROR`, relative.
    """
    if not abs(with_tables - without) <= LARGEST_ERROR * max(abs(without), abs(with_tables)):
        raise DeckError(
            f"the energy is {with_tables:.10g} with the deck's tables of long-range forces and {without:.10g} without "
            "them; only forces without tables can be differentiated: write 'pair_modify table 0 table/disp 0' after "
            "pair_style, so that the deck relaxes with these"
        )
