"""All vibrational modes of a small cell: the dynamical matrix D, evaluated whole and diagonalised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import NotAMinimumError
from lammps_implicit.operators.curvature_changes import Mirror
from lammps_implicit.operators.differenced_hessian import CENTRAL_STEP
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.response.linear_response import LinearResponse
from lammps_implicit.vibrations.constants import vibration_units
from lammps_implicit.vibrations.coordinates import MassWeighted
from lammps_implicit.vibrations.symmetry import Displacement, Symmetry, find_symmetry, mirrored

NOISE = 1e-7
"""Size of an eigenvalue, relative to the largest, below which it cannot be told from zero. Chosen: products with H are
accurate to 1e-9."""

_ASYMMETRIC = 1e-5
"""Relative error of a product with a D made by symmetry beyond which it is evaluated whole."""

_NAMED = 3
"""Atoms that move most in a mode which are named."""


@dataclass(frozen=True)
class Spectrum:
    """Vibrational modes of a cell, without rigid motions and, at a saddle, without the negative mode.

    Attributes
    ----------
    coordinates : MassWeighted
    eigenvalues : (m,) float array
        λ, ascending and positive, energy/(length² mass).
    vectors : (M, m) float array
        Orthonormal, in mass-weighted coordinates.
    negative, negative_vectors : (k,) and (M, k) float arrays
        The saddle's negative mode; k = 0 at a minimum.
    zero_modes : int
        Number of rigid motions that cost no energy.
    displacements : list of Displacement or None
        Those from which all others follow by symmetry; None if there is no symmetry.
    """

    coordinates: MassWeighted
    eigenvalues: FloatArray
    vectors: FloatArray
    negative: FloatArray
    negative_vectors: FloatArray
    zero_modes: int
    displacements: list[Displacement] | None

    def times(self, function: FloatArray, q: FloatArray) -> FloatArray:
        """f(D) q, (M, k), for values of f at the eigenvalues, (m,), and vectors (M, k)."""
        return np.asarray(self.vectors @ (function[:, None] * (self.vectors.T @ q)))

    def solve(self, q: FloatArray) -> FloatArray:
        """D⁻¹q outside the rigid motions, (M, k), of vectors (M, k)."""
        found = self.times(1 / self.eigenvalues, q)
        if len(self.negative):
            found += self.negative_vectors @ ((self.negative_vectors.T @ q) / self.negative[:, None])
        return found


def columns_needed(response: LinearResponse) -> int:
    """Number of products with H that `dense_spectrum` takes."""
    coordinates = MassWeighted(response.engine)
    symmetry = find_symmetry(response.engine, coordinates)
    return coordinates.size if symmetry is None else len(symmetry.displacements(_movable(coordinates)))


def dense_spectrum(response: LinearResponse, progress: Progress = no_progress, accuracy: float = 0.0) -> Spectrum:
    """Evaluate D whole, and diagonalise it.

    Costs two force evaluations for each displacement that does not follow from another by symmetry, or one if that is
    accurate enough. Every rank holds the matrix, and rank 0 diagonalises it.

    Parameters
    ----------
    response : LinearResponse
    progress : callable, optional
        Callback called with (products done, products expected).
    accuracy : float
        Relative error that products with H may have; zero for the most accurate ones.

    Raises
    ------
    NotAMinimumError
        If there is a negative mode at a minimum, or not exactly one at a saddle; or if a mode that is no rigid motion
        cannot be told from one.
    """
    coordinates = MassWeighted(response.engine)
    matrix, displacements = dynamical_matrix(response, coordinates, progress, accuracy)
    return _diagonalised(response, coordinates, matrix, displacements)


def dynamical_matrix(
    response: LinearResponse, coordinates: MassWeighted, progress: Progress = no_progress, accuracy: float = 0.0
) -> tuple[FloatArray, list[Displacement] | None]:
    """D, (M, M), on every rank, and the displacements that it was evaluated with if it was made by symmetry."""
    symmetry = find_symmetry(response.engine, coordinates)
    if symmetry is not None:
        displacements = symmetry.displacements(_movable(coordinates))
        matrix = _by_symmetry(response, coordinates, symmetry, displacements, progress, accuracy)
        if _confirmed(response, coordinates, matrix):
            return matrix, displacements
    return _column_by_column(response, coordinates, progress, accuracy), None


def _movable(coordinates: MassWeighted) -> FloatArray:
    return np.asarray((coordinates.columns >= 0).all(axis=1))


def _column_by_column(
    response: LinearResponse, coordinates: MassWeighted, progress: Progress, accuracy: float
) -> FloatArray:
    size = coordinates.size
    matrix = np.empty((size, size))
    for column, unit in enumerate(np.eye(size)):
        displacement = coordinates.displacement(unit)
        matrix[:, column] = coordinates.of_force(response.hessian.product(displacement, accuracy))
        progress(column + 1, size)
    return (matrix + matrix.T) / 2


def _by_symmetry(
    response: LinearResponse,
    coordinates: MassWeighted,
    symmetry: Symmetry,
    displacements: list[Displacement],
    progress: Progress,
    accuracy: float,
) -> FloatArray:
    """D, (M, M), from products along irreducible displacements."""
    count = len(coordinates.ids)
    products: dict[int, list[tuple[FloatArray, FloatArray]]] = {}
    for done, move in enumerate(displacements):
        q = np.zeros(coordinates.size)
        places = coordinates.columns[move.atom]
        q[places] = move.direction * coordinates.roots[places]
        field = np.zeros((count, 3))
        product = _product(response, coordinates.displacement(q), mirror_of(coordinates, move), accuracy)
        forces = coordinates.of_force(product) * coordinates.roots
        field[coordinates.columns >= 0] = forces[coordinates.columns[coordinates.columns >= 0]]
        products.setdefault(move.atom, []).append((move.direction, field))
        progress(done + 1, len(displacements))
    hessian = np.zeros((coordinates.size, coordinates.size))
    movable = coordinates.columns[:, 0] >= 0
    for atom, measured in products.items():
        directions, fields = np.array([d for d, _ in measured]), np.array([f for _, f in measured])
        block = symmetry.columns(atom, directions, fields)
        for image, rotation, permutation in symmetry.orbit(atom):
            moved = np.empty_like(block)
            moved[permutation] = rotation @ block @ rotation.T
            hessian[np.ix_(coordinates.columns[movable].reshape(-1), coordinates.columns[image])] = moved[
                movable
            ].reshape(-1, 3)
    matrix = hessian / coordinates.roots[:, None] / coordinates.roots
    return (matrix + matrix.T) / 2


def mirror_of(coordinates: MassWeighted, move: Displacement) -> Mirror | None:
    """The symmetry that turns a displacement into its opposite, for the atoms as the ranks own them."""
    if move.mirror is None:
        return None
    operation = move.mirror
    return Mirror(lambda field: mirrored(coordinates.engine, coordinates.ids, operation, field), operation[0])


def _product(response: LinearResponse, u: FloatArray, mirror: Mirror | None, accuracy: float) -> FloatArray:
    """H u, (n, 3), to a relative accuracy; where there is a mirror, one force evaluation gives a central difference."""
    engine = response.engine
    if mirror is None or engine.exact:
        return response.hessian.product(u, accuracy)
    scale = CENTRAL_STEP / engine.max_abs(u)
    change = engine.forces(scale * u) - response.hessian.reference_forces
    return (mirror.forces(change) - change) / (2 * scale)


def _confirmed(response: LinearResponse, coordinates: MassWeighted, matrix: FloatArray) -> bool:
    """Whether D times a random vector is what forces say. Two force evaluations."""
    random = np.random.default_rng(1).standard_normal(coordinates.size)
    product = coordinates.of_force(response.hessian.product(coordinates.displacement(random)))
    return bool(np.linalg.norm(matrix @ random - product) <= _ASYMMETRIC * np.linalg.norm(product))


def _diagonalised(
    response: LinearResponse,
    coordinates: MassWeighted,
    matrix: FloatArray,
    displacements: list[Displacement] | None,
) -> Spectrum:
    values, vectors, rigid = diagonalised(response, coordinates, matrix)
    negative = _negative(response, coordinates, values, vectors)
    return Spectrum(
        coordinates,
        values[negative:],
        vectors[:, negative:],
        values[:negative],
        vectors[:, :negative],
        rigid,
        displacements,
    )


def diagonalised(
    response: LinearResponse, coordinates: MassWeighted, matrix: FloatArray
) -> tuple[FloatArray, FloatArray, int]:
    """Eigenvalues of D, (m,), ascending, its eigenvectors, (M, m), both without rigid motions, and the number of these.

    Rank 0 diagonalises; all ranks have the result.
    """
    engine = response.engine
    rigid = [coordinates.of_displacement(vector) for vector in response.prepared().system.null_space.vectors]
    null = np.linalg.qr(np.array(rigid).T)[0] if rigid else np.zeros((coordinates.size, 0))
    matrix = matrix - null @ (null.T @ matrix)
    matrix = matrix - (matrix @ null) @ null.T
    above = 2 * float(np.linalg.norm(matrix)) + 1.0  # rigid motions come last
    values, vectors = np.empty(coordinates.size), np.empty((coordinates.size, coordinates.size))
    if engine.comm.rank == 0:
        values, vectors = eigh(matrix + above * null @ null.T)
        vectors = np.ascontiguousarray(vectors)
    engine.comm.Bcast(values)
    engine.comm.Bcast(vectors)
    kept = coordinates.size - null.shape[1]
    return values[:kept], vectors[:, :kept], null.shape[1]


def _negative(response: LinearResponse, coordinates: MassWeighted, values: FloatArray, vectors: FloatArray) -> int:
    """Number of negative modes: one at a saddle, else none.

    Raises
    ------
    NotAMinimumError
        If it is another, or a mode cannot be told from a rigid motion.
    """
    if not len(values):
        return 0
    noise = NOISE * float(np.abs(values).max())
    below, flat = int(np.count_nonzero(values < -noise)), int(np.count_nonzero(np.abs(values) <= noise))
    wanted = 1 if response.saddle else 0
    if below == wanted and not flat:
        return below
    if flat and below <= wanted:
        raise NotAMinimumError(
            f"{flat} mode{'s' if flat > 1 else ''} besides the rigid motions cost no energy that can be told from "
            f"zero: {_described(response, coordinates, values[below], vectors[:, below])}; vibrations about it are not "
            "harmonic. Hold these atoms, or leave them out"
        )
    most = _described(response, coordinates, values[0], vectors[:, 0])
    if wanted and not below:
        raise NotAMinimumError("there is no negative mode: this is no saddle, but a minimum; open it without saddle")
    are, wanted_many = "s are" if below > 1 else " is", str(wanted) if wanted else "none"
    remedy = "" if wanted else ", or open it as a saddle if one is right"
    raise NotAMinimumError(
        f"{below} mode{are} negative where {wanted_many} should be, first {most}: relax the structure from "
        f"elsewhere{remedy}"
    )


def _described(response: LinearResponse, coordinates: MassWeighted, value: float, vector: FloatArray) -> str:
    """A mode by its frequency and the atoms that move most."""
    units = vibration_units(response.engine.deck.units)
    q = np.append(vector, 0.0)  # components that are held
    moves = np.linalg.norm(q[coordinates.columns], axis=1)
    atoms = ", ".join(str(coordinates.ids[place]) for place in np.argsort(-moves, kind="stable")[:_NAMED])
    size = np.sqrt(abs(value)) * units.frequency_factor
    return f"{size:.3g}{'i' if value < 0 else ''} {units.frequency}, of atoms {atoms}"
