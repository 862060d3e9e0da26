"""Lowest eigenvectors on one process: SciPy's LOBPCG.

A. V. Knyazev, SIAM J. Sci. Comput. 23, 517 (2001).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.sparse.linalg import LinearOperator, lobpcg

from lammps_implicit.arrays import FloatArray
from lammps_implicit.solvers.eigenproblem import EigenProblem


def scipy_lowest(
    problem: EigenProblem, start: Sequence[FloatArray], residual: float, iterations: int
) -> list[FloatArray]:
    """Lowest eigenvectors by SciPy's LOBPCG; see `EigenSolver`."""
    shape = problem.engine.positions.shape
    size = int(np.prod(shape))

    def product(flat: FloatArray) -> FloatArray:
        return problem.product(flat.reshape(shape)).reshape(-1)

    def precondition(flat: FloatArray) -> FloatArray:
        return problem.precondition(flat.reshape(shape)).reshape(-1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about residuals, which the caller checks
        _, vectors = lobpcg(
            LinearOperator((size, size), matvec=product, dtype=float),
            np.array([v.reshape(-1) for v in start]).T,
            M=LinearOperator((size, size), matvec=precondition, dtype=float),
            tol=residual,
            maxiter=iterations,
            largest=False,
        )
    return [np.ascontiguousarray(vector).reshape(shape) for vector in vectors.T]
