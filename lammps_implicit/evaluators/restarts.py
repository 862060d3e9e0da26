"""Styles and coefficients that a deck has from a restart file, as far as LAMMPS tells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lammps_implicit.evaluators.deck import BONDED, Deck, PairCoeff, Setting

Tables = Sequence[Sequence[Sequence[float]]]
"""Coefficients by the types of two atoms, a table for each."""

_EXTRACTED = ("epsilon", "sigma", "eps14", "sigma14", "lambda", "delta", "a", "A", "c", "C", "rho", "d0", "alpha", "r0")
"""Coefficients of pair styles that LAMMPS may tell by ``extract_pair``."""


def restart_coefficients(lmp: Any, file: Path, on_root: Callable[[Callable[[], str]], str]) -> tuple[str, Tables]:
    """What LAMMPS' command ``write_coeff`` writes, and coefficients of pairs with all digits. Collective.

    Parameters
    ----------
    lmp : lammps.lammps
    file : Path
        To be written.
    on_root : callable
        Calls a function on rank 0 and returns its result on all.
    """
    try:
        lmp.command(f'write_coeff "{file}"')
        written = on_root(lambda: file.read_text(encoding="utf-8"))
    except Exception:  # such as coefficients that are not set, of which the deck's own run would tell
        return "", ()
    return written, [lmp.extract_pair(name) for name in _EXTRACTED if lmp.extract_pair_dimension(name) == 2]


def fill_from_restart(deck: Deck, written: str, exact: Tables, directory: Path) -> None:
    """Add the styles and coefficients that a deck has from a restart file, before what it sets itself.

    Parameters
    ----------
    deck : Deck
    written : str
        What LAMMPS' command ``write_coeff`` wrote: ``# bond_style harmonic`` and commands that follow.
    exact : sequence of (types + 1, types + 1) arrays
        Coefficients that LAMMPS tells with all digits; ``write_coeff`` writes six.
    directory : Path
        Working directory of the deck.
    """
    declared = {"pair"} if deck.pair_style else set()
    declared |= set(deck.bonded_styles)
    kind, found = "", []
    for line in written.split("\n"):
        words = line.split()
        if len(words) > 2 and words[0] == "#" and words[1].endswith("_style"):
            kind = words[1].removesuffix("_style")
            if kind == "pair" and kind not in declared:
                deck.pair_style, deck.raw_potential = (words[2],), [(("pair_style", words[2]), directory)]
            elif kind not in declared:
                deck.bonded_styles[kind] = (words[2],)
        elif len(words) > 2 and words[0] == f"{kind}_coeff" and kind not in declared:
            found.append(_with_all_digits(words, exact) if kind == "pair" else tuple(words))
    pairs = [words for words in found if words[0] == "pair_coeff"]
    deck.pair_coeffs[:0] = [PairCoeff(words[1:], directory) for words in pairs]
    deck.raw_potential[1:1] = [(words, directory) for words in pairs]
    deck.bonded_coeffs[:0] = [Setting(words, words, directory) for words in found if words[0] in BONDED]
    deck.from_restart = {words[0].removesuffix("_coeff") for words in found}


def _with_all_digits(words: list[str], exact: Tables) -> tuple[str, ...]:
    """Words of a ``pair_coeff`` command with the numbers of which ``write_coeff`` has written six digits."""
    one, two = int(words[1]), int(words[2])
    known = {f"{values[one][two]:g}": repr(float(values[one][two])) for values in exact}
    return (*words[:3], *(known.get(word, word) for word in words[3:]))
