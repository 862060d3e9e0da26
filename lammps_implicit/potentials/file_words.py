"""Any number in any file that a deck's potential names, by its place: for files of which no reader knows the layout."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.potentials.commands import PotentialCommands, named_places
from lammps_implicit.potentials.interface import PotentialFamily
from lammps_implicit.potentials.labels import matches
from lammps_implicit.potentials.number_files import NumberFile, Reader, is_number

START = "file "
"""Start of labels: ``file Si.sw 12:4`` is the fourth word of line 12."""

_MOST = 1000
"""Parameters of a file that patterns may select: more are an oversight."""


@dataclass(frozen=True)
class FileWords:
    """Numbers in a file, by their places; a `Source`.

    Attributes
    ----------
    file : NumberFile
    places : tuple of (int, int)
        Indices of the file's name: among the ``pair_coeff`` lines of the deck, -1 for its ``pair_style``, and the words
        of the line.
    target : str
        End of the name of a file with other values.
    """

    file: NumberFile
    places: tuple[tuple[int, int], ...]
    target: str

    @property
    def names(self) -> tuple[str, ...]:
        """Labels: ``file``, the file's name, line and word."""
        return self.file.names

    @property
    def values(self) -> FloatArray:
        """Numbers in the file."""
        return self.file.values

    @property
    def linear(self) -> bool:
        """Whether U is linear in them is not known."""
        return False

    @property
    def elements(self) -> tuple[str | None, ...]:
        """Empty."""
        return ()

    def edit(self, commands: PotentialCommands, values: FloatArray, stem: Path) -> dict[Path, str]:
        """Replace the file by another one wherever the deck names it: see `Source.edit`."""
        target = stem.with_name(f"{stem.name}.{self.target}")
        for line, word in self.places:
            if line < 0:
                commands.style[word], commands.renewed = str(target), True
            else:
                commands.change(line, word, str(target))
        return {target: self.file.text(np.asarray(values))}


def from_deck(deck: Deck, patterns: Sequence[str]) -> list[FileWords]:
    """Numbers that patterns such as ``file Si.sw 12:4`` or ``file Si.sw 12:*`` ask for.

    Raises
    ------
    PotentialError
        If such a pattern names no file of the deck, or no number in it.
    """
    wanted = [pattern for pattern in patterns if pattern.startswith(START)]
    if not wanted:
        return []
    places: dict[Path, list[tuple[int, int]]] = {}
    for path, line, word in named_places(deck):
        places.setdefault(path, []).append((line, word))
    labels = {path: _numbers(path) for path in places}
    every = [label for found in labels.values() for label in found]
    for pattern in wanted:
        _require_match(pattern, every, list(labels))
    found = []
    for path, numbers in labels.items():
        names = list(numbers)
        chosen = sorted({index for pattern in wanted for index in matches(names, pattern)})
        if len(chosen) > _MOST:
            raise PotentialError(f"{len(chosen)} numbers of {path.name} match: name at most {_MOST} of them")
        if chosen:
            file = NumberFile(
                Reader(path).lines, tuple(numbers[names[k]] for k in chosen), tuple(names[k] for k in chosen)
            )
            found.append(FileWords(file, tuple(places[path]), path.name))
    return found


def _numbers(path: Path) -> dict[str, tuple[int, int, int]]:
    """Place of each number of a file, by its label."""
    return {
        f"{START}{path.name} {row + 1}:{place}": (row, word.start(), word.end())
        for row, words in Reader(path).rows()
        for place, word in enumerate(words, 1)
        if is_number(word.group())
    }


def _require_match(pattern: str, labels: Sequence[str], paths: Sequence[Path]) -> None:
    if matches(labels, pattern):
        return
    names = ", ".join(path.name for path in paths) or "none"
    if re.fullmatch(rf"{START}\S+ \S+:\S+", pattern) is None:
        raise PotentialError(f"'{pattern}' is not 'file NAME LINE:WORD', such as 'file Si.sw 12:4'")
    if not matches([f"{START}{path.name}" for path in paths], pattern.rpartition(" ")[0]):
        raise PotentialError(f"'{pattern}': the deck's potential names no such file; it names {names}")
    raise PotentialError(f"'{pattern}': no number stands there; lines and words count from 1, words without comments")


def _sources(engine: Engine, patterns: Sequence[str]) -> list[FileWords]:
    return engine.on_root(lambda: from_deck(engine.deck, patterns))


FAMILY = PotentialFamily(_sources, "any number of a file (file NAME LINE:WORD)", order=110, on_request=True)
"""The family, as it is registered under ``lammps_implicit.potentials``."""
