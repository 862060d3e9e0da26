"""Lanczos' method for functions of the dynamical matrix: Gauss quadrature of zᵀf(D)z, and vectors f(D)z.

G. H. Golub, G. Meurant, "Matrices, Moments and Quadrature with Applications" (2010), chapters 4 and 6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.solvers.nullspace import NullSpace
from lammps_implicit.vibrations.masses import atom_masses

_SPENT = 1e-10
"""Size of a new vector, relative to that of D, below which the space is invariant."""


class DynamicalMatrix:
    """D = M⁻¹ᐟ² H M⁻¹ᐟ² as an operator on distributed mass-weighted displacements, without rigid motions.

    Parameters
    ----------
    engine : Evaluator
    product : callable
        Maps (u, accuracy) to H u, (n, 3).
    null_space : NullSpace
        Rigid motions that cost no energy.
    left_out : list of (n, 3) float arrays
        Further displacements that are projected out, such as the negative mode of a saddle.
    """

    def __init__(
        self,
        engine: Evaluator,
        product: Callable[[FloatArray, float], FloatArray],
        null_space: NullSpace,
        left_out: list[FloatArray],
    ) -> None:
        self.engine = engine
        self._product = product
        masses = np.repeat(atom_masses(engine)[:, None], 3, axis=1)
        for number, count in enumerate(engine.together_counts, 1):
            members = engine.together == number
            masses[members] = engine.sum(float(masses[members].sum())) / max(count, 1)
        self.roots = np.sqrt(masses)
        self.outside = NullSpace(
            engine, [self.roots * vector for vector in null_space.vectors] + [self.roots * v for v in left_out]
        )
        self.zero_modes = len(null_space.vectors)

    @property
    def modes(self) -> int:
        """Number of modes that are left."""
        return self.engine.n_free - len(self.outside.vectors)

    def times(self, q: FloatArray, accuracy: float) -> FloatArray:
        """D q, (n, 3), to a relative accuracy."""
        return self.outside.project(self._product(q / self.roots, accuracy) / self.roots)


@dataclass(frozen=True)
class KrylovSpace:
    """Orthonormal vectors V of a Krylov space of D, begun with z/‖z‖, and the eigenvalues and vectors of VᵀDV.

    Attributes
    ----------
    vectors : list of j (n, 3) float arrays
    values : (j,) float array
    mixing : (j, j) float array
        Eigenvectors of VᵀDV as columns.
    norm : float
        ‖z‖.
    residual : float
        Size of what the next vector would add to D V.
    """

    vectors: list[FloatArray]
    values: FloatArray
    mixing: FloatArray
    norm: float
    residual: float

    @property
    def weights(self) -> FloatArray:
        """Weights of the Gauss quadrature zᵀf(D)z = Σ_j w_j f(θ_j), (j,)."""
        return np.asarray(self.norm**2 * self.mixing[0] ** 2)

    def function(self, values: FloatArray) -> FloatArray:
        """f(D) z, (n, 3), for the values of f at `values`, (j,)."""
        coefficients = self.norm * self.mixing @ (values * self.mixing[0])
        return np.asarray(sum(c * vector for c, vector in zip(coefficients, self.vectors, strict=True)))


def krylov_space(
    matrix: DynamicalMatrix,
    start: FloatArray,
    accuracy: float,
    most: int,
    done: Callable[[KrylovSpace], bool],
) -> KrylovSpace:
    """Build a Krylov space with full reorthogonalisation until it suffices.

    Parameters
    ----------
    matrix : DynamicalMatrix
    start : (n, 3) float array
        z.
    accuracy : float
        Relative accuracy of products.
    most : int
        Limit on the number of products.
    done : callable
        Called with the space after each few products: whether it suffices.
    """
    engine = matrix.engine
    norm = engine.norm(start)
    vectors = [start / norm]
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        image = matrix.times(vectors[-1], accuracy)
        diagonal.append(engine.dot(vectors[-1], image))
        for _ in range(2):
            overlaps = engine.sum(np.array([np.vdot(vector, image) for vector in vectors]))
            for overlap, vector in zip(overlaps, vectors, strict=True):
                image = image - overlap * vector
        size = engine.norm(image)
        spent = size <= _SPENT * max(np.abs(diagonal)) or len(diagonal) >= min(most, matrix.modes)
        if spent or len(diagonal) % 4 == 0:
            values, mixing = eigh_tridiagonal(np.array(diagonal), np.array(beside))
            space = KrylovSpace(vectors, values, mixing, norm, size)
            if spent or done(space):
                return space
        beside.append(size)
        vectors.append(image / size)
