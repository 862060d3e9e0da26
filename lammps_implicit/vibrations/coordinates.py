"""Mass-weighted coordinates: orthonormal displacements q, in which the dynamical matrix D is symmetric.

Displacements are u = B M⁻¹ᐟ² q. The columns of B are the displacements that atoms can make, each by one component or
by one of a group that moves as one; M = Bᵀ diag(m) B is diagonal, and D = M⁻¹ᐟ² BᵀHB M⁻¹ᐟ². Rows of q are in the order
of atom ids, so that they are the same on any number of ranks.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.vibrations.masses import atom_masses


class MassWeighted:
    """Mass-weighted coordinates of a small cell: every rank holds vectors of all M components.

    Parameters
    ----------
    engine : Evaluator

    Attributes
    ----------
    size : int
        M, the number of displacements that atoms can make independently.
    ids : (N,) int array
        All ids, sorted.
    columns : (N, 3) int array
        Component of q that each atom's displacement belongs to, by the place of its id; -1 where it is held.
    masses : (N,) float array
        By the place of the id.
    """

    def __init__(self, engine: Evaluator) -> None:
        self.engine = engine
        comm = engine.comm
        self.ids: IntArray = np.sort(np.concatenate(comm.allgather(engine.ids)))
        places = np.searchsorted(self.ids, engine.ids)
        alone = np.zeros((len(self.ids), 3), bool)
        alone[places] = engine.alone
        alone = np.asarray(engine.sum(alone.astype(np.int64))) > 0
        self.columns = np.where(alone, np.cumsum(alone).reshape(alone.shape) - 1, -1)
        first = int(alone.sum())
        numbers = 1 + np.flatnonzero(engine.together_counts)
        for place, number in enumerate(numbers):
            members = np.zeros(alone.shape, np.int64)
            members[places] = (engine.together == number) & engine.free
            self.columns[np.asarray(engine.sum(members)) > 0] = first + place
        self.size = first + len(numbers)
        counts = np.bincount(self.columns[self.columns >= 0], minlength=self.size)
        masses = np.zeros(len(self.ids))
        masses[places] = atom_masses(engine)
        self.masses = masses = np.asarray(engine.sum(masses))
        of_components = np.broadcast_to(masses[:, None], self.columns.shape)[self.columns >= 0]
        heaviness = np.bincount(self.columns[self.columns >= 0], of_components, self.size) / np.maximum(counts, 1)
        self.roots = np.sqrt(heaviness)
        mine = self.columns[places].reshape(-1)
        rows = np.flatnonzero(mine >= 0)
        self._basis = sparse.csc_matrix(
            (counts[mine[rows]] ** -0.5, (rows, mine[rows])), shape=(3 * len(engine.ids), self.size)
        )

    def displacement(self, q: FloatArray) -> FloatArray:
        """Displacement u of this rank's atoms, (n, 3), Å, of a vector q, (M,)."""
        return np.asarray(self._basis @ (q / self.roots)).reshape(-1, 3)

    def of_force(self, force: FloatArray) -> FloatArray:
        """Component of a force f, (n, 3), along each coordinate: M⁻¹ᐟ² Bᵀ f, (M,), of all ranks."""
        return np.asarray(self.engine.sum(self._basis.T @ force.reshape(-1))) / self.roots

    def of_displacement(self, u: FloatArray) -> FloatArray:
        """Coordinates M¹ᐟ² Bᵀ u of a displacement, (n, 3), that atoms can make: (M,)."""
        return np.asarray(self.engine.sum(self._basis.T @ u.reshape(-1))) * self.roots

    def local(self, vectors: FloatArray) -> FloatArray:
        """This rank's part B q of each of k vectors (M, k) without weights: (k, n, 3), orthonormal over all ranks."""
        return np.asarray(self._basis @ vectors).T.reshape(vectors.shape[1], -1, 3)
