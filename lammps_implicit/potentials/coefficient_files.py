"""Potentials that are linear in all coefficients of one file: shared by ML-IAP, UF3 and POD."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import Deck, PairCoeff
from lammps_implicit.potentials.commands import PotentialCommands, coefficient_file, plain_style, style_of
from lammps_implicit.potentials.number_files import NumberFile


@dataclass(frozen=True)
class CoefficientFileSource:
    """Coefficients in one file, which the deck names in its ``pair_style`` or ``pair_coeff`` lines; a `Source`.

    Attributes
    ----------
    style : str
        Pair style, without the suffix of an accelerated variant.
    file : NumberFile
        The file and its coefficients.
    path : Path
        The file, as LAMMPS finds it.
    elements : tuple of (str or None)
        Element of each atom type.
    """

    style: str
    file: NumberFile
    path: Path
    elements: tuple[str | None, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of the coefficients."""
        return self.file.names

    @property
    def values(self) -> FloatArray:
        """Coefficients in the file."""
        return self.file.values

    @property
    def linear(self) -> bool:
        """U is linear in all of them."""
        return True

    def edit(self, commands: PotentialCommands, values: FloatArray, stem: Path) -> dict[Path, str]:
        """Replace the file by another one wherever the deck names it: see `Source.edit`."""
        target = stem.with_name(f"{stem.name}.{self.style}")
        commands.style = self._renamed(commands.style, target)
        commands.coeffs = [self._renamed(words, target) for words in commands.coeffs]
        commands.renewed = True
        return {target: self.file.text(values)}

    def _renamed(self, words: list[str], target: Path) -> list[str]:
        return [str(target) if word == str(self.path) else word for word in words]


def style_line(deck: Deck, style: str) -> PairCoeff | None:
    """The last ``pair_coeff`` line of a pair style that the deck may have only once.

    Parameters
    ----------
    deck : Deck
    style : str
        Without the suffix of an accelerated variant.

    Returns
    -------
    PairCoeff or None
        None if the deck does not have the style.

    Raises
    ------
    PotentialError
        If the deck has the style several times, or no line for it.
    """
    hybrid = deck.pair_style[:1] and deck.pair_style[0].startswith("hybrid")
    count = sum(plain_style(word) == style for word in (deck.pair_style if hybrid else deck.pair_style[:1]))
    if not count:
        return None
    lines = [line for line in deck.pair_coeffs if plain_style(style_of(deck, line)[0]) == style]
    if not lines:
        raise PotentialError(f"the deck has pair_style {style} without a pair_coeff line: add one")
    if count > 1:
        raise PotentialError(
            f"the deck has {style} {count} times: its parameters are supported only where it occurs once"
        )
    return lines[-1]


def named_file(deck: Deck, line: PairCoeff, number: int = 0) -> Path:
    """The file that a ``pair_coeff`` line names.

    Parameters
    ----------
    deck : Deck
    line : PairCoeff
    number : int
        Which word after the style it is, from 0.

    Raises
    ------
    PotentialError
        If the file is not found.
    """
    path = coefficient_file(deck, line, number)
    if path is None:
        style = plain_style(style_of(deck, line)[0])
        raise PotentialError(f"pair_coeff {' '.join(line.args)}: the files of {style} are not found")
    return path
