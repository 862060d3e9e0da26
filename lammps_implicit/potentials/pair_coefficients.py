"""Numbers of a deck's ``pair_coeff`` lines as parameters: Lennard-Jones, Morse, Buckingham and any other style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import Deck, PairCoeff
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.potentials.commands import PairCommands, plain_style, style_of
from lammps_implicit.potentials.interface import PotentialFamily
from lammps_implicit.potentials.number_files import is_number

NAMES = {
    "lj/cut": ("epsilon", "sigma"),
    "lj/smooth": ("epsilon", "sigma"),
    "lj/smooth/linear": ("epsilon", "sigma"),
    "lj/mdf": ("epsilon", "sigma"),
    "morse": ("D0", "alpha", "r0"),
    "morse/smooth/linear": ("D0", "alpha", "r0"),
    "buck": ("A", "rho", "C"),
    "buck/mdf": ("A", "rho", "C"),
    "born": ("A", "rho", "sigma", "C", "D"),
    "yukawa": ("A",),
}
"""Names of the coefficients in order; what follows them are cutoffs, which are not parameters."""


@dataclass(frozen=True)
class PairCoefficients:
    """Numbers of ``pair_coeff`` lines.

    Attributes
    ----------
    lines : tuple of PairCoeff
        All of the deck, in order: later ones may replace what earlier ones set.
    places : tuple of (int, int)
        Line and word of each parameter.
    labels : tuple of str
        Such as ``lj/cut 1-2 sigma``.
    """

    lines: tuple[PairCoeff, ...]
    places: tuple[tuple[int, int], ...]
    labels: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return self.labels

    @property
    def values(self) -> FloatArray:
        return np.array([float(self.lines[line].args[word]) for line, word in self.places])

    @property
    def linear(self) -> bool:
        return False

    @property
    def elements(self) -> tuple[str | None, ...]:
        return ()

    def edit(self, commands: PairCommands, values: FloatArray, stem: Path) -> dict[Path, str]:
        """Write the values into their lines; there are no files."""
        for (line, word), value in zip(self.places, values, strict=True):
            commands.change(line, word, repr(float(value)))
        return {}


def from_deck(deck: Deck, beside_words: bool = False) -> PairCoefficients | None:
    """Every coefficient of the deck's ``pair_coeff`` lines; None if there is none.

    Parameters
    ----------
    deck : Deck
    beside_words : bool
        Whether numbers beside a file name or another word count too, such as the cutoff beside a table.
    """
    places, labels = [], []
    for number, line in enumerate(deck.pair_coeffs):
        style, first = style_of(deck, line)
        rest = line.args[first:]
        if not beside_words and not all(map(is_number, rest)):
            continue
        known = NAMES.get(plain_style(style))
        names = known if known is not None else tuple(str(k) for k in range(1, len(rest) + 1))
        for place, name in enumerate(names[: len(rest)]):
            if is_number(rest[place]):
                places.append((number, first + place))
                labels.append(f"{style} {line.args[0]}-{line.args[1]} {name}")
    if not places:
        return None
    # What a later line with the same label replaces has no effect.
    last = {label: place for place, label in zip(places, labels, strict=True)}
    return PairCoefficients(tuple(deck.pair_coeffs), tuple(last.values()), tuple(last))


def require_number(deck: Deck, label: str) -> None:
    """Check that a label such as ``table 1-1 2`` does not name a word that is no number.

    Raises
    ------
    PotentialError
        If it does.
    """
    for line in deck.pair_coeffs:
        style, first = style_of(deck, line)
        for place, word in enumerate(line.args[first:], 1):
            if label == f"{style} {line.args[0]}-{line.args[1]} {place}" and not is_number(word):
                raise PotentialError(f"'{label}' is '{word}' in the deck, which is no number: it cannot be a parameter")


def _sources(engine: Engine, patterns: Sequence[str]) -> list[PairCoefficients]:
    """Of the deck's lines; nothing is read from files, so that every rank finds them by itself."""
    for pattern in patterns:
        require_number(engine.deck, pattern)
    numbers = from_deck(engine.deck, beside_words=bool(patterns))
    return [] if numbers is None else [numbers]


FAMILY = PotentialFamily(_sources, "numbers of pair_coeff lines", order=100, on_request=True)
