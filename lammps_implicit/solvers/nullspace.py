"""Rigid motions that cost no energy: the Hessian's exact null space, projected out of every solve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator

_STIFF = 1e-5
"""A motion counts as free below this fraction of the stiffness of a random displacement."""


class NullSpace:
    """Orthonormal rigid motions of the free atoms.

    Parameters
    ----------
    engine : Evaluator
    vectors : list of (n, 3) float arrays
        Linearly independent or not, distributed.
    """

    def __init__(self, engine: Evaluator, vectors: list[FloatArray]) -> None:
        self._engine = engine
        self.vectors: list[FloatArray] = []
        for vector in vectors:
            size = engine.norm(vector)
            rest = self.project(self.project(vector))
            norm = engine.norm(rest)
            if norm > 1e-6 * size:  # a rotation of a linear molecule about its axis moves nothing
                self.vectors.append(rest / norm)

    def project(self, vector: FloatArray) -> FloatArray:
        """Return the part of an (n, 3) array on free components and orthogonal to every null vector.

        Multigrid, unlike a factorisation, spreads displacements into frozen components: they are cut off here too.
        """
        vector = vector * self._engine.free
        for null in self.vectors:
            vector = vector - self._engine.dot(null, vector) * null
        return vector


def rigid_motions(engine: Evaluator) -> list[FloatArray]:
    """Translations, and rotations where the box allows them, that no frozen component hinders.

    A translation along an axis is free when no component along that axis is frozen, whether or not the box is periodic
    there. A rotation is free when the two directions it mixes are neither periodic nor frozen anywhere.
    """
    free_axis = [engine.max(float((~engine.free[:, axis]).any())) == 0.0 for axis in range(3)]
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
        if free_axis[first] and free_axis[second] and not periodic[first] and not periodic[second]:
            motions.append(np.cross(np.eye(3)[axis], engine.positions - centre))
    return motions


def find_null_space(
    engine: Evaluator, product: Callable[[FloatArray], FloatArray], stiffness: float, external: bool
) -> NullSpace:
    """Return the null space at the reference state.

    Parameters
    ----------
    engine : Evaluator
    product : callable
        H v, used only where external forces act: there each motion is tested, one force evaluation a motion.
    stiffness : float
        ‖Hw‖/‖w‖ of a random w, the scale that a motion's stiffness is compared with.
    external : bool
        Whether forces from outside act, which may tie atoms to points or directions in space.
    """
    motions = rigid_motions(engine)
    if external:
        motions = [m for m in motions if engine.norm(product(m)) < _STIFF * stiffness * engine.norm(m)]
    return NullSpace(engine, motions)
