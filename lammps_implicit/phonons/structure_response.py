"""How the structure of the crystal answers to the parameters, and how force constants answer to the structure.

The structure has few coordinates: strains of the cell, and positions in the primitive cell. The parameters move it by
-H⁻¹C at fixed cell, H and C being those of the primitive cell at Γ: H comes from force constants that are known, and
rigid motions are left out. Where the cell is relaxed too, strains come from its coupled system.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.voigt import COMPONENTS
from lammps_implicit.phonons.crystal import Crystal

SMALL = 1e-7
"""Size, relative to the largest, below which a direction of the structure is noise. Chosen: above the error of H."""

STEP = 1e-4
"""Strain, and displacement in units of the distance of neighbours, of a direction along which force constants are
differenced. Chosen: third derivatives of force constants add about the square of it."""

SOFT = 1e-7
"""Stiffness of the primitive cell, relative to the largest, below which nothing resists a displacement."""

_PAIRS = [("xyz".index(name[0]), "xyz".index(name[1])) for name in COMPONENTS]


@dataclass(frozen=True)
class StructureResponse:
    """Derivatives of the structure, K of them.

    Attributes
    ----------
    strains : (K, 3, 3) float array
        Upper triangular.
    displacements : (K, n, 3) float array
        Of the atoms of the deck's cell beyond the homogeneous ones, Å, in the axes of the unstrained cell.
    """

    strains: FloatArray
    displacements: FloatArray

    def with_more(self, strain: FloatArray, displacements: FloatArray) -> StructureResponse:
        """The same, and one more at the end."""
        return StructureResponse(
            np.concatenate([self.strains, strain[None]]), np.concatenate([self.displacements, displacements[None]])
        )


def internal_response(crystal: Crystal, force_constants: FloatArray, mixed: FloatArray) -> FloatArray:
    """Displacements of the atoms of the deck's cell per unit of each parameter at fixed cell.

    Parameters
    ----------
    crystal : Crystal
    force_constants : (n, N, 3, 3) float array
    mixed : (N, 3, P) float array
        C at the reference, in the order of phonopy's supercell.

    Returns
    -------
    (P, cell atoms, 3) float array
        Å; without rigid motions.
    """
    n = len(crystal.representatives)
    hessian = np.zeros((n, 3, n, 3))
    for other in range(n):
        hessian[:, :, other] = force_constants[:, crystal.primitive_atoms == other].sum(axis=1)
    matrix = hessian.reshape(3 * n, 3 * n)
    values, modes = np.linalg.eigh((matrix + matrix.T) / 2)
    rigid = np.linalg.qr(np.kron(np.ones((n, 1)), np.eye(3)))[0]
    overlap = np.linalg.norm(rigid.T @ modes, axis=0)
    resisted = (np.abs(values) > SOFT * np.abs(values).max(initial=0.0)) & (overlap < 0.5)
    right = mixed[crystal.representatives].reshape(3 * n, -1)
    right = right - rigid @ (rigid.T @ right)
    moved = -(modes[:, resisted] / values[resisted]) @ (modes[:, resisted].T @ right)
    places = np.zeros(int(crystal.atoms.max()) + 1, int)
    places[crystal.atoms] = crystal.primitive_atoms
    return np.asarray(np.moveaxis(moved.reshape(n, 3, -1)[places], 2, 0))


@dataclass(frozen=True)
class Directions:
    """Directions of the structure that all responses are made of.

    Attributes
    ----------
    strains : (r, 3, 3) float array
    displacements : (r, n, 3) float array
        As in `StructureResponse`, for a step of each.
    weights : (K, r) float array
        Number of steps of each in each response, per unit of its parameter.
    """

    strains: FloatArray
    displacements: FloatArray
    weights: FloatArray


def directions_of(responses: StructureResponse, scales: FloatArray, spacing: float) -> Directions:
    """Few directions in which the structure moves, of the size of a step each.

    Parameters
    ----------
    responses : StructureResponse
    scales : (K,) float array
        Sizes of the parameters, by which their responses are compared.
    spacing : float
        Distance of neighbours, Å.
    """
    count = len(responses.strains)
    strains = np.array([[strain[pair] for pair in _PAIRS] for strain in responses.strains]).reshape(count, 6)
    inner = responses.displacements.reshape(count, -1) / spacing
    rows = np.hstack([strains, inner])
    scaled = rows * np.where(scales == 0, np.median(scales), scales)[:, None]
    _, strengths, basis = np.linalg.svd(scaled, full_matrices=False)
    basis = basis[(strengths > SMALL * strengths.max(initial=0.0)) & (strengths > SMALL)]
    basis = np.where(np.abs(basis) < SMALL, 0.0, basis)  # round-off would tilt cells that cannot be
    sizes = np.abs(basis).max(axis=1, initial=0.0)
    steps, weights = STEP / sizes[:, None] * basis, rows @ basis.T * (sizes / STEP)
    tensors = np.zeros((len(basis), 3, 3))
    for number, pair in enumerate(_PAIRS):
        tensors[:, pair[0], pair[1]] = steps[:, number]
    moved = spacing * steps[:, 6:].reshape(len(basis), *responses.displacements.shape[1:])
    return Directions(tensors, moved, weights)


def along(derivative: Callable[[FloatArray, FloatArray], FloatArray], directions: Directions) -> list[FloatArray]:
    """Central differences of something along each direction, per step.

    Parameters
    ----------
    derivative : callable
        Takes a strain and displacements, and returns the thing there.
    directions : Directions
    """
    return [
        (derivative(strain, moved) - derivative(-strain, -moved)) / 2
        for strain, moved in zip(directions.strains, directions.displacements, strict=True)
    ]
