"""Structures of cells that an inversion returns to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.minimum import Minimum
from lammps_implicit.mpi.ownership import fetch

ROUND_OFF_STRAIN = 1e-14
"""Strain below which two cells are the same: some tens of times the round-off of double precision."""


@dataclass(frozen=True)
class SavedStructure:
    """Positions of all atoms of a cell and its vectors, distributed over the ranks.

    Attributes
    ----------
    ids : (n,) int array
        Ids of the rows that this rank holds.
    positions : (n, 3) float array
        In LAMMPS' unit of length.
    vectors : (3, 3) float array
        Cell vectors as rows, in LAMMPS' unit of length.
    """

    ids: IntArray
    positions: FloatArray
    vectors: FloatArray

    @classmethod
    def of(cls, cell: Minimum) -> SavedStructure:
        """Save the present structure of a cell."""
        return cls(cell.ids.copy(), cell.positions.copy(), cell.engine.cell.copy())

    def displacement_from(self, cell: Minimum) -> tuple[FloatArray, FloatArray]:
        """Displacement and strain that take a cell to this structure, as `Minimum.excursion` takes them.

        Parameters
        ----------
        cell : Minimum

        Returns
        -------
        displacement : (n, 3) float array
            Of the atoms that this rank owns, along the shortest way; NaN for atoms that were not saved.
        strain : (3, 3) float array
        """
        engine = cell.engine
        strain = np.linalg.solve(engine.cell, self.vectors).T - np.eye(3)
        strain[np.abs(strain) < ROUND_OFF_STRAIN] = 0.0
        open_ = ~np.array(engine.periodic)
        strain[open_] = strain[:, open_] = 0.0  # there the size of the box has no meaning: it may follow the atoms
        homogeneous = (cell.positions - engine.origin) @ strain.T
        saved = fetch(engine.comm, self.ids, self.positions, cell.ids, missing=np.nan)
        return engine.nearest_image(saved - cell.positions - homogeneous) + homogeneous, strain
