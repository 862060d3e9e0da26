"""A few modes of a large cell: the softest, or those nearest a value, without the whole dynamical matrix."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import ConvergenceError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.solvers.davidson import davidson_lowest
from lammps_implicit.solvers.eigenproblem import EigenSolver
from lammps_implicit.solvers.interface import PRODUCT_SHARE
from lammps_implicit.solvers.subspace import beyond, combined, inner, norms
from lammps_implicit.vibrations.levels import LEVEL, Choice, signed_roots
from lammps_implicit.vibrations.weighted_hessian import MassWeightedHessian

_GUARDS = 1
"""Modes beyond those wanted, which show whether a level is complete. Chosen: one more is searched for in any case."""

_ITERATIONS = 100
"""Limit on the products for each mode, a safeguard: 10 to 30 are usual."""

_MARGIN = 0.5
"""Residual that is sought, relative to the one allowed: vectors of a level are combined once more in the end."""

_LOOSEST = 1e-5
"""Largest residual that is sought, relative to the spread. Chosen: with 1e-4 modes of 863 atoms were missed, as their
eigenvalues are nearer each other; it saves a quarter of the products."""

_FIRST, _MOST = 8, 1_000
"""Softest modes that are found at first, and at most, on the way to a frequency."""


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues and eigenvectors of D on a set of vectors.

    Attributes
    ----------
    values : (k,) float array
        Ascending.
    vectors : (k, n, 3) float array
        Orthonormal over all ranks.
    products : (k, n, 3) float array
        D e.
    residuals : (k,) float array
        ‖D e - λ e‖.
    """

    values: FloatArray
    vectors: FloatArray
    products: FloatArray
    residuals: FloatArray

    def only(self, kept: list[int]) -> Eigenpairs:
        """Some of them."""
        return Eigenpairs(self.values[kept], self.vectors[kept], self.products[kept], self.residuals[kept])


def has_slepc() -> bool:
    """Whether slepc4py is installed here."""
    return importlib.util.find_spec("slepc4py") is not None


def eigensolver(engine: Evaluator) -> tuple[EigenSolver, str]:
    """The solver for the lowest eigenvectors, and its name: SLEPc's on several ranks if they have it, else our own."""
    if engine.comm.size > 1 and not engine.any(not has_slepc()):
        return importlib.import_module("lammps_implicit.solvers.petsc_eigenmodes").slepc_lowest, "Davidson (SLEPc)"
    return davidson_lowest, "Davidson"


def softest(
    matrix: MassWeightedHessian, choice: Choice, possible: int, tol: float, start: Sequence[FloatArray] = ()
) -> tuple[Eigenpairs, str]:
    """The softest modes, with all of the last level.

    Parameters
    ----------
    matrix : MassWeightedHessian
    choice : Choice
    possible : int
        Number of modes that there are.
    tol : float
        Largest residual, relative to the spread of D.
    start : sequence of (n, 3) float arrays, optional
        Modes that are known already.
    """
    solve, name = eigensolver(matrix.engine)
    tol = min(tol, _LOOSEST)
    accuracy, residual = PRODUCT_SHARE * tol, _MARGIN * tol * matrix.spread
    first = [*start, *matrix.start(max(min(choice.count + _GUARDS, possible) - len(start), 0), len(start))]
    found = ritz(matrix, solve(matrix.problem(accuracy), first, residual, _ITERATIONS))
    kept = choice.of(found.values)
    for search in range(1, possible):
        if len(found.values) < len(first) or len(found.values) == possible:
            break
        # Of equal modes one may be missed, whose place the next takes: the lowest that is left is searched for.
        rest, another = matrix.problem(accuracy, list(found.vectors)), matrix.start(1, -search)
        more = ritz(matrix, solve(rest, another, residual, _ITERATIONS), found)
        before, found = found.values[kept], more
        kept = choice.of(found.values)
        if len(kept) == len(before) and np.allclose(found.values[kept], before, LEVEL, choice.blur):
            break
    return found.only(kept), name


def nearest(matrix: MassWeightedHessian, choice: Choice, possible: int, tol: float) -> tuple[Eigenpairs, str]:
    """Modes nearest a frequency: the softest, ever more of them, until those nearest are among them.

    Measured (863 atoms with a vacancy in Cu, 3 modes above the softest 52): 1,500 products, where Jacobi and Davidson's
    method with MINRES takes 4,000, as many as the whole matrix; folding the spectrum does not converge with as many.

    Raises
    ------
    ConvergenceError
        If there are too many below.
    """
    assert choice.near is not None
    count, known = min(max(2 * choice.count, _FIRST), possible), np.zeros((0, *matrix.engine.positions.shape))
    while True:
        found, name = softest(matrix, Choice(count, None, choice.blur), possible, tol, list(known))
        if not len(found.values):
            return found, name
        kept, roots = choice.of(found.values), signed_roots(found.values)
        beyond_all = roots[-1] - choice.near > np.abs(roots[kept] - choice.near).max()
        if len(found.values) >= possible or (len(kept) >= choice.count and beyond_all and kept[-1] < len(roots) - 1):
            return found.only(kept), f"{name}, of the softest {len(roots)}"
        if count >= _MOST:
            raise ConvergenceError(
                f"more than {_MOST} modes are softer than the frequency: in so large a cell only soft modes can be "
                "found; ask for a lower frequency, or make a smaller cell"
            )
        count, known = min(2 * count, possible, _MOST), found.vectors


def ritz(matrix: MassWeightedHessian, vectors: Sequence[FloatArray], known: Eigenpairs | None = None) -> Eigenpairs:
    """Eigenvalues and eigenvectors of D in the space of some vectors, with the most accurate products.

    Parameters
    ----------
    matrix : MassWeightedHessian
    vectors : sequence of (n, 3) float arrays
    known : Eigenpairs, optional
        Others, whose products are known, that span the space together with these.
    """
    engine, nothing = matrix.engine, np.zeros((0, *matrix.engine.positions.shape))
    basis, products = (nothing, nothing) if known is None else (known.vectors, known.products)
    new = beyond(engine, basis, [matrix.null_space.project(v) for v in vectors])
    basis = np.concatenate([basis, new])
    products = np.concatenate([products, np.array([matrix.product(v) for v in new]).reshape(new.shape)])
    gram = inner(engine, basis, products)
    values, weights = np.linalg.eigh((gram + gram.T) / 2)
    basis, products = combined(weights, basis), combined(weights, products)
    return Eigenpairs(values, basis, products, norms(engine, products - values[:, None, None] * basis))
