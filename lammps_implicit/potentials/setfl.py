"""DYNAMO setfl files of tabulated embedded-atom potentials: https://docs.lammps.org/pair_eam.html

Also those of ``adp``, which have two more functions of each pair, of ``eam/he`` and of ``eam/cd``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.potentials.number_files import text_of

_PER_LINE = 5
"""Numbers per line of a table, as in the files that LAMMPS ships; any number may be read."""


@dataclass(frozen=True)
class Setfl:
    """Contents of a setfl file with E elements.

    Attributes
    ----------
    comments : tuple of str
        The three comment lines.
    elements : tuple of str
    grid : tuple of str
        Nρ, Δρ, Nr, Δr and the cutoff, as written; for ``eam/he`` also the largest density.
    heads : tuple of tuple of str
        Atomic number, mass, lattice parameter and lattice of each element, as written.
    embedding : (E, Nρ) float array
        Embedding functions F(ρ), eV in ``units metal``.
    densities : (E, Nr) or (E, E Nr) float array
        Electron densities ρ(r) of each element; of each element for each element of a neighbour in Finnis-Sinclair
        form.
    pairs : (E(E + 1)/2, Nr) float array
        r φ(r) of the pairs 1-1, 2-1, 2-2, 3-1, …, eV Å in ``units metal``.
    further : (F, E(E + 1)/2, Nr) float array
        Further functions of each pair: u(r) and w(r) of ``adp``.
    rest : tuple of str
        Words after that, such as the coefficients of ``eam/cd``.
    """

    comments: tuple[str, ...]
    elements: tuple[str, ...]
    grid: tuple[str, ...]
    heads: tuple[tuple[str, ...], ...]
    embedding: FloatArray
    densities: FloatArray
    pairs: FloatArray
    further: FloatArray
    rest: tuple[str, ...]

    @classmethod
    def read(cls, path: Path, finnis_sinclair: bool, further: int = 0, grid_words: int = 5) -> Setfl:
        """Read a file.

        Parameters
        ----------
        path : Path
        finnis_sinclair : bool
            Whether each element has a density for each element of a neighbour, as in ``eam/fs``.
        further : int
            Number of further functions of each pair.
        grid_words : int
            Number of words that describe the grid.

        Raises
        ------
        PotentialError
            If the file is not of this format.
        """
        try:
            lines = text_of(path).splitlines()
            elements, grid = tuple(lines[3].split()[1:]), tuple(lines[4].split()[:grid_words])
            n_rho, n_r, count = int(grid[0]), int(grid[2]), len(elements)
            words = [word for line in lines[5:] for word in line.partition("#")[0].split()]
            heads, rows = [], []
            block = n_rho + n_r * (count if finnis_sinclair else 1)
            for index in range(count):
                start = index * (block + 4)
                heads.append(tuple(words[start : start + 4]))
                rows.append(np.array(words[start + 4 : start + 4 + block], float))
            tables = np.stack(rows)
            start, kinds = count * (block + 4), count * (count + 1) // 2
            stop = start + (1 + further) * kinds * n_r
            functions = np.array(words[start:stop], float).reshape(1 + further, kinds, n_r)
            if not all(np.isfinite(table).all() for table in (tables, functions)):
                raise ValueError("it holds numbers that are not finite")
            if words[stop:] and (int(words[stop]) + 2 != len(words) - stop):
                raise ValueError(f"after its functions it has {len(words) - stop} words that are no coefficients")
        except (OSError, UnicodeDecodeError, ValueError, IndexError) as error:
            raise PotentialError(f"{path} is not a setfl file of an embedded-atom potential: {error}") from None
        embedding, densities = tables[:, :n_rho], tables[:, n_rho:]
        heading = tuple(lines[:3]), elements, grid, tuple(heads)
        return cls(*heading, embedding, densities, functions[0], functions[1:], tuple(words[stop:]))

    def text(self, embedding: FloatArray, pairs: FloatArray) -> str:
        """Text of the file with embedding functions, and functions of pairs, multiplied by factors.

        Parameters
        ----------
        embedding : (E,) float array
        pairs : (1 + F, E(E + 1)/2) float array
            Of the pair functions, and of each further function; or (E(E + 1)/2,) if there is none.
        """
        lines = [*self.comments, f"{len(self.elements)} {' '.join(self.elements)}", " ".join(self.grid)]
        for index, head in enumerate(self.heads):
            lines.append(" ".join(head))
            lines += _rows(embedding[index] * self.embedding[index])
            lines += _rows(self.densities[index])
        functions = np.concatenate([self.pairs[None], self.further])
        for factor, function in zip(pairs.reshape(-1), functions.reshape(-1, functions.shape[2]), strict=True):
            lines += _rows(factor * function)
        lines += [" ".join(self.rest)] if self.rest else []
        return "\n".join(lines) + "\n"


def _rows(values: FloatArray) -> list[str]:
    return [
        " ".join(repr(float(value)) for value in values[start : start + _PER_LINE])
        for start in range(0, len(values), _PER_LINE)
    ]
