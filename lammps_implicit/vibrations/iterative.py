"""A few modes of a large cell: the softest, or those nearest a value, without the whole dynamical matrix."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import ConvergenceError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.solvers.backend import backend
from lammps_implicit.solvers.eigenproblem import EigenSolver
from lammps_implicit.solvers.interface import PRODUCT_SHARE
from lammps_implicit.vibrations.levels import Choice
from lammps_implicit.vibrations.lobpcg import scipy_lowest
from lammps_implicit.vibrations.weighted_hessian import MassWeightedHessian

_GUARDS = 2
"""Modes beyond those wanted, which show whether a level is complete. Chosen: each costs as much as a mode."""

_ITERATIONS = 100
"""Limit on the iterations of LOBPCG, a safeguard: 15 to 25 are usual."""

_BLOCK = 4
"""Vectors that are added to a space at a time. Chosen: one more than the modes of a level in a cubic crystal."""

_LARGEST_SPACE = 400
"""Limit on the vectors of a space of inverse iterations, a safeguard: some 8 for each mode are usual."""

_INNER = 0.1
"""Tolerance of the solves of inverse iterations, relative to that of modes."""


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues and eigenvectors of D on a set of vectors.

    Attributes
    ----------
    values : (k,) float array
        Ascending.
    vectors : (k, n, 3) float array
        Orthonormal over all ranks.
    residuals : (k,) float array
        ‖D e - λ e‖.
    """

    values: FloatArray
    vectors: FloatArray
    residuals: FloatArray

    def only(self, kept: list[int]) -> Eigenpairs:
        """Some of them."""
        return Eigenpairs(self.values[kept], self.vectors[kept], self.residuals[kept])


def eigensolver(engine: Evaluator) -> tuple[EigenSolver, str]:
    """The solver for the lowest eigenvectors, and its name: SciPy's on one process, SLEPc's on several ranks.

    Raises
    ------
    LammpsImplicitError
        If there are several ranks and slepc4py cannot be imported.
    """
    if engine.comm.size == 1:
        return scipy_lowest, "LOBPCG (SciPy)"
    return importlib.import_module("lammps_implicit.solvers.petsc_eigenmodes").slepc_lowest, "Davidson (SLEPc)"


def softest(matrix: MassWeightedHessian, choice: Choice, possible: int, tol: float) -> tuple[Eigenpairs, str]:
    """The softest modes, with all of the last level.

    Parameters
    ----------
    matrix : MassWeightedHessian
    choice : Choice
    possible : int
        Number of modes that there are.
    tol : float
        Largest residual, relative to the spread of D.
    """
    solve, name = eigensolver(matrix.engine)
    problem = matrix.problem(PRODUCT_SHARE * tol)
    block = min(choice.count + _GUARDS, possible)
    start = matrix.start(block)
    while True:
        found = ritz(matrix, solve(problem, start, tol * matrix.spread, _ITERATIONS))
        kept = choice.of(found.values)
        if len(found.values) < block or len(kept) < block or block == possible:
            return found.only(kept), name
        block = min(block + _BLOCK, possible)
        start = [*found.vectors, *matrix.start(block)[len(found.values) :]]


def nearest(matrix: MassWeightedHessian, choice: Choice, value: float, tol: float) -> tuple[Eigenpairs, str]:
    """Modes nearest an eigenvalue: Rayleigh and Ritz for (D - value)⁻¹ in a block Krylov space.

    Each vector takes a solve by MINRES: tens of products among the softest modes, as many as there are atoms amid the
    spectrum.

    Raises
    ------
    ConvergenceError
        If they are not found to the tolerance.
    """
    engine, system = matrix.engine, matrix.shifted(value)
    solver = backend(engine.comm).at_saddle()
    solver.prepare(system)
    space, images = np.zeros((0, *engine.positions.shape)), np.zeros((0, *engine.positions.shape))
    block = matrix.start(_BLOCK)
    while len(space) < _LARGEST_SPACE:
        new = _beyond(engine, space, block)
        if not len(new):
            break
        block = [solver.solve(v, _INNER * tol, 1.0).require_converged(_INNER * tol).x for v in new]
        space, images = np.concatenate([space, new]), np.concatenate([images, np.array(block)])
        gram = _inner(engine, space, images)
        inverses, weights = np.linalg.eigh((gram + gram.T) / 2)
        order = np.argsort(-np.abs(inverses), kind="stable")[: choice.count + _BLOCK]
        inverses, weights = inverses[order], weights[:, order]
        kept = choice.of(value + 1 / inverses)
        rests = np.tensordot(weights.T, images, 1) - inverses[:, None, None] * np.tensordot(weights.T, space, 1)
        missed = np.sqrt(np.diag(_inner(engine, rests, rests))) / np.abs(inverses)
        if len(kept) < len(order) and missed[kept].max() <= tol:
            return ritz(matrix, list(np.tensordot(weights[:, kept].T, space, 1))), "shift-invert (MINRES)"
    raise ConvergenceError(
        f"modes nearest the frequency were not found to {tol:g} in a space of {len(space)} vectors: ask for a looser "
        "tolerance, fewer modes, or all modes up to there"
    )


def ritz(matrix: MassWeightedHessian, vectors: list[FloatArray]) -> Eigenpairs:
    """Eigenvalues and eigenvectors of D in the space of some vectors, with the most accurate products."""
    engine = matrix.engine
    basis = _beyond(engine, np.zeros((0, *engine.positions.shape)), [matrix.null_space.project(v) for v in vectors])
    products = np.array([matrix.product(v) for v in basis]).reshape(basis.shape)
    gram = _inner(engine, basis, products)
    values, weights = np.linalg.eigh((gram + gram.T) / 2)
    modes = np.tensordot(weights.T, basis, 1)
    rests = np.tensordot(weights.T, products, 1) - values[:, None, None] * modes
    return Eigenpairs(values, modes, np.sqrt(np.diag(_inner(engine, rests, rests))))


def _inner(engine: Evaluator, left: FloatArray, right: FloatArray) -> FloatArray:
    """Inner products of two sets of vectors, (k, n, 3) and (m, n, 3), over all ranks: (k, m)."""
    return np.asarray(engine.sum(np.ascontiguousarray(np.tensordot(left, right, ((1, 2), (1, 2))))))


def _beyond(engine: Evaluator, space: FloatArray, vectors: list[FloatArray]) -> FloatArray:
    """Orthonormal vectors that span, together with an orthonormal space, what some vectors do, (k, n, 3)."""
    found = space
    for vector in vectors:
        size = rest = engine.norm(vector)
        for _ in range(2):  # the second time for what round-off leaves
            vector = vector - np.tensordot(_inner(engine, found, vector[None])[:, 0], found, 1)
            rest = engine.norm(vector)
        if rest > 1e-10 * size:
            found = np.concatenate([found, vector[None] / rest])
    return found[len(space) :]
