"""Sets of distributed vectors: inner products and orthonormal bases."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator

_SPENT = 1e-10
"""Part of a vector outside a space, relative to the vector, below which it is round-off."""


def inner(engine: Evaluator, left: FloatArray, right: FloatArray) -> FloatArray:
    """Inner products of two sets of vectors, (k, n, 3) and (m, n, 3), over all ranks: (k, m)."""
    return np.asarray(engine.sum(np.ascontiguousarray(np.tensordot(left, right, ((1, 2), (1, 2))))))


def norms(engine: Evaluator, vectors: FloatArray) -> FloatArray:
    """Norms of some vectors, (k, n, 3), over all ranks: (k,)."""
    return np.sqrt(np.asarray(engine.sum((vectors**2).sum(axis=(1, 2)))))


def combined(weights: FloatArray, vectors: FloatArray) -> FloatArray:
    """Combinations of m vectors, (m, n, 3), by the columns of weights, (m, k): (k, n, 3)."""
    return np.asarray(np.tensordot(weights.T, vectors, 1))


def beyond(engine: Evaluator, space: FloatArray, vectors: Iterable[FloatArray]) -> FloatArray:
    """Orthonormal vectors that span, together with an orthonormal space, what some vectors do: (k, n, 3).

    Those that lie in the space are left out.
    """
    found = space
    for vector in vectors:
        size = rest = engine.norm(vector)
        for _ in range(2):  # the second time for what round-off leaves
            vector = vector - combined(inner(engine, found, vector[None]), found)[0]
            rest = engine.norm(vector)
        if rest > _SPENT * size:
            found = np.concatenate([found, vector[None] / rest])
    return found[len(space) :]
