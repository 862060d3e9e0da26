"""DYNAMO ``setfl`` files of tabulated embedded-atom potentials: https://docs.lammps.org/pair_eam.html"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError

PER_LINE = 5
"""Numbers on a line of a table."""


@dataclass(frozen=True)
class Setfl:
    """Embedding functions and densities of each element, and r φ(r) of each pair.

    Attributes
    ----------
    comments : tuple of str
        Three lines.
    elements : tuple of str
    grid : tuple of str
        Nρ, Δρ, Nr, Δr and the cutoff, as written.
    heads : tuple of tuple of str
        Of each element: atomic number, mass, lattice parameter and lattice, as written.
    embedding : (E, Nρ) float array
        eV in ``units metal``.
    densities : (E, Nr) or (E, E Nr) float array
        The second in Finnis-Sinclair's form.
    pairs : (E(E + 1)/2, Nr) float array
        r φ(r), eV Å in ``units metal``: 1-1, 2-1, 2-2, 3-1, …
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
            Whether each element has a density for each element of a neighbour, as for ``eam/fs``.

        Raises
        ------
        PotentialError
            If it is not of this form.
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
        """Text of the file with embedding functions and pair functions scaled, by (E,) and (E(E + 1)/2,) factors."""
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
        " ".join(repr(float(value)) for value in values[start : start + PER_LINE])
        for start in range(0, len(values), PER_LINE)
    ]
