"""Numbers in ``pair_coeff`` lines as parameters: Lennard-Jones, Morse, Buckingham and any other style."""

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
"""Names of the coefficients of a style, in order (LAMMPS documentation); cutoffs follow them, which are not
parameters."""


@dataclass(frozen=True)
class PairCoefficients:
    """Numbers in ``pair_coeff`` lines, in the units of the deck; a `Source`.

    Attributes
    ----------
    lines : tuple of PairCoeff
        All lines of the deck, in order: later ones may override earlier ones.
    places : tuple of (int, int)
        Indices of line and word of each parameter.
    labels : tuple of str
        Labels of the parameters, such as ``lj/cut 1-2 sigma``.
    """

    lines: tuple[PairCoeff, ...]
    places: tuple[tuple[int, int], ...]
    labels: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of the parameters."""
        return self.labels

    @property
    def values(self) -> FloatArray:
        """Their values in the deck."""
        return np.array([float(self.lines[line].args[word]) for line, word in self.places])

    @property
    def linear(self) -> bool:
        """U is not linear in all of them."""
        return False

    @property
    def elements(self) -> tuple[str | None, ...]:
        """Empty: the lines do not name elements."""
        return ()

    def edit(self, commands: PairCommands, values: FloatArray, stem: Path) -> dict[Path, str]:
        """Write the values into their lines: see `Source.edit`; there are no files."""
        for (line, word), value in zip(self.places, values, strict=True):
            commands.change(line, word, repr(float(value)))
        return {}


def from_deck(deck: Deck, beside_words: bool = False) -> PairCoefficients | None:
    """All coefficients in the ``pair_coeff`` lines of a deck.

    Parameters
    ----------
    deck : Deck
    beside_words : bool
        Whether to include numbers in lines that also have file names or other words, such as the cutoff of a table.

    Returns
    -------
    PairCoefficients or None
        None if there are no coefficients.
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
    # A later line with the same label overrides an earlier one.
    last = {label: place for place, label in zip(places, labels, strict=True)}
    return PairCoefficients(tuple(deck.pair_coeffs), tuple(last.values()), tuple(last))


def _require_number(deck: Deck, label: str) -> None:
    """Check that a label such as ``table 1-1 2`` does not refer to a word that is not a number.

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
    """Coefficients in the deck's lines. No file is read, so every rank finds them by itself."""
    for pattern in patterns:
        _require_number(engine.deck, pattern)
    numbers = from_deck(engine.deck, beside_words=bool(patterns))
    return [] if numbers is None else [numbers]


FAMILY = PotentialFamily(_sources, "numbers of pair_coeff lines", order=100, on_request=True)
"""The family, as it is registered under ``lammps_implicit.potentials``."""
