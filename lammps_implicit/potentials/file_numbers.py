"""Numbers in potential files as parameters: named by a reader of the layout, everything else kept to the byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import Deck, PairCoeff
from lammps_implicit.potentials.commands import PotentialCommands, plain_style, style_of
from lammps_implicit.potentials.labels import EXCLUDES, matches
from lammps_implicit.potentials.number_files import NumberFile, Span

MANY = 100
"""Parameters above which some must be chosen: with fewer a sweep is worth its cost, two force evaluations for each."""


@dataclass(frozen=True)
class FileParameter:
    """A parameter that stands in a file.

    Attributes
    ----------
    label : str
    spans : tuple of (int, int, int)
        Where its number stands: line, first column, and column after the last. Several places hold the same number,
        and change together.
    on_request : bool
        Whether it is offered only if a pattern that matches no other parameter asks for it: cutoffs, exponents, what
        has no effect at its present value.
    """

    label: str
    spans: tuple[Span, ...]
    on_request: bool = False


@dataclass(frozen=True)
class FileNumbers:
    """Parameters in a file that a ``pair_coeff`` line names; a `Source`.

    Attributes
    ----------
    lines : tuple of str
        The file, with line ends.
    parameters : tuple of FileParameter
    line, word : int
        Indices of the file name among the ``pair_coeff`` lines of the deck and the words of the line.
    suffix : str
        End of the name of a file with other values.
    elements : tuple of (str or None)
        Element of each atom type.
    """

    lines: tuple[str, ...]
    parameters: tuple[FileParameter, ...]
    line: int
    word: int
    suffix: str
    elements: tuple[str | None, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of the parameters."""
        return tuple(parameter.label for parameter in self.parameters)

    @property
    def values(self) -> FloatArray:
        """Their values in the file, in its units."""
        first = [parameter.spans[0] for parameter in self.parameters]
        return np.array([float(self.lines[row][start:stop]) for row, start, stop in first])

    @property
    def linear(self) -> bool:
        """U is not linear in all of them."""
        return False

    def edit(self, commands: PotentialCommands, values: FloatArray, stem: Path) -> dict[Path, str]:
        """Replace the file by one with other values: see `Source.edit`."""
        target = stem.with_name(f"{stem.name}.{self.suffix}")
        commands.change(self.line, self.word, str(target))
        order = sorted(
            (span, parameter.label, float(value))
            for parameter, value in zip(self.parameters, values, strict=True)
            for span in parameter.spans
        )
        file = NumberFile(self.lines, tuple(span for span, _, _ in order), tuple(label for _, label, _ in order))
        return {target: file.text(np.array([value for _, _, value in order]))}


def offered(parameters: Sequence[FileParameter], patterns: Sequence[str]) -> tuple[FileParameter, ...]:
    """The parameters to offer, given the patterns that select parameters (none: all that are not on request)."""
    usual = [parameter.label for parameter in parameters if not parameter.on_request]
    special = [parameter.label for parameter in parameters if parameter.on_request]
    asked = {
        special[index]
        for pattern in patterns
        if pattern in special or not matches(usual, pattern)
        for index in matches(special, pattern)
    }
    return tuple(p for p in parameters if not p.on_request or p.label in asked)


def require_few(sources: Sequence[FileNumbers], patterns: Sequence[str]) -> list[FileNumbers]:
    """The sources that have parameters, at most `MANY` in all unless patterns have selected them.

    Raises
    ------
    PotentialError
        If there are more.
    """
    names = [name for source in sources for name in source.names]
    if len(names) > MANY and all(pattern.startswith(EXCLUDES) for pattern in patterns):
        kind, last = names[0].partition(" ")[0], names[0].rpartition(" ")[2]
        raise PotentialError(
            f"the deck's potential files have {len(names)} parameters, '{names[0]}' to '{names[-1]}'; a sweep takes "
            f"two force evaluations for each: choose with --parameters, as '* {last}', or take all: '{kind} *'"
        )
    return [source for source in sources if source.parameters]


def last_lines(deck: Deck, styles: Sequence[str]) -> list[tuple[int, PairCoeff, str, int]]:
    """The last ``pair_coeff`` line of each pair style among some, which overrides those before.

    Returns
    -------
    list of (int, PairCoeff, str, int)
        Index of the line; the line; its style, with a number if the deck has it several times; index of the first word
        after the style.
    """
    found = {}
    for number, line in enumerate(deck.pair_coeffs):
        style, first = style_of(deck, line)
        if plain_style(style) in styles:
            found[style] = (number, line, style, first)
    return list(found.values())


def file_suffix(style: str, end: str = "") -> str:
    """End of the name of a file for a style: ``sw.2`` for ``sw:2``."""
    return style.replace("/", ".").replace(":", ".") + end
