"""Tabulated embedded-atom potentials: factors of their embedding and pair parts, written into files of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.files import written_whole
from lammps_implicit.potentials.commands import PairCommands, found, style_of

STYLES = ("eam/alloy", "eam/fs")

PER_LINE = 5


@dataclass(frozen=True)
class Setfl:
    """A DYNAMO ``setfl`` file: embedding functions and densities of each element, and r φ(r) of each pair.

    Attributes
    ----------
    comments : tuple of str
        Three lines.
    elements : tuple of str
    grid : tuple of str
        Nρ, Δρ, Nr, Δr and the cutoff, as written.
    heads : tuple of tuple of str
        Of each element: number, mass, lattice parameter and type.
    embedding : (E, Nρ) float array
    densities : (E, …) float array
    pairs : (E(E + 1)/2, Nr) float array
        1-1, 2-1, 2-2, 3-1, …
    """

    comments: tuple[str, ...]
    elements: tuple[str, ...]
    grid: tuple[str, ...]
    heads: tuple[tuple[str, ...], ...]
    embedding: FloatArray
    densities: FloatArray
    pairs: FloatArray

    @classmethod
    def read(cls, path: Path, finnis_sinclair: bool) -> Setfl:
        """Read a file; in one of Finnis-Sinclair's form each element has a density for each neighbour.

        Raises
        ------
        PotentialError
            If it is not of this form.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            elements, grid = tuple(lines[3].split()[1:]), tuple(lines[4].split()[:5])
            n_rho, n_r, count = int(grid[0]), int(grid[2]), len(elements)
            words = [word for line in lines[5:] for word in line.split()]
            heads, rows = [], []
            block = n_rho + n_r * (count if finnis_sinclair else 1)
            for index in range(count):
                start = index * (block + 4)
                heads.append(tuple(words[start : start + 4]))
                rows.append(np.array(words[start + 4 : start + 4 + block], float))
            tables = np.stack(rows)
            start, kinds = count * (block + 4), count * (count + 1) // 2
            pairs = np.array(words[start : start + kinds * n_r], float).reshape(kinds, n_r)
        except (OSError, UnicodeDecodeError, ValueError, IndexError) as error:
            raise PotentialError(f"{path} is not a setfl file of an embedded-atom potential: {error}") from None
        return cls(tuple(lines[:3]), elements, grid, tuple(heads), tables[:, :n_rho], tables[:, n_rho:], pairs)

    def text(self, embedding: FloatArray, pairs: FloatArray) -> str:
        """The file with its embedding functions and pair functions scaled, by (E,) and (E(E + 1)/2,) factors."""
        lines = [*self.comments, f"{len(self.elements)} {' '.join(self.elements)}", " ".join(self.grid)]
        for index, head in enumerate(self.heads):
            lines.append(" ".join(head))
            lines += _rows(embedding[index] * self.embedding[index])
            lines += _rows(self.densities[index])
        for index, factor in enumerate(pairs):
            lines += _rows(factor * self.pairs[index])
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class EamFactors:
    """Factors, all one in the deck: ``eam/alloy embedding Cu``, ``eam/alloy pair Cu-Ni``. U is linear in them.

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
        """Elements and pairs that atom types have."""
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

    def edit(self, commands: PairCommands, values: FloatArray, stem: Path) -> None:
        """Write the file with its functions scaled, and name it in the deck's line."""
        present, pairs = self._used
        embedding, of_pairs = np.ones(len(self.table.elements)), np.ones(len(self.table.pairs))
        embedding[present], of_pairs[pairs] = values[: len(present)], values[len(present) :]
        target = stem.with_name(f"{stem.name}.{self.style.replace('/', '.').replace(':', '')}")
        with written_whole(target, overwrite=True) as temporary:
            temporary.write_text(self.table.text(embedding, of_pairs), encoding="utf-8")
        commands.change(self.line, self.word, str(target))


def from_deck(deck: Deck) -> Iterator[EamFactors]:
    """Files of ``eam/alloy`` and ``eam/fs`` that the deck declares.

    Raises
    ------
    PotentialError
        If one is not what it should be.
    """
    last: dict[str, EamFactors] = {}
    for number, line in enumerate(deck.pair_coeffs):
        style, word = style_of(deck, line)
        plain = style.partition(":")[0].removesuffix("/omp").removesuffix("/opt")
        if plain not in STYLES:
            continue
        path = Path(found(line.args[word], line.directory)) if word < len(line.args) else Path()
        if not path.is_file():
            raise PotentialError(f"pair_coeff {' '.join(line.args)}: the file of {plain} is not found")
        named = tuple(None if name == "NULL" else name for name in line.args[word + 1 :])
        last[style] = EamFactors(style, number, word, Setfl.read(path, plain == "eam/fs"), named)
    yield from last.values()


def _rows(values: FloatArray) -> list[str]:
    return [
        " ".join(repr(float(value)) for value in values[start : start + PER_LINE])
        for start in range(0, len(values), PER_LINE)
    ]
