"""Tabulated embedded-atom potentials: factors of their embedding functions and pair functions as parameters.

M. S. Daw, M. I. Baskes, Phys. Rev. B 29, 6443 (1984); M. W. Finnis, J. E. Sinclair, Philos. Mag. A 50, 45 (1984).
Angular-dependent potentials (``adp``) have factors of their dipole functions u(r) and quadrupole functions w(r), too:
Y. Mishin, M. J. Mehl, D. A. Papaconstantopoulos, Acta Mater. 53, 4029 (2005).
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
from lammps_implicit.potentials.commands import PotentialCommands, elements_after, plain_style
from lammps_implicit.potentials.file_numbers import last_lines
from lammps_implicit.potentials.interface import PotentialFamily
from lammps_implicit.potentials.setfl import Setfl


@dataclass(frozen=True)
class Layout:
    """How the setfl file of a pair style is read: see `Setfl.read`."""

    finnis_sinclair: bool = False
    functions: tuple[str, ...] = ("pair",)
    grid_words: int = 5


STYLES = {
    "eam/alloy": Layout(),
    "eam/fs": Layout(finnis_sinclair=True),
    "eam/he": Layout(finnis_sinclair=True, grid_words=6),
    "eam/cd": Layout(),
    "eam/cd/old": Layout(),
    "adp": Layout(functions=("pair", "dipole", "quadrupole")),
}
"""Pair styles that read setfl files."""


@dataclass(frozen=True)
class EamFactors:
    """Factors of embedding functions and functions of pairs, all 1 in the deck. A `Source`.

    Their labels are ``eam/alloy embedding Cu`` and ``eam/alloy pair Cu-Ni``, ``adp dipole Ni-Ni``.

    Attributes
    ----------
    style : str
        Pair style; with its number, ``eam/alloy:2``, if the deck has it more than once.
    line, word : int
        Indices of the file name among the ``pair_coeff`` lines of the deck and the words of the line.
    functions : tuple of str
        Names of the functions of each pair.
    table : Setfl
    elements : tuple of (str or None)
        Element of each atom type.
    """

    style: str
    line: int
    word: int
    functions: tuple[str, ...]
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
            *(f"{self.style} {function} {names[a]}-{names[b]}" for function in self.functions for a, b in ends),
        )

    @property
    def values(self) -> FloatArray:
        """Ones, (Q,), dimensionless."""
        return np.ones(len(self.names))

    @property
    def linear(self) -> bool:
        """U is linear in factors of embedding and pair functions, and quadratic in all others."""
        return len(self.functions) == 1

    def edit(self, commands: PotentialCommands, values: FloatArray, stem: Path) -> dict[Path, str]:
        """Replace the file by one with scaled functions: see `Source.edit`."""
        present, pairs = self._used
        embedding, of_pairs = np.ones(len(self.table.elements)), np.ones((len(self.functions), len(self._pairs)))
        embedding[present] = values[: len(present)]
        of_pairs[:, pairs] = values[len(present) :].reshape(len(self.functions), len(pairs))
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
    found = []
    for number, line, style, word in last_lines(deck, tuple(STYLES)):
        layout = STYLES[plain_style(style)]
        path, further = named_file(deck, line), len(layout.functions) - 1
        table = Setfl.read(path, layout.finnis_sinclair, further, layout.grid_words)
        elements = elements_after(line.args[word + 1 :])
        found.append(EamFactors(style, number, word, layout.functions, table, elements))
    return found


def _sources(engine: Engine, patterns: Sequence[str]) -> list[EamFactors]:
    return engine.on_root(lambda: from_deck(engine.deck))


FAMILY = PotentialFamily(_sources, ", ".join(STYLES), order=40)
"""The family, as it is registered under ``lammps_implicit.potentials``."""
