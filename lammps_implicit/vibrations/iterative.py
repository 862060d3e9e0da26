"""A few modes of a large cell: the softest, or those nearest a value, without the whole dynamical matrix."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import eigh

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import ConvergenceError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.solvers.backend import backend
from lammps_implicit.solvers.eigenproblem import EigenSolver
from lammps_implicit.solvers.interface import PRODUCT_SHARE
from lammps_implicit.solvers.nullspace import NullSpace
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
"""Limit on the vectors of a space that modes near a frequency are sought in, a safeguard: some 8 for each are usual."""

_INNER = 0.1
"""Relative residual of the solves that extend it. Chosen: looser ones take more of them, tighter ones more products."""


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
    """Modes nearest an eigenvalue: Jacobi and Davidson's method with harmonic Ritz vectors.

    (G. L. G. Sleijpen, H. A. van der Vorst, SIAM J. Matrix Anal. Appl. 17, 401 (1996).) The space is extended by MINRES
    solutions of (D - value) t = -r outside the modes that are about to be found: tens of products among the softest
    modes, hundreds amid the spectrum.

    Raises
    ------
    ConvergenceError
        If they are not found to the tolerance.
    """
    engine, system = matrix.engine, matrix.shifted(value)
    solver = backend(engine.comm).at_saddle()
    space = images = np.zeros((0, *engine.positions.shape))
    found, rests = matrix.start(_BLOCK), matrix.start(_BLOCK)
    possible = engine.n_free - len(matrix.null_space.vectors)
    while len(space) < min(_LARGEST_SPACE, possible):
        # What is found so far is left out of the solves: it is what makes them ill-conditioned.
        known = NullSpace(engine, [*matrix.null_space.vectors, *(found if len(space) else ())])
        solver.prepare(replace(system, null_space=known))
        wanted = [known.project(rest) for rest in rests]
        new = _beyond(engine, space, [solver.solve(r, _INNER, engine.norm(r)).x for r in wanted])
        if not len(new):
            break
        space = np.concatenate([space, new])
        images = np.concatenate([images, np.array([matrix.product(v, PRODUCT_SHARE * tol) for v in new])])
        found, values, rests = _harmonic(engine, space, images, value, choice.count + _BLOCK)
        kept = choice.of(values)
        missed = np.sqrt(np.diag(_inner(engine, rests, rests))) / matrix.spread
        left = [index for index in kept if missed[index] > tol]
        if not left and (len(kept) < len(values) or len(space) == possible):
            pairs = ritz(matrix, list(found[kept]))
            return pairs, "Jacobi-Davidson (MINRES)"
        order = sorted(left or range(len(values)), key=lambda index: -missed[index])
        rests = rests[order[:_BLOCK]]
    raise ConvergenceError(
        f"modes nearest the frequency were not found to {tol:g} in a space of {len(space)} vectors: ask for a looser "
        "tolerance or for fewer modes"
    )


def _harmonic(
    engine: Evaluator, space: FloatArray, images: FloatArray, value: float, count: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Harmonic Ritz vectors of D nearest a value, (k, n, 3), their Rayleigh quotients, (k,), and residuals, (k, n, 3).

    Those of (D - value)⁻¹ in the space that D - value maps the given one to: extremal ones, unlike those of D itself.
    """
    shifted = images - value * space
    gram, mixed = _inner(engine, shifted, shifted), _inner(engine, space, shifted)
    inverses, weights = eigh((mixed + mixed.T) / 2, (gram + gram.T) / 2)
    weights = weights[:, np.argsort(-np.abs(inverses), kind="stable")[:count]]
    weights = weights / np.linalg.norm(weights, axis=0)
    vectors, products = (np.tensordot(weights.T, array, 1) for array in (space, images))
    values = np.diag(_inner(engine, vectors, products)).copy()
    return vectors, values, products - values[:, None, None] * vectors


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
