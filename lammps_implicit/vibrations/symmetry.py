"""Symmetry of a periodic structure: which displacements must be made, and how others follow from them.

The space group is kept as pure translations and one operation for each rotation; their products are all operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.vibrations.coordinates import MassWeighted

SAME_PLACE = 1e-5
"""Å by which an operation may miss an atom. Chosen: well above what relaxation leaves, and so small that second
derivatives of what is taken for symmetric differ by 1e-5 at most."""


_EXACT = 1e-8
"""Å by which operations may miss atoms where forces at opposite displacements are to follow from each other."""


@dataclass(frozen=True)
class Displacement:
    """A displacement of one atom that stands for others.

    Attributes
    ----------
    atom : int
        Place of the atom's id.
    direction : (3,) float array
        Unit vector.
    weight : int
        Number of displacements, of this atom or of those like it, that it stands for.
    mirror : tuple of (3, 3) float array and (N,) int array, or None
        Rotation and permutation of an operation that turns it into its opposite, if there is one.
    """

    atom: int
    direction: FloatArray
    weight: int
    mirror: tuple[FloatArray, IntArray] | None


@dataclass(frozen=True)
class Symmetry:
    """The operations that leave a structure as it is.

    Attributes
    ----------
    rotations : (g, 3, 3) float array
        Cartesian, each once.
    permutations : (g, N) int array
        Where each atom goes, by place of its id.
    translations : (t, N) int array
        The same of the pure translations, the identity among them.
    missed : float
        Å by which operations miss atoms at most.
    """

    rotations: FloatArray
    permutations: IntArray
    translations: IntArray
    missed: float

    def orbit(self, atom: int) -> Iterator[tuple[int, FloatArray, IntArray]]:
        """Atoms like this one: each with a rotation and a permutation of an operation that takes this one there."""
        seen: set[int] = set()
        for rotation, permutation in zip(self.rotations, self.permutations, strict=True):
            for translation in self.translations:
                image = int(translation[permutation[atom]])
                if image not in seen:
                    seen.add(image)
                    yield image, rotation, translation[permutation]

    def of_site(self, atom: int) -> Iterator[tuple[FloatArray, IntArray]]:
        """Rotations and permutations of the operations that leave an atom where it is."""
        for rotation, permutation in zip(self.rotations, self.permutations, strict=True):
            back = np.flatnonzero(self.translations[:, permutation[atom]] == atom)
            if back.size:
                yield rotation, self.translations[back[0]][permutation]

    def displacements(self, movable: FloatArray) -> list[Displacement]:
        """Displacements of single atoms from which all others follow, one for each irreducible subspace of each site.

        Parameters
        ----------
        movable : (N,) bool array
            Whether each atom can move.
        """
        found: list[Displacement] = []
        left = set(np.flatnonzero(movable).tolist())
        for atom in np.flatnonzero(movable).tolist():
            if atom not in left:
                continue
            alike = [image for image, *_ in self.orbit(atom)]
            left -= set(alike)
            site = list(self.of_site(atom))
            found += [
                Displacement(atom, direction, dimension * len(alike), self._mirror(site, direction))
                for direction, dimension in _irreducible(np.array([rotation for rotation, _ in site]))
            ]
        return found

    def _mirror(
        self, site: list[tuple[FloatArray, IntArray]], direction: FloatArray
    ) -> tuple[FloatArray, IntArray] | None:
        """An operation of a site that turns a direction into its opposite; none where symmetry is not kept well enough.

        Forces at opposite displacements nearly cancel in second differences.
        """
        if self.missed > _EXACT:
            return None
        return next((one for one in site if np.allclose(one[0] @ direction, -direction, atol=1e-8)), None)

    def columns(self, atom: int, directions: FloatArray, products: FloatArray) -> FloatArray:
        """H with an atom's displacements as columns, (N, 3, 3), from products along irreducible directions.

        Parameters
        ----------
        atom : int
        directions : (k, 3) float array
        products : (k, N, 3) float array
            H times each direction of the atom.
        """
        images = [
            (directions @ rotation.T, _moved(products, rotation, permutation))
            for rotation, permutation in self.of_site(atom)
        ]
        along = np.concatenate([direction for direction, _ in images])
        fields = np.concatenate([field for _, field in images])
        return np.asarray(np.einsum("ka,knb->nba", np.linalg.pinv(along).T, fields))


def find_symmetry(engine: Evaluator, coordinates: MassWeighted) -> Symmetry | None:
    """Symmetry of the reference; None if there is none that tells anything about displacements.

    None is looked for where boundaries or external forces act, or atoms are held partly or move as one. Atoms are alike
    if their types and masses are, and if they are held or not; charges are left to the check of products.

    Parameters
    ----------
    engine : Evaluator
    coordinates : MassWeighted

    Returns
    -------
    Symmetry or None
        Found on rank 0, the same on every rank.
    """
    from spglib import get_symmetry

    held = np.count_nonzero(coordinates.columns < 0, axis=1)
    if not all(engine.periodic) or engine.external or engine.together_counts or not np.isin(held, (0, 3)).all():
        return None
    places = np.searchsorted(coordinates.ids, engine.ids)
    positions, types = np.zeros((len(coordinates.ids), 3)), np.zeros(len(coordinates.ids), np.int64)
    positions[places], types[places] = engine.positions - engine.origin, engine.types
    positions, types = np.asarray(engine.sum(positions)), np.asarray(engine.sum(types))
    cell = engine.cell
    alike = np.column_stack([types, held > 0, coordinates.masses])
    kinds = np.unique(alike, axis=0, return_inverse=True)[1].reshape(-1)

    def search() -> Symmetry | None:
        fractional = positions @ np.linalg.inv(cell)
        found = get_symmetry((cell.tolist(), fractional.tolist(), kinds.tolist()), symprec=SAME_PLACE)
        return None if found is None else _of_operations(found, cell, fractional)

    return engine.on_root(search)


def _of_operations(found: dict[str, FloatArray], cell: FloatArray, fractional: FloatArray) -> Symmetry | None:
    """Permutations of operations in fractional coordinates; None if atoms do not go to atoms, or nothing is alike."""
    tree = cKDTree(fractional % 1.0 % 1.0, boxsize=1.0)
    to_cartesian = cell.T
    seen: dict[bytes, int] = {}
    rotations, permutations, translations, missed = [], [], [], 0.0
    for rotation, shift in zip(found["rotations"], found["translations"], strict=True):
        pure = np.array_equal(rotation, np.eye(3))
        key = np.ascontiguousarray(rotation).tobytes()
        if key in seen and not pure:
            continue
        distance, permutation = tree.query((fractional @ rotation.T + shift) % 1.0 % 1.0)
        if distance.max() * np.linalg.norm(cell, axis=1).max() > 10 * SAME_PLACE * np.sqrt(3):
            return None
        moved = fractional @ rotation.T + shift - fractional[permutation]
        missed = max(missed, float(np.linalg.norm((moved - np.round(moved)) @ cell, axis=1).max()))
        if pure:
            translations.append(permutation)
        if key not in seen:
            seen[key] = 1
            rotations.append(to_cartesian @ rotation @ np.linalg.inv(to_cartesian))
            permutations.append(permutation)
    if len(rotations) * len(translations) == 1:
        return None
    return Symmetry(np.array(rotations), np.array(permutations), np.array(translations), missed)


def _irreducible(rotations: FloatArray) -> list[tuple[FloatArray, int]]:
    """A unit vector of each irreducible subspace of the displacements of a site, and its dimension.

    They are the eigenspaces of a symmetric matrix averaged over the rotations, if it is random otherwise.
    """
    random = np.random.default_rng(0).standard_normal((3, 3))
    mean = np.einsum("gab,bc,gdc->ad", rotations, random + random.T, rotations) / len(rotations)
    values, vectors = np.linalg.eigh(mean)
    found: list[tuple[FloatArray, int]] = []
    start = 0
    for place in range(1, 4):
        if place == 3 or values[place] - values[start] > 1e-6:
            found.append((vectors[:, start], place - start))
            start = place
    return found


def mirrored(engine: Evaluator, ids: IntArray, mirror: tuple[FloatArray, IntArray], field: FloatArray) -> FloatArray:
    """A vector field on this rank's atoms, (n, 3), after an operation on all atoms; `ids`, (N,), are sorted."""
    rotation, permutation = mirror
    places = np.searchsorted(ids, engine.ids)
    whole = np.zeros((len(ids), 3))
    whole[places] = field
    return _moved(np.asarray(engine.sum(whole))[None], rotation, permutation)[0][places]


def _moved(fields: FloatArray, rotation: FloatArray, permutation: IntArray) -> FloatArray:
    """Vector fields (k, N, 3) after an operation."""
    moved = np.empty_like(fields)
    moved[:, permutation] = fields @ rotation.T
    return moved
