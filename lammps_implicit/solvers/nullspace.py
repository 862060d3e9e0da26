"""Rigid motions that cost no energy: the exact null space of the Hessian, projected out of every solve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator

STIFF = 1e-5
"""Stiffness of a rigid motion, relative to that of a random displacement, below which it counts as free. Chosen between
the noise of one differenced product (below 1e-6) and external forces that hold a cell in place."""


class NullSpace:
    """Orthonormal rigid motions of the free atoms, in the order that these have when it is made.

    Parameters
    ----------
    engine : Evaluator
    vectors : list of (n, 3) float arrays
        Rigid motions, which may be linearly dependent; distributed.

    Attributes
    ----------
    vectors : list of (n, 3) float arrays
        Orthonormal basis of the same space.
    """

    def __init__(self, engine: Evaluator, vectors: list[FloatArray]) -> None:
        self._engine = engine
        self._constrain = engine.constraint()
        self.vectors: list[FloatArray] = []
        for vector in vectors:
            size = engine.norm(vector)
            rest = self.project(self.project(vector))
            norm = engine.norm(rest)
            if norm > 1e-6 * size:  # a linear molecule is not moved by a rotation about its axis
                self.vectors.append(rest / norm)

    def project(self, vector: FloatArray) -> FloatArray:
        """Return the part of an (n, 3) array that is orthogonal to the null space and that atoms can make.

        The latter, `Evaluator.constrain`, is also needed as multigrid couples frozen and free components.
        """
        vector = self._constrain(vector)
        for null in self.vectors:
            vector = vector - self._engine.dot(null, vector) * null
        return vector


def rigid_motions(engine: Evaluator) -> list[FloatArray]:
    """Return the translations and rotations that neither the box nor frozen components prevent.

    A translation along an axis is possible if no component along that axis is frozen, whether or not the box is
    periodic there. A rotation is possible if the two directions it mixes are not periodic and no component along them
    is frozen or moves together with others.

    Returns
    -------
    list of (n, 3) float arrays
        Not normalised.
    """
    free_axis = [engine.max(float((~engine.free[:, axis]).any())) == 0.0 for axis in range(3)]
    alone = [engine.max(float((~engine.alone[:, axis]).any())) == 0.0 for axis in range(3)]
    periodic = engine.periodic
    motions = []
    for axis in range(3):
        if free_axis[axis]:
            motion = np.zeros((len(engine.ids), 3))
            motion[:, axis] = 1.0
            motions.append(motion)
    centre = np.asarray(engine.sum(engine.positions.sum(axis=0))) / engine.n_atoms
    for axis in range(3):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        if alone[first] and alone[second] and not periodic[first] and not periodic[second]:
            motions.append(np.cross(np.eye(3)[axis], engine.positions - centre))
    return motions


def unresisted(engine: Evaluator) -> NullSpace:
    """Rigid motions that neither the box nor frozen components prevent; none where external forces may prevent any."""
    return NullSpace(engine, [] if engine.external else rigid_motions(engine))


def find_null_space(
    engine: Evaluator, product: Callable[[FloatArray], FloatArray], stiffness: float, external: bool
) -> NullSpace:
    """Return the null space of the Hessian at the reference.

    Parameters
    ----------
    engine : Evaluator
    product : callable
        Maps v to H v. Used only if external forces act: each rigid motion is then tested with one product.
    stiffness : float
        Typical stiffness ‖Hw‖/‖w‖ for a random w, with which that of each motion is compared.
    external : bool
        Whether external forces act, which may bind atoms to points or directions in space.
    """
    motions = rigid_motions(engine)
    if external:
        motions = [m for m in motions if engine.norm(product(m)) < STIFF * stiffness * engine.norm(m)]
    return NullSpace(engine, motions)
