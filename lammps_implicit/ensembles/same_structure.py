"""Whether a sample that was relaxed again is still the structure that its derivatives were taken of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.continuation.neighbours import NeighbourGraph
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.stationary.point import StationaryPoint

NEAR = 0.7
"""Shortest distance of two atoms, relative to that at the reference, below which the structure has collapsed. Chosen:
no potential is fitted for pairs compressed by a third."""

FAR = 0.4
"""Displacement beyond the homogeneous strain, in units of the mean nearest-neighbour distance, above which an atom has
left its place. Chosen: just below half the way to the next site."""

SWELL = 1.5
"""Ratio of volumes beyond which the cell has left its minimum. Chosen: lengths then differ by a seventh."""


@dataclass(frozen=True)
class Structure:
    """A structure at the reference of a cell, to be compared with what a relaxation leads to.

    Attributes
    ----------
    graph : NeighbourGraph
    ids : (n,) int array
        Of this rank's atoms.
    positions : (n, 3) float array
        Å.
    vectors : (3, 3) float array
        Cell vectors as rows, Å.
    origin : (3,) float array
        Corner of the cell, Å.
    """

    graph: NeighbourGraph
    ids: IntArray
    positions: FloatArray
    vectors: FloatArray
    origin: FloatArray

    @classmethod
    def of(cls, cell: StationaryPoint) -> Structure:
        """The present structure of a cell."""
        engine = cell.engine
        vectors, origin = engine.cell.copy(), engine.origin.copy()
        return cls(NeighbourGraph.of(engine), cell.ids.copy(), cell.positions.copy(), vectors, origin)

    def strain(self, engine: Evaluator) -> FloatArray:
        """Homogeneous strain of the cell since, (3, 3); zero where it is not periodic, and may follow its atoms."""
        strain = np.linalg.solve(self.vectors, engine.cell).T - np.eye(3)
        open_ = ~np.array(engine.periodic)
        strain[open_] = strain[:, open_] = 0.0
        return np.asarray(strain)

    def moved(self, cell: StationaryPoint) -> float:
        """Largest displacement of an atom since, beyond the homogeneous strain of the cell, Å."""
        engine = cell.engine
        start = fetch(engine.comm, self.ids, self.positions, cell.ids)
        strained = start + (start - self.origin) @ self.strain(engine).T
        moved = engine.nearest_image(cell.positions - strained)
        return engine.max(float(np.linalg.norm(moved, axis=1).max(initial=0.0)))

    def difference(self, cell: StationaryPoint) -> str:
        """Describe in what the present structure of a cell is another one; empty if it is the same."""
        before, now, moved = self.graph, NeighbourGraph.of(cell.engine), self.moved(cell)
        swollen = float(np.linalg.det(np.eye(3) + self.strain(cell.engine)))
        if now.shortest < NEAR * before.shortest:
            return f"it collapsed: two atoms are {now.shortest:.2f} Å apart, at least {before.shortest:.2f} Å before"
        if not 1 / SWELL < swollen < SWELL:
            return f"its cell is another one: the volume is {swollen:.2f} times what it was"
        if change := before.change_to(now, cell.engine):
            return change
        if moved > FAR * before.spacing:
            return f"an atom left its place: it moved by {moved:.2f} Å"
        return ""
