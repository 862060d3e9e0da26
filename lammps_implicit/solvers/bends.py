"""Bends: the stiffness of angles between bonds, beside that of springs along and across pairs.

    K = Σ_angles k_θ (∂θ/∂x)(∂θ/∂x)ᵀ

over the angles at atoms with two to four neighbours, as in molecules and open networks, which springs between pairs
alone do not describe where bonds and angles are about equally stiff. One stiffness k_θ ≥ 0 is fitted for each
combination of types. Atoms with more neighbours, as in metals, have no bends: their springs hold angles too.

Twists are the same for dihedral angles, over the chains of four atoms about the bonds between such atoms. They hold
molecules flat, or in their conformation.
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

_NEIGHBOURS = 1.45
"""Distance of an atom's neighbours, in units of that of its nearest one. Chosen: C-C bonds beside C-H bonds are 1.41 of
these, short hydrogen bonds beside O-H bonds 1.48, next-nearest atoms across a tetrahedral angle 1.63. Measured for 64
waters, one of which has such a hydrogen bond: 23 iterations, 30 if it counts as a neighbour."""

_MOST = 4
"""Neighbours of an atom up to which it has bends: those of a carbon atom."""

CHUNK = 16_384
"""Atoms whose neighbours are looked for at a time; bounds memory, with negligible overhead per chunk."""

_STRAIGHT = 0.05
"""Sine of an angle below which it counts as straight: θ is not smooth there."""


_TOO_STRAIGHT = 0.3
"""Sine of the angles of a twist below which it is left out: its gradient grows as the inverse."""


@dataclass(frozen=True)
class Bends:
    """Angles, or dihedral angles, with at least one atom owned by this rank.

    Attributes
    ----------
    around : Neighbourhood
        Owned and ghost atoms.
    atoms : (m, 3) or (m, 4) int array
        Indices into `around`: the atom at the apex, and those at both ends; of a twist, the four along it.
    kinds : (m,) int array
        Number of the combination of types.
    labels : (n_kinds,) int array
        The combinations on all ranks, sorted.
    rows, angles, roles : (q,) int arrays
        For each owned atom in each angle, sorted by atom: the atom, the angle, and its column of `atoms`.
    """

    around: Neighbourhood
    atoms: NDArray[np.int32]
    kinds: IntArray
    labels: IntArray
    rows: IntArray
    angles: IntArray
    roles: IntArray

    @property
    def n_kinds(self) -> int:
        """Number of combinations of types on all ranks."""
        return len(self.labels)

    def carried(self, stiffness: FloatArray, of: Bends) -> FloatArray:
        """Stiffness of each kind, (n_kinds,), where that of other angles, found elsewhere, is known; zero if not.

        Parameters
        ----------
        stiffness : (of.n_kinds,) float array
        of : Bends
        """
        known = dict(zip(of.labels.tolist(), stiffness.tolist(), strict=True))
        return np.array([known.get(label, 0.0) for label in self.labels.tolist()])

    def part(self, atoms: slice) -> slice:
        """Slice of `rows` for a slice of the owned atoms."""
        low, high = np.searchsorted(self.rows, (atoms.start, atoms.stop))
        return slice(int(low), int(high))

    def gradients(self, angles: IntArray) -> FloatArray:
        """∂θ/∂x of the three or four atoms of some angles, (m, 3, 3) or (m, 4, 3), rad/Å."""
        if self.atoms.shape[1] == 4:
            return _twist_gradients(*(self.around.positions[self.atoms[angles, role]] for role in range(4)))
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
        for role in range(self.atoms.shape[1]):
            yield self.rows[part], self.atoms[angles, role], own[:, :, None] * gradients[:, role, None, :]


def find_bends(engine: Evaluator, around: Neighbourhood) -> Bends:
    """Find all angles at atoms with two to four neighbours.

    Parameters
    ----------
    engine : Evaluator
    around : Neighbourhood
    """
    centres, first, count, ends = _neighbours(engine, around)
    found = [np.zeros((0, 3), np.int64)]
    for a in range(_MOST):
        for b in range(a + 1, _MOST):
            at = np.flatnonzero(count > b)
            found.append(np.stack([centres[at], ends[first[at] + a], ends[first[at] + b]], axis=1))
    atoms = np.concatenate(found)
    apex, left, right = (around.positions[column] for column in atoms.T)
    near = np.linalg.norm(left - right, axis=1) <= around.reach  # so that the ranks of all three atoms see it
    bent = np.linalg.norm(np.cross(_unit(left - apex)[0], _unit(right - apex)[0]), axis=1) > _STRAIGHT
    types = around.types[atoms]
    base = engine.n_types + 1
    labels = (types[:, 0] * base + types[:, 1:].min(axis=1)) * base + types[:, 1:].max(axis=1)
    return _numbered(engine, around, atoms, labels, near & bent)


def find_twists(engine: Evaluator, around: Neighbourhood) -> Bends:
    """Find all dihedral angles about the bonds between atoms with two to four neighbours.

    Parameters
    ----------
    engine : Evaluator
    around : Neighbourhood
    """
    centres, first, count, ends = _neighbours(engine, around)
    start = np.repeat(np.arange(len(centres)), count)
    place = np.full(len(around.ids), -1)
    place[centres] = np.arange(len(centres))
    other = place[ends]
    inner = np.flatnonzero((other >= 0) & (centres[start] < ends))  # each bond once
    start, other = start[inner], other[inner]
    found = [np.zeros((0, 4), np.int64)]
    for a in range(_MOST):
        for b in range(_MOST):
            at = np.flatnonzero((count[start] > a) & (count[other] > b))
            one, two = centres[start[at]], centres[other[at]]
            chain = np.stack([ends[first[start[at]] + a], one, two, ends[first[other[at]] + b]], axis=1)
            found.append(chain[(chain[:, 0] != two) & (chain[:, 3] != one) & (chain[:, 0] != chain[:, 3])])
    atoms = np.concatenate(found)
    places = around.positions[atoms]
    far = np.linalg.norm(places[:, [0, 0, 1]] - places[:, [3, 2, 3]], axis=2).max(axis=1, initial=0.0)
    steps = _unit(np.diff(places, axis=1).reshape(-1, 3))[0].reshape(-1, 3, 3)
    bent = np.linalg.norm(np.cross(steps[:, :-1], steps[:, 1:]), axis=2).min(axis=1, initial=1.0) > _TOO_STRAIGHT
    base, types = engine.n_types + 1, around.types[atoms]
    powers = base ** np.arange(4)
    labels = np.minimum(types @ powers, types[:, ::-1] @ powers)
    return _numbered(engine, around, atoms, labels, (far <= around.reach) & bent)


def _neighbours(engine: Evaluator, around: Neighbourhood) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Atoms with bends, where the list of each one's neighbours starts, how many they are, and these lists."""
    radius = _bond_radius(engine, around)
    centres = np.flatnonzero(radius)
    pairs = cKDTree(around.positions[centres]).sparse_distance_matrix(
        cKDTree(around.positions), float(radius.max(initial=0.0)), output_type="ndarray"
    )
    pairs = pairs[(pairs["v"] > 0) & (pairs["v"] <= radius[centres[pairs["i"]]])]
    pairs = pairs[np.argsort(pairs["i"], kind="stable")]
    first = np.searchsorted(pairs["i"], np.arange(len(centres)))
    return centres, first, np.bincount(pairs["i"], minlength=len(centres)), pairs["j"].astype(np.int64)


