"""Tabulated pair potentials (``table``): factors of tables, and shifts of their distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.potentials.coefficient_files import named_file
from lammps_implicit.potentials.commands import PotentialCommands, plain_style, style_of
from lammps_implicit.potentials.file_numbers import file_suffix
from lammps_implicit.potentials.interface import PotentialFamily
from lammps_implicit.potentials.number_files import NumberFile, Reader, Span, require_numbers

STYLE = "table"
"""The pair style."""


@dataclass(frozen=True)
class TableSection:
    """One section of a file of tables.

    Attributes
    ----------
    lines : tuple of str
        The file, with line ends.
    distances : (n,) float array
        r, as LAMMPS takes them.
    energies, forces : tuple of (int, int, int)
        Where the energy U(r) and the force -U'(r) at each distance stand.
    slopes : tuple of (int, int, int)
        Where the derivatives of the force at both ends stand, if they are given.
    """

    lines: tuple[str, ...]
    distances: FloatArray
    energies: tuple[Span, ...]
    forces: tuple[Span, ...]
    slopes: tuple[Span, ...]

    @classmethod
    def read(cls, path: Path, keyword: str) -> TableSection:
        """Read a section as LAMMPS does: https://docs.lammps.org/pair_table.html

        Raises
        ------
        PotentialError
            If there is no such section, or it is not of this format.
        """
        reader = Reader(path)
        rows = [(row, [(row, word.start(), word.end()) for word in words]) for row, words in reader.rows()]

        def text(span: Span) -> str:
            return reader.lines[span[0]][span[1] : span[2]]

        place = 0
        while place + 1 < len(rows):
            settings = [text(span) for span in rows[place + 1][1]]
            try:
                count = int(settings[settings.index("N") + 1])
            except (ValueError, IndexError):
                raise PotentialError(f"{path}, line {rows[place + 1][0] + 1}: 'N' and a number are expected") from None
            body = [spans for _, spans in rows[place + 2 : place + 2 + count]]
            if text(rows[place][1][0]) == keyword:
                break
            place += 2 + count
        else:
            raise PotentialError(f"{path} has no section '{keyword}'")
        for spans in body:
            if len(spans) < 4:
                raise PotentialError(f"{path}, line {spans[0][0] + 1}: {len(spans)} words, expected number, r, U, F")
        if len(body) < count:
            raise PotentialError(f"{path}: section '{keyword}' has {len(body)} rows, expected {count}")
        words = rows[place + 1][1]
        slopes = words[settings.index("FPRIME") + 1 :][:2] if "FPRIME" in settings else []
        require_numbers(path, reader.lines, [span for spans in body for span in spans[1:4]] + slopes)
        found = np.array([float(text(spans[1])) for spans in body])
        return cls(
            reader.lines,
            _distances(settings, found),
            tuple(spans[2] for spans in body),
            tuple(spans[3] for spans in body),
            tuple(slopes),
        )

    @property
    def increasing(self) -> bool:
        """Whether each distance is larger than the one before, as in all tables but bitmaps."""
        return len(self.distances) > 1 and bool((np.diff(self.distances) > 0).all())

    def text(self, factor: float, shift: float) -> str:
        """Text of the file with factor × U(r - shift), from the cubic through energies and forces, on the same grid."""
        file = NumberFile(self.lines, self.energies + self.forces, ())
        energies, forces = np.split(file.values, 2)
        if shift:
            cubic = CubicHermiteSpline(self.distances, energies, -forces)
            energies, forces = cubic(self.distances - shift), -cubic(self.distances - shift, 1)
        slopes = NumberFile(self.lines, self.slopes, ()).values
        every = sorted(
            zip(
                self.energies + self.forces + self.slopes,
                factor * np.concatenate([energies, forces, slopes]),
                strict=True,
            )
        )
        spans = tuple(span for span, _ in every)
        return NumberFile(self.lines, spans, ()).text(np.array([value for _, value in every]))


@dataclass(frozen=True)
class TableFactors:
    """Factor and shift of a table, 1 and 0 in the deck: factor × U(r - shift). A `Source`.

    Their labels are ``table 1-2 scale`` and ``table 1-2 shift``, the latter in the deck's unit of length.

    Attributes
    ----------
    label : str
        ``table 1-2``.
    line, word : int
        Indices of the file name among the ``pair_coeff`` lines of the deck and the words of the line.
    section : TableSection
    suffix : str
        End of the name of a file with other values.
    """

    label: str
    line: int
    word: int
    section: TableSection
    suffix: str

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of the parameters; no shift of a table whose distances do not increase."""
        names = f"{self.label} scale", f"{self.label} shift"
        return names if self.section.increasing else names[:1]

    @property
    def values(self) -> FloatArray:
        """1 and 0."""
        return np.array([1.0, 0.0])[: len(self.names)]

    @property
    def linear(self) -> bool:
        """U is linear in the first only."""
        return len(self.names) == 1

    @property
    def elements(self) -> tuple[str | None, ...]:
        """Empty: the lines do not name elements."""
        return ()

    def edit(self, commands: PotentialCommands, values: FloatArray, stem: Path) -> dict[Path, str]:
        """Replace the file by one with another table: see `Source.edit`."""
        target = stem.with_name(f"{stem.name}.{self.suffix}")
        commands.change(self.line, self.word, str(target))
        return {target: self.section.text(float(values[0]), float(values[1]) if len(values) > 1 else 0.0)}


def from_deck(deck: Deck) -> list[TableFactors]:
    """Factors and shifts of the tables of a deck; of lines for the same types the last, which overrides the others.

    Raises
    ------
    PotentialError
        If a file is not found or not of this format.
    """
    last: dict[str, TableFactors] = {}
    for number, line in enumerate(deck.pair_coeffs):
        style, word = style_of(deck, line)
        if plain_style(style) == STYLE and len(line.args) > word + 1:
            section = TableSection.read(named_file(deck, line), line.args[word + 1])
            label = f"{style} {line.args[0]}-{line.args[1]}"
            last[label] = TableFactors(label, number, word, section, f"{number + 1}.{file_suffix(style)}")
    return list(last.values())


def _distances(settings: Sequence[str], found: FloatArray) -> FloatArray:
    """Distances of a table, (n,): evenly spaced in r or in r², if its settings say so, else as written."""
    for word, power in (("R", 1), ("RSQ", 2)):
        if word in settings:
            low, high = (float(bound) ** power for bound in settings[settings.index(word) + 1 :][:2])
            return np.asarray(np.linspace(low, high, len(found)) ** (1 / power))
    return found


def _sources(engine: Engine, patterns: Sequence[str]) -> list[TableFactors]:
    return engine.on_root(lambda: from_deck(engine.deck))


FAMILY = PotentialFamily(_sources, STYLE, order=60)
"""The family, as it is registered under ``lammps_implicit.potentials``."""
