"""What a deck's commands say about possible causes: reciprocal sums, tables and cutoffs."""

from __future__ import annotations

from itertools import pairwise

from lammps_implicit.evaluators.deck import Deck

_TABULATED = "table", "eam", "lookup", "adp"
"""Styles whose names contain one of these interpolate."""


def has_grid(deck: Deck) -> bool:
    """Whether reciprocal sums are taken on a grid, on which energies depend on where the atoms are."""
    return any(
        words[0] == "kspace_style" and not words[1].startswith(("none", "ewald"))
        for words in deck.kspace
        if len(words) > 1
    )


def is_tabulated(deck: Deck) -> bool:
    """Whether a pair style interpolates a function given at points; Coulomb tables are left out of derivatives."""
    return any(part in word for word in deck.pair_style for part in _TABULATED)


def is_shifted(deck: Deck) -> bool:
    """Whether the deck shifts energies to zero at their cutoffs."""
    return any(pair in (("shift", "yes"), ("shift", "on")) for words in deck.pair_modifies for pair in pairwise(words))


def what_jumps(deck: Deck) -> str:
    """Return what may jump, in words: at a cutoff energies that are shifted to zero there do not."""
    what = "forces jump" if is_shifted(deck) and not deck.kspace else "forces or energies jump"
    return f"{what} at a cutoff" + (" or between the points of a table" if is_tabulated(deck) else "")


def grid_remedy(deck: Deck) -> str:
    """Return what to do about a grid of reciprocal sums; empty without one."""
    return " In small cells 'kspace_style ewald' needs no grid." if has_grid(deck) else ""
