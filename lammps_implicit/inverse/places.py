"""Structures to come back to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.minimum import Minimum
from lammps_implicit.mpi.ownership import fetch

SAME = 1e-14
"""Strain that round-off leaves."""


@dataclass(frozen=True)
class Place:
    """Where all atoms of a cell are; every atom has a row on some rank.

    Attributes
    ----------
    ids : (n,) int array
        Of the rows that this rank holds.
    positions : (n, 3) float array
        Å.
    vectors : (3, 3) float array
        Cell vectors as rows, Å.
    """

    ids: NDArray[np.int64]
    positions: FloatArray
    vectors: FloatArray

    @classmethod
    def of(cls, cell: Minimum) -> Place:
        """Where a cell stands."""
        return cls(cell.ids.copy(), cell.positions.copy(), cell.engine.cell.copy())

    def way_from(self, cell: Minimum) -> tuple[FloatArray, FloatArray]:
        """Displacement of this rank's atoms, (n, 3), and strain, (3, 3), that lead there: as `excursion` takes them.

        Not a number for atoms that have no row.
        """
        engine = cell.engine
        strain = np.linalg.solve(engine.cell, self.vectors).T - np.eye(3)
        strain[np.abs(strain) < SAME] = 0.0
        open_ = ~np.array(engine.periodic)
        strain[open_] = strain[:, open_] = 0.0  # along these the box follows the atoms, or holds nothing
        carried = (cell.positions - engine.origin) @ strain.T
        wanted = fetch(engine.comm, self.ids, self.positions, cell.ids, missing=np.nan)
        return engine.nearest_image(wanted - cell.positions - carried) + carried, strain
