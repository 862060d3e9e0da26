"""Bends: the stiffness of angles between bonds, beside that of springs along and across pairs.

    K = Σ_angles k_θ (∂θ/∂x)(∂θ/∂x)ᵀ

over the angles at atoms with two to four neighbours, as in molecules and open networks, which springs between pairs
alone do not describe where bonds and angles are about equally stiff. One stiffness k_θ ≥ 0 is fitted for each
combination of types. Atoms with more neighbours, as in metals, have no bends: their springs hold angles too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.evaluators.interface import Evaluator, Neighbourhood
from lammps_implicit.mpi.ownership import fetch

_NEIGHBOURS = 1.5
"""Distance of an atom's neighbours, in units of that of its nearest one. Chosen: C-C bonds beside C-H bonds are 1.41 of
these, next-nearest atoms across a tetrahedral angle 1.63."""

_MOST = 4
"""Neighbours of an atom up to which it has bends: those of a carbon atom."""

CHUNK = 16_384
"""Atoms whose neighbours are looked for at a time; bounds memory, with negligible overhead per chunk."""

_STRAIGHT = 0.05
"""Sine of an angle below which it counts as straight: θ is not smooth there."""


@dataclass(frozen=True)
class Bends:
    """Angles with at least one atom owned by this rank.

    Attributes
    ----------
    around : Neighbourhood
        Owned and ghost atoms.
    atoms : (m, 3) int array
        Indices into `around`: the atom at the apex, and those at both ends.
    kinds : (m,) int array
        Number of the combination of types.
    n_kinds : int
        Number of combinations on all ranks.
    rows, angles, roles : (q,) int arrays
        For each owned atom in each angle, sorted by atom: the atom, the angle, and its column of `atoms`.
    """

    around: Neighbourhood
    atoms: NDArray[np.int32]
    kinds: IntArray
    n_kinds: int
    rows: IntArray
    angles: IntArray
    roles: IntArray

    def part(self, atoms: slice) -> slice:
        """Slice of `rows` for a slice of the owned atoms."""
        low, high = np.searchsorted(self.rows, (atoms.start, atoms.stop))
        return slice(int(low), int(high))

    def gradients(self, angles: IntArray) -> FloatArray:
        """∂θ/∂x of the three atoms of some angles, (m, 3, 3), rad/Å."""
        apex, first, second = (self.around.positions[self.atoms[angles, role]] for role in range(3))
        (u, a), (v, b) = _unit(first - apex), _unit(second - apex)
        cosine = np.einsum("ma,ma->m", u, v)[:, None]
        sine = np.sqrt(1 - cosine**2)
        ends = (cosine * u - v) / (sine * a), (cosine * v - u) / (sine * b)
        return np.stack([-ends[0] - ends[1], *ends], axis=1)

    def design_matrix(self, atoms: slice, values: FloatArray) -> sparse.csr_matrix:
        """K w of some owned atoms for unit stiffness of each kind, (3 · number of atoms, n_kinds).

        Rows: the x components of all atoms, then y, then z.

        Parameters
        ----------
        atoms : slice
            Of the owned atoms.
        values : (n_owned + n_ghost, 3) float array
            w.
        """
        part = self.part(atoms)
        angles, count = self.angles[part], atoms.stop - atoms.start
        gradients = self.gradients(angles)
        change = np.einsum("mra,mra->m", gradients, values[self.atoms[angles]])
        forces = change[:, None] * gradients[np.arange(len(angles)), self.roles[part]]
        rows = (self.rows[part] - atoms.start)[:, None] + count * np.arange(3)
        columns = np.repeat(self.kinds[angles], 3)
        return sparse.csr_matrix((forces.ravel(), (rows.ravel(), columns)), shape=(3 * count, self.n_kinds))

    def blocks(self, atoms: slice, stiffness: FloatArray) -> Iterator[tuple[IntArray, IntArray, FloatArray]]:
        """Yield the blocks of K in the rows of some owned atoms: rows (q,), columns (q,), blocks (q, 3, 3).

        Parameters
        ----------
        atoms : slice
            Of the owned atoms.
        stiffness : (n_kinds,) float array
            k_θ.
        """
        part = self.part(atoms)
        angles = self.angles[part]
        gradients = self.gradients(angles)
        own = stiffness[self.kinds[angles]][:, None] * gradients[np.arange(len(angles)), self.roles[part]]
        for role in range(3):
            yield self.rows[part], self.atoms[angles, role], own[:, :, None] * gradients[:, role, None, :]


def find_bends(engine: Evaluator, around: Neighbourhood) -> Bends:
    """Find all angles at atoms with two to four neighbours.

    Parameters
    ----------
    engine : Evaluator
    around : Neighbourhood
    """
    owned, radius = len(engine.ids), _bond_radius(engine, around)
    tree = cKDTree(around.positions)
    centres = np.flatnonzero(radius)
    pairs = cKDTree(around.positions[centres]).sparse_distance_matrix(
        tree, float(radius.max(initial=0.0)), output_type="ndarray"
    )
    pairs = pairs[(pairs["v"] > 0) & (pairs["v"] <= radius[centres[pairs["i"]]])]
    pairs = pairs[np.argsort(pairs["i"], kind="stable")]
    first = np.searchsorted(pairs["i"], np.arange(len(centres)))
    count = np.bincount(pairs["i"], minlength=len(centres))
    found = [np.zeros((0, 3), np.int64)]
    for a in range(_MOST):
        for b in range(a + 1, _MOST):
            at = np.flatnonzero(count > b)
            found.append(np.stack([centres[at], pairs["j"][first[at] + a], pairs["j"][first[at] + b]], axis=1))
    atoms = np.concatenate(found)
    apex, left, right = (around.positions[column] for column in atoms.T)
    near = np.linalg.norm(left - right, axis=1) <= around.reach  # so that the ranks of all three atoms see it
    bent = np.linalg.norm(np.cross(_unit(left - apex)[0], _unit(right - apex)[0]), axis=1) > _STRAIGHT
    atoms = atoms[near & bent & (atoms < owned).any(axis=1)].astype(np.int32)
    types = around.types[atoms]
    base = engine.n_types + 1
    labels = (types[:, 0] * base + types[:, 1:].min(axis=1)) * base + types[:, 1:].max(axis=1)
    known = np.unique(np.concatenate(engine.comm.allgather(np.unique(labels))))
    angles, roles = np.nonzero(atoms < owned)
    order = np.argsort(atoms[angles, roles], kind="stable")
    angles, roles = angles[order], roles[order]
    return Bends(around, atoms, np.searchsorted(known, labels), len(known), atoms[angles, roles], angles, roles)


def _bond_radius(engine: Evaluator, around: Neighbourhood) -> FloatArray:
    """Distance within which the neighbours of each atom lie, (n_owned + n_ghost,), Å; zero for atoms without bends."""
    owned, tree = len(engine.ids), cKDTree(around.positions)
    radius = np.zeros(owned)
    for first in range(0, owned, CHUNK):
        part = slice(first, min(first + CHUNK, owned))
        distances = tree.query(around.positions[part], k=_MOST + 2)[0][:, 1:]
        within = _NEIGHBOURS * distances[:, 0]
        count = np.count_nonzero(distances <= within[:, None], axis=1)
        radius[part] = np.where((count >= 2) & (count <= _MOST) & (within <= around.reach), within, 0.0)
    return fetch(engine.comm, engine.ids, radius, around.ids)


def _unit(vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Unit vectors, (m, 3), and lengths, (m, 1)."""
    lengths = np.linalg.norm(vectors, axis=1)[:, None]
    return vectors / lengths, lengths
