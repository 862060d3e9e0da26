"""Numbers of a deck's ``pair_coeff`` lines as parameters: Lennard-Jones, Morse, Buckingham and any other style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.deck import Deck, PairCoeff
from lammps_implicit.engine import potential_folders

FloatArray = NDArray[np.float64]

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
"""Coefficients in order; what follows them are cutoffs, which are no parameters."""


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

    def commands(self, values: FloatArray, folder: Path) -> list[str]:
        """The first line that holds a parameter, and all that follow it."""
        words = [list(line.args) for line in self.lines]
        for (line, word), value in zip(self.places, values, strict=True):
            words[line][word] = repr(float(value))
        first = min(line for line, _ in self.places)
        return [pair_coeff(replace(self.lines[k], args=tuple(words[k]))) for k in range(first, len(self.lines))]


def from_deck(deck: Deck) -> PairCoefficients | None:
    """Every coefficient of the deck's ``pair_coeff`` lines; None if there is none."""
    places, labels = [], []
    hybrid = deck.pair_style[0].startswith("hybrid")
    for number, line in enumerate(deck.pair_coeffs):
        style = line.args[2] if hybrid else deck.pair_style[0]
        first = 3 if hybrid else 2
        if hybrid and len(line.args) > first and deck.pair_style.count(style) > 1:
            style, first = f"{style}:{line.args[first]}", first + 1  # the same style more than once: its number
        rest = line.args[first:]
        if not rest or not all(_is_number(word) for word in rest):
            continue  # a file, or NULL
        known = NAMES.get(_plain(style))
        names = known if known is not None else tuple(str(k) for k in range(1, len(rest) + 1))
        for place, name in enumerate(names[: len(rest)]):
            places.append((number, first + place))
            labels.append(f"{style} {line.args[0]}-{line.args[1]} {name}")
    if not places:
        return None
    # What a later line with the same label replaces has no effect.
    last = {label: place for place, label in zip(places, labels, strict=True)}
    return PairCoefficients(tuple(deck.pair_coeffs), tuple(last.values()), tuple(last))


def pair_coeff(line: PairCoeff) -> str:
    """The command, with files found from anywhere."""
    return " ".join(["pair_coeff", *(quoted(found(word, line.directory)) for word in line.args)])


def found(word: str, directory: Path) -> str:
    """The path of a file that the deck named, or the word itself."""
    folders: Sequence[Path] = [directory, *potential_folders()]
    return next((str(folder / word) for folder in folders if (folder / word).is_file()), word)


def quoted(word: str) -> str:
    return f'"{word}"' if any(character in word for character in " \t#$&") else word


def _plain(style: str) -> str:
    """Without the suffix of an accelerated variant, or the number of a repeated style."""
    style = style.partition(":")[0]
    for suffix in ("/omp", "/opt", "/intel", "/kk", "/gpu"):
        style = style.removesuffix(suffix)
    return style


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
