"""Embedded-atom potentials of one element a file (``eam``): factors of embedding functions and effective charges.

S. M. Foiles, M. I. Baskes, M. S. Daw, Phys. Rev. B 33, 7983 (1986); https://docs.lammps.org/pair_eam.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.potentials.coefficient_files import named_file
from lammps_implicit.potentials.commands import PotentialCommands, plain_style, style_of
from lammps_implicit.potentials.file_numbers import file_suffix
from lammps_implicit.potentials.interface import PotentialFamily
from lammps_implicit.potentials.number_files import NumberFile, Reader, Span, require_numbers

STYLE = "eam"
"""The pair style."""


@dataclass(frozen=True)
class FuncflFactors:
    """Factors of the functions of one element, both 1 in the deck. A `Source`.

    ``eam Cu_u3 embedding`` multiplies F(ρ), ``eam Cu_u3 charge`` the effective charge Z(r): the pair function of like
    atoms, Z²/r, goes with its square, and that of unlike atoms, Z_i Z_j/r, with itself.

    Attributes
    ----------
    style : str
        Pair style; with its number if the deck has it more than once.
    path : Path
        The file.
    places : tuple of (int, int)
        Indices of its name: among the ``pair_coeff`` lines of the deck, and the words of the line.
    lines : tuple of str
        The file, with line ends.
    embedding, charge : tuple of (int, int, int)
        Where the numbers of each function stand.
    """

    style: str
    path: Path
    places: tuple[tuple[int, int], ...]
    lines: tuple[str, ...]
    embedding: tuple[Span, ...]
    charge: tuple[Span, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of the factors."""
        return f"{self.style} {self.path.stem} embedding", f"{self.style} {self.path.stem} charge"

    @property
    def values(self) -> FloatArray:
        """Ones, (2,), dimensionless."""
        return np.ones(2)

    @property
    def linear(self) -> bool:
        """U is linear in the first only."""
        return False

    @property
    def elements(self) -> tuple[str | None, ...]:
        """Empty: the lines do not name elements."""
        return ()

    def edit(self, commands: PotentialCommands, values: FloatArray, stem: Path) -> dict[Path, str]:
        """Replace the file by one with scaled functions: see `Source.edit`."""
        target = stem.with_name(f"{stem.name}.{self.path.stem}.{file_suffix(self.style)}")
        for line, word in self.places:
            commands.change(line, word, str(target))
        file = NumberFile(self.lines, self.embedding + self.charge, ())
        factors = np.repeat(values, [len(self.embedding), len(self.charge)])
        return {target: file.text(factors * file.values)}


def from_deck(deck: Deck) -> list[FuncflFactors]:
    """Factors of each funcfl file of a deck.

    Raises
    ------
    PotentialError
        If a file is not found or not a funcfl file.
    """
    files: dict[tuple[str, Path], list[tuple[int, int]]] = {}
    for number, line in enumerate(deck.pair_coeffs):
        style, word = style_of(deck, line)
        if plain_style(style) == STYLE:
            files.setdefault((style, named_file(deck, line)), []).append((number, word))
    return [_read(style, path, tuple(places)) for (style, path), places in files.items()]


def _read(style: str, path: Path, places: tuple[tuple[int, int], ...]) -> FuncflFactors:
    reader = Reader(path)
    spans = [(row, word.start(), word.end()) for row, words in reader.rows() if row > 1 for word in words]
    words = [reader.lines[row][start:stop] for row, start, stop in spans[:5]]
    try:
        n_rho, n_r = int(words[0]), int(words[2])
    except (ValueError, IndexError):
        raise PotentialError(f"{path}, line 3: Nρ, Δρ, Nr, Δr and a cutoff are expected") from None
    embedding, charge = spans[5 : 5 + n_rho], spans[5 + n_rho : 5 + n_rho + n_r]
    if len(spans) < 5 + n_rho + 2 * n_r:
        raise PotentialError(f"{path}: {len(spans) - 5} numbers, expected {n_rho} F(ρ), {n_r} Z(r), {n_r} ρ(r)")
    require_numbers(path, reader.lines, embedding + charge)
    return FuncflFactors(style, path, places, reader.lines, tuple(embedding), tuple(charge))


def _sources(engine: Engine, patterns: Sequence[str]) -> list[FuncflFactors]:
    return engine.on_root(lambda: from_deck(engine.deck))


FAMILY = PotentialFamily(_sources, STYLE, order=41)
"""The family, as it is registered under ``lammps_implicit.potentials``."""
