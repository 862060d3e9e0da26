"""Dense Hessian, for cells so small that it takes fewer force evaluations than iterative solves."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.linalg import eigh

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.solvers.interface import (
    PRODUCT_SHARE,
    LinearSystem,
    Solution,
    Status,
    require_positive_curvature,
)

_REFINEMENTS = 4
"""Products for one solution; with a Hessian that is nearly exact each takes orders of magnitude off the residual."""


class Dense:
    """Direct solver: evaluates H column by column and inverts it outside the null space. One process only.

    Parameters
    ----------
    accuracy : float
        Relative error each column may have.
    progress : callable
        Called with (columns done, total number of columns).
    """

    name = "dense"

    def __init__(self, accuracy: float, progress: Progress = no_progress) -> None:
        self.accuracy = accuracy
        self.progress = progress

    def prepare(self, system: LinearSystem) -> None:
        """Evaluate H, one product per free component, and diagonalise it.

        Raises
        ------
        NotAMinimumError
            If an eigenvalue outside the null space is not positive; at a saddle, if one vanishes.
        LammpsImplicitError
            If there are several ranks.
        """
        engine, null_space = system.engine, system.null_space
        if engine.comm.size > 1:
            raise LammpsImplicitError(
                "method 'dense' runs on one rank only: use method 'iterative', or start without mpirun"
            )
        self._system = system
        self._basis = _basis(engine)
        size = self._basis.shape[1]
        self._values, self._vectors = np.ones(0), np.zeros((size, 0))
        if len(null_space.vectors) == size:  # only rigid motions are possible
            return
        self._evaluate()
        if not (system.saddle or self._values[0] > 0) and system.measure is not None:
            # Once more, with steps measured along the mode that looks unstable.
            mode = (self._basis @ self._vectors[:, 0]).reshape(engine.free.shape)
            if engine.dot(mode, system.measure(mode)) > 0:
                self._evaluate()
        lowest = float(np.abs(self._values).min()) if system.saddle else float(self._values[0])
        require_positive_curvature(lowest, system.stiffness)

    def _evaluate(self) -> None:
        """Evaluate H and diagonalise it outside the null space."""
        system, basis = self._system, self._basis
        size = basis.shape[1]
        hessian = np.empty((size, size))
        for column in range(size):
            unit = basis[:, [column]].toarray().reshape(system.engine.free.shape)
            hessian[:, column] = basis.T @ system.operator(unit, self.accuracy, None).reshape(-1)
            self.progress(column + 1, size)
        hessian = 0.5 * (hessian + hessian.T)
        null = np.array([basis.T @ vector.reshape(-1) for vector in system.null_space.vectors]).reshape(-1, size)
        # The null space gets an eigenvalue above all others and is projected out of solutions: exact, unlike a shift.
        hessian -= null.T @ (null @ hessian)
        hessian -= (hessian @ null.T) @ null
        self._values, self._vectors = eigh(hessian + np.linalg.norm(hessian) * null.T @ null)

    def solve(self, right: FloatArray, tol: float, scale: float) -> Solution:
        """Return H⁻¹b, refined by products with H until the residual is below tol·scale.

        Columns are evaluated as accurately as stiff bonds need: where soft contacts decide the solution, they leave
        residuals that only a product with the solution itself shows. One product or two, at most `_REFINEMENTS`.
        """
        system = self._system
        b = system.null_space.project(right)
        size = float(np.linalg.norm(b))
        if size == 0:
            return Solution(np.zeros_like(b), Status.CONVERGED, 0, 0.0)
        best, least, found = b, np.inf, self._inverse_times(b)
        for _ in range(_REFINEMENTS):
            product = system.operator(found, PRODUCT_SHARE * tol * scale / size, size)
            rest = b - system.null_space.project(product)
            remaining = float(np.linalg.norm(rest))
            if not remaining < 0.5 * least:  # the noise of products
                break
            best, least = found, remaining
            if least <= tol * scale:
                break
            found = found + self._inverse_times(rest)
        return Solution(best, Status.CONVERGED, 0, least / scale)

    def _inverse_times(self, b: FloatArray) -> FloatArray:
        """H⁻¹b outside the null space, with H as evaluated, (n, 3)."""
        x = self._basis @ (self._vectors @ ((self._vectors.T @ (self._basis.T @ b.reshape(-1))) / self._values))
        return self._system.null_space.project(x.reshape(b.shape))


def _basis(engine: Evaluator) -> sparse.csc_matrix:
    """Orthonormal displacements that atoms can make, (3n, m): single components, and groups of them that move together.

    One process only.
    """
    alone = np.flatnonzero(engine.alone)
    numbers = 1 + np.flatnonzero(engine.together_counts)
    groups = [np.flatnonzero(engine.together == number) for number in numbers]
    rows = np.concatenate([alone, *groups]).astype(np.int64)
    columns = np.repeat(np.arange(len(alone) + len(groups)), [1] * len(alone) + [len(group) for group in groups])
    sizes = np.repeat([1.0] * len(alone) + [len(group) ** -0.5 for group in groups], np.bincount(columns))
    return sparse.csc_matrix((sizes, (rows, columns)), shape=(engine.free.size, len(alone) + len(groups)))
