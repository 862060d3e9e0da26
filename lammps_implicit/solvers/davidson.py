"""Lowest eigenvectors by Davidson's method, on any number of ranks.

Measured, 863 atoms with a vacancy in Cu, 8 modes to 1e-6: 145 products, where LOBPCG takes 295; and LOBPCG hardly
converges where the last vector of its block is amid a dense part of the spectrum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.solvers.eigenproblem import EigenProblem
from lammps_implicit.solvers.subspace import beyond, combined, inner

_MEMORY = 2**29
"""Bytes on each rank for the vectors of a space and their products. Chosen: memory against iterations."""


def davidson_lowest(
    problem: EigenProblem, start: Sequence[FloatArray], residual: float, iterations: int
) -> list[FloatArray]:
    """Lowest eigenvectors by Davidson's method; see `EigenSolver`.

    Rayleigh and Ritz in a space to which T r is added, with the residual r of the lowest vector that misses. (E. R.
    Davidson, J. Comput. Phys. 17, 87 (1975).)
    """
    engine, count = problem.engine, len(start)
    space = images = np.zeros((0, *engine.positions.shape))
    gram = np.zeros((0, 0))
    room = max(3 * count, -int(engine.max(-(_MEMORY // max(16 * engine.positions.size, 1)))))
    new, first = beyond(engine, space, start), 0
    for _ in range(iterations * max(count, 1)):
        pulled = np.array([problem.product(v) for v in new]).reshape(new.shape)
        space, images = np.concatenate([space, new]), np.concatenate([images, pulled])
        border = inner(engine, space, pulled)
        gram = np.block([[gram, border[: len(gram)]], [border[: len(gram)].T, border[len(gram) :]]])
        values, weights = np.linalg.eigh((gram + gram.T) / 2)
        if len(space) >= room:
            weights, values = weights[:, : 2 * count], values[: 2 * count]
            space, images = combined(weights, space), combined(weights, images)
            gram, weights = np.diag(values), np.eye(len(values))
        rest, first = _first_missing(problem, space, images, values[:count], weights, residual, first)
        if rest is None:
            break
        new = beyond(engine, space, [problem.precondition(rest)])
        if not len(new):  # every direction that A leads to has been seen
            break
    return list(combined(weights[:, :count], space))


def _first_missing(
    problem: EigenProblem,
    space: FloatArray,
    images: FloatArray,
    values: FloatArray,
    weights: FloatArray,
    residual: float,
    first: int,
) -> tuple[FloatArray | None, int]:
    """Residual of the first Ritz vector whose residual is too large, and its number; None if there is no such.

    Those before `first` were found to be good, and are looked at again in the end only.
    """
    for index in [*range(first, len(values)), *range(first)]:
        column = weights[:, [index]]
        rest = combined(column, images)[0] - values[index] * combined(column, space)[0]
        if problem.engine.norm(rest) > residual:
            return rest, index
    return None, 0
