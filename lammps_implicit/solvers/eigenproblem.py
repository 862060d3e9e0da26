"""The interface of eigensolvers for a few eigenvectors of a symmetric operator: the problem that they are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator


@dataclass(frozen=True)
class EigenProblem:
    """Symmetric operator A on distributed (n, 3) arrays, whose lowest eigenvectors are wanted.

    Attributes
    ----------
    engine : Evaluator
        Provides inner products and array shapes.
    product : callable
        Maps v to A v.
    precondition : callable
        Maps a residual r to T r, with T symmetric, positive definite and like A⁻¹.
    """

    engine: Evaluator
    product: Callable[[FloatArray], FloatArray]
    precondition: Callable[[FloatArray], FloatArray]


EigenSolver = Callable[[EigenProblem, Sequence[FloatArray], float, int], list[FloatArray]]
"""Maps (problem, k vectors to start from, largest residual ‖A v - λ v‖, limit on iterations) to k orthonormal vectors
that span the lowest eigenvectors. Whether the residual was reached is for the caller to check."""
