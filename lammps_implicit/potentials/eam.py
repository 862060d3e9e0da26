"""Tabulated embedded-atom potentials: factors of their embedding functions and pair functions as parameters.

M. S. Daw, M. I. Baskes, Phys. Rev. B 29, 6443 (1984); M. W. Finnis, J. E. Sinclair, Philos. Mag. A 50, 45 (1984).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.potentials.coefficient_files import named_file
from lammps_implicit.potentials.commands import PotentialCommands, elements_after, plain_style, style_of
from lammps_implicit.potentials.interface import PotentialFamily
from lammps_implicit.potentials.setfl import Setfl

STYLES = ("eam/alloy", "eam/fs")
"""Pair styles that read setfl files."""


@dataclass(frozen=True)
class EamFactors:
    """Factors of embedding functions and pair functions, all 1 in the deck; U is linear in them. A `Source`.

    Their labels are ``eam/alloy embedding Cu`` and ``eam/alloy pair Cu-Ni``.

    Attributes
    ----------
    style : str
        Pair style; with its number, ``eam/alloy:2``, if the deck has it more than once.
    line, word : int
        Indices of the file name among the ``pair_coeff`` lines of the deck and the words of the line.
    table : Setfl
    elements : tuple of (str or None)
        Element of each atom type.
    """

    style: str
    line: int
    word: int
    table: Setfl
    elements: tuple[str | None, ...]

    @property
    def _used(self) -> tuple[list[int], list[int]]:
        """Indices of the elements and pairs that occur among the atom types."""
        present = [index for index, element in enumerate(self.table.elements) if element in self.elements]
        return present, [k for k, (a, b) in enumerate(self._pairs) if a in present and b in present]

    @property
    def _pairs(self) -> list[tuple[int, int]]:
        return [(a, b) for a in range(len(self.table.elements)) for b in range(a + 1)]

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of the factors, embedding functions first."""
        present, pairs = self._used
        names = self.table.elements
        ends = [(self._pairs[k][1], self._pairs[k][0]) for k in pairs]
        return (
            *(f"{self.style} embedding {names[index]}" for index in present),
            *(f"{self.style} pair {names[a]}-{names[b]}" for a, b in ends),
        )

    @property
    def values(self) -> FloatArray:
        """Ones, (Q,), dimensionless."""
        return np.ones(len(self.names))

    @property
    def linear(self) -> bool:
        """U is linear in all of them."""
        return True

    def edit(self, commands: PotentialCommands, values: FloatArray, stem: Path) -> dict[Path, str]:
        """Replace the file by one with scaled functions: see `Source.edit`."""
        present, pairs = self._used
        embedding, of_pairs = np.ones(len(self.table.elements)), np.ones(len(self.table.pairs))
        embedding[present], of_pairs[pairs] = values[: len(present)], values[len(present) :]
        target = stem.with_name(f"{stem.name}.{self.style.replace('/', '.').replace(':', '')}")
        commands.change(self.line, self.word, str(target))
        return {target: self.table.text(embedding, of_pairs)}


def from_deck(deck: Deck) -> list[EamFactors]:
    """Factors of the setfl files of a deck: for each style, of the file that its last ``pair_coeff`` line names.

    Raises
    ------
    PotentialError
        If a file is not found or not a setfl file.
    """
    last: dict[str, EamFactors] = {}
    for number, line in enumerate(deck.pair_coeffs):
        style, word = style_of(deck, line)
        plain = plain_style(style)
        if plain in STYLES:
            table = Setfl.read(named_file(deck, line), plain == "eam/fs")
            last[style] = EamFactors(style, number, word, table, elements_after(line.args[word + 1 :]))
    return list(last.values())


def _sources(engine: Engine, patterns: Sequence[str]) -> list[EamFactors]:
    return engine.on_root(lambda: from_deck(engine.deck))


FAMILY = PotentialFamily(_sources, ", ".join(STYLES), order=40)
"""The family, as it is registered under ``lammps_implicit.potentials``."""
