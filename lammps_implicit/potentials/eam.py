"""Tabulated embedded-atom potentials: factors of their embedding functions and pair functions.

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
from lammps_implicit.potentials.commands import PairCommands, elements_after, plain_style, style_of
from lammps_implicit.potentials.interface import PotentialFamily
from lammps_implicit.potentials.setfl import Setfl

STYLES = ("eam/alloy", "eam/fs")


@dataclass(frozen=True)
class EamFactors:
    """Factors of embedding functions and pair functions, all 1 in the deck: U is linear in them.

    Labels are ``eam/alloy embedding Cu`` and ``eam/alloy pair Cu-Ni``.

    Attributes
    ----------
    style : str
        With its number, ``eam/alloy:2``, where the deck has it more than once.
    line, word : int
        Where the deck names the file.
    table : Setfl
    elements : tuple of (str or None)
        Of each atom type.
    """

    style: str
    line: int
    word: int
    table: Setfl
    elements: tuple[str | None, ...]

    @property
    def _used(self) -> tuple[list[int], list[int]]:
        """Indices of the elements and pairs that atom types have."""
        present = [index for index, element in enumerate(self.table.elements) if element in self.elements]
        return present, [k for k, (a, b) in enumerate(self._pairs) if a in present and b in present]

    @property
    def _pairs(self) -> list[tuple[int, int]]:
        return [(a, b) for a in range(len(self.table.elements)) for b in range(a + 1)]

    @property
    def names(self) -> tuple[str, ...]:
        present, pairs = self._used
        names = self.table.elements
        ends = [(self._pairs[k][1], self._pairs[k][0]) for k in pairs]
        return (
            *(f"{self.style} embedding {names[index]}" for index in present),
            *(f"{self.style} pair {names[a]}-{names[b]}" for a, b in ends),
        )

    @property
    def values(self) -> FloatArray:
        return np.ones(len(self.names))

    @property
    def linear(self) -> bool:
        return True

    def edit(self, commands: PairCommands, values: FloatArray, stem: Path) -> dict[Path, str]:
        """Name a file with the functions scaled in the deck's line."""
        present, pairs = self._used
        embedding, of_pairs = np.ones(len(self.table.elements)), np.ones(len(self.table.pairs))
        embedding[present], of_pairs[pairs] = values[: len(present)], values[len(present) :]
        target = stem.with_name(f"{stem.name}.{self.style.replace('/', '.').replace(':', '')}")
        commands.change(self.line, self.word, str(target))
        return {target: self.table.text(embedding, of_pairs)}


def from_deck(deck: Deck) -> list[EamFactors]:
    """Factors of the files of ``eam/alloy`` and ``eam/fs`` that the deck names last for each style.

    Raises
    ------
    PotentialError
        If a file is not found or not of its form.
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