def _numbered(
    engine: Evaluator, around: Neighbourhood, atoms: IntArray, labels: IntArray, keep: NDArray[np.bool_]
) -> Bends:
    """Those of the angles that are kept and have atoms of this rank, their kinds numbered alike on all ranks."""
    owned = len(engine.ids)
    keep = keep & (atoms < owned).any(axis=1)
    chosen, labels = atoms[keep].astype(np.int32), labels[keep]
    known = np.unique(np.concatenate(engine.comm.allgather(np.unique(labels))))
    angles, roles = np.nonzero(chosen < owned)
    rows = chosen[angles, roles].astype(np.int64)
    order = np.argsort(rows, kind="stable")
    kinds = np.searchsorted(known, labels)
    return Bends(around, chosen, kinds, known, rows[order], angles[order], roles[order])


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


def _twist_gradients(a: FloatArray, b: FloatArray, c: FloatArray, d: FloatArray) -> FloatArray:
    """∂φ/∂x of the four atoms of dihedral angles, (m, 4, 3) (H. Bekker's form, A. Blondel, M. Karplus, 1996)."""
    f, g, h = a - b, b - c, d - c
    left, right = np.cross(f, g), np.cross(h, g)
    axis = np.linalg.norm(g, axis=1)[:, None]
    left, right = left / (left**2).sum(axis=1)[:, None], right / (right**2).sum(axis=1)[:, None]
    first, last = -axis * left, axis * right
    along = ((f * g).sum(axis=1)[:, None] * left - (h * g).sum(axis=1)[:, None] * right) / axis
    return np.stack([first, -first + along, -last - along, last], axis=1)
