"""DYNAMO setfl files of tabulated embedded-atom potentials: https://docs.lammps.org/pair_eam.html"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError

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
        Nρ, Δρ, Nr, Δr and the cutoff, as written.
    heads : tuple of tuple of str
        Atomic number, mass, lattice parameter and lattice of each element, as written.
    embedding : (E, Nρ) float array
        Embedding functions F(ρ), eV in ``units metal``.
    densities : (E, Nr) or (E, E Nr) float array
        Electron densities ρ(r) of each element; of each element for each element of a neighbour in Finnis-Sinclair
        form.
    pairs : (E(E + 1)/2, Nr) float array
        r φ(r) of the pairs 1-1, 2-1, 2-2, 3-1, …, eV Å in ``units metal``.
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
        """Read a file.

        Parameters
        ----------
        path : Path
        finnis_sinclair : bool
            Whether each element has a density for each element of a neighbour, as in ``eam/fs``.

        Raises
        ------
        PotentialError
            If the file is not of this format.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            elements, grid = tuple(lines[3].split()[1:]), tuple(lines[4].split()[:5])
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
            pairs = np.array(words[start : start + kinds * n_r], float).reshape(kinds, n_r)
        except (OSError, UnicodeDecodeError, ValueError, IndexError) as error:
            raise PotentialError(f"{path} is not a setfl file of an embedded-atom potential: {error}") from None
        return cls(tuple(lines[:3]), elements, grid, tuple(heads), tables[:, :n_rho], tables[:, n_rho:], pairs)

    def text(self, embedding: FloatArray, pairs: FloatArray) -> str:
        """Text of the file with embedding and pair functions multiplied by factors, (E,) and (E(E + 1)/2,)."""
        lines = [*self.comments, f"{len(self.elements)} {' '.join(self.elements)}", " ".join(self.grid)]
        for index, head in enumerate(self.heads):
            lines.append(" ".join(head))
            lines += _rows(embedding[index] * self.embedding[index])
            lines += _rows(self.densities[index])
        for index, factor in enumerate(pairs):
            lines += _rows(factor * self.pairs[index])
        return "\n".join(lines) + "\n"


def _rows(values: FloatArray) -> list[str]:
    return [
        " ".join(repr(float(value)) for value in values[start : start + _PER_LINE])
        for start in range(0, len(values), _PER_LINE)
    ]
