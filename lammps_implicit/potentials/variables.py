"""Variables that a deck uses in ``pair_style`` and ``pair_coeff`` as parameters: ``var:eps``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.potentials.commands import PairCommands, found

PREFIX = "var:"


@dataclass(frozen=True)
class Variables:
    """Variables of the deck.

    Attributes
    ----------
    names : tuple of str
        With their prefix.
    values : (P,) float array
    lines : tuple of tuple of str
        Arguments of ``pair_style`` and each ``pair_coeff`` as the deck has them, variables not yet substituted.
    """

    names: tuple[str, ...]
    values: FloatArray
    lines: tuple[tuple[str, ...], ...]

    @property
    def linear(self) -> bool:
        return False

    @property
    def elements(self) -> tuple[str | None, ...]:
        return ()

    def edit(self, commands: PairCommands, values: FloatArray, stem: Path) -> None:
        """Set the variables, then the pair style and its coefficients again."""
        named = [name.removeprefix(PREFIX) for name in self.names]
        commands.settings += [
            line
            for name, value in zip(named, values, strict=True)
            for line in (f"variable {name} delete", f"variable {name} index {float(value)!r}")
        ]
        commands.style, *commands.coeffs = [list(line) for line in self.lines]
        commands.renewed = True


def from_deck(deck: Deck, wanted: Sequence[str], values: FloatArray) -> Variables:
    """The variables asked for, by name with prefix, and their values.

    Raises
    ------
    PotentialError
        If the deck's potential does not use them.
    """
    used = " ".join(word for words, _ in deck.raw_potential for word in words)
    for name in wanted:
        plain = name.removeprefix(PREFIX)
        if f"${{{plain}}}" not in used and f"v_{plain}" not in used and not (len(plain) == 1 and f"${plain}" in used):
            raise PotentialError(f"no pair_style or pair_coeff of the deck uses the variable '{plain}'")
    lines = []
    for words, directory in deck.raw_potential:
        lines.append(tuple(found(word, directory) for word in words[1:]))
    return Variables(tuple(wanted), values, tuple(lines))
