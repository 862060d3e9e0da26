"""Potentials that are linear in all coefficients of one file: what ML-IAP, UF3 and POD share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import Deck, PairCoeff
from lammps_implicit.potentials.commands import PairCommands, coefficient_file, plain_style, style_of
from lammps_implicit.potentials.number_files import NumberFile


@dataclass(frozen=True)
class CoefficientFileSource:
    """Coefficients of one file that the deck's pair style or its ``pair_coeff`` lines name.

    Attributes
    ----------
    style : str
        Pair style, without the suffix of an accelerated variant.
    file : NumberFile
    path : Path
        As LAMMPS finds it.
    elements : tuple of (str or None)
        Of each atom type.
    """

    style: str
    file: NumberFile
    path: Path
    elements: tuple[str | None, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return self.file.names

    @property
    def values(self) -> FloatArray:
        return self.file.values

    @property
    def linear(self) -> bool:
        return True

    def edit(self, commands: PairCommands, values: FloatArray, stem: Path) -> dict[Path, str]:
        """Name another file wherever the deck names this one."""
        target = stem.with_name(f"{stem.name}.{self.style}")
        commands.style = self._renamed(commands.style, target)
        commands.coeffs = [self._renamed(words, target) for words in commands.coeffs]
        commands.renewed = True
        return {target: self.file.text(values)}

    def _renamed(self, words: list[str], target: Path) -> list[str]:
        return [str(target) if word == str(self.path) else word for word in words]


def style_line(deck: Deck, style: str) -> PairCoeff | None:
    """The last ``pair_coeff`` line of a style of which the deck may have one; None if it has not this style.

    Raises
    ------
    PotentialError
        If the deck has the style several times, or no line of it.
    """
    hybrid = deck.pair_style[0].startswith("hybrid")
    count = sum(plain_style(word) == style for word in (deck.pair_style if hybrid else deck.pair_style[:1]))
    if not count:
        return None
    lines = [line for line in deck.pair_coeffs if plain_style(style_of(deck, line)[0]) == style]
    if not lines:
        raise PotentialError(f"the deck has pair_style {style} without a pair_coeff line")
    if count > 1:
        raise PotentialError(f"the deck has {style} {count} times: parameters of one only are supported")
    return lines[-1]


def named_file(deck: Deck, line: PairCoeff, number: int = 0) -> Path:
    """The file that a ``pair_coeff`` line names as its first, second, … word after the style.

    Raises
    ------
    PotentialError
        If it is not found.
    """
    path = coefficient_file(deck, line, number)
    if path is None:
        style = plain_style(style_of(deck, line)[0])
        raise PotentialError(f"pair_coeff {' '.join(line.args)}: the files of {style} are not found")
    return path
