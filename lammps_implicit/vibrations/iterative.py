"""A few modes of a large cell: the softest, or those nearest a value, without the whole dynamical matrix."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import eigh

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import ConvergenceError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.solvers.backend import backend
from lammps_implicit.solvers.davidson import davidson_lowest
from lammps_implicit.solvers.eigenproblem import EigenSolver
from lammps_implicit.solvers.interface import PRODUCT_SHARE
from lammps_implicit.solvers.nullspace import NullSpace
from lammps_implicit.solvers.subspace import beyond, combined, inner, norms
from lammps_implicit.vibrations.levels import LEVEL, Choice
from lammps_implicit.vibrations.weighted_hessian import MassWeightedHessian

_GUARDS = 1
"""Modes beyond those wanted, which show whether a level is complete. Chosen: one more is searched for in any case."""

_ITERATIONS = 100
"""Limit on the products for each mode, a safeguard: 10 to 30 are usual."""

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


def eigensolver(engine: Evaluator) -> tuple[EigenSolver, str]:
    """The solver for the lowest eigenvectors, and its name: SLEPc's on several ranks if they have it, else our own."""
    if engine.comm.size > 1 and not engine.any(importlib.util.find_spec("slepc4py") is None):
        return importlib.import_module("lammps_implicit.solvers.petsc_eigenmodes").slepc_lowest, "Davidson (SLEPc)"
    return davidson_lowest, "Davidson"


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
    accuracy, residual = PRODUCT_SHARE * tol, tol * matrix.spread
    first = matrix.start(min(choice.count + _GUARDS, possible))
    found = ritz(matrix, solve(matrix.problem(accuracy), first, residual, _ITERATIONS))
    kept = choice.of(found.values)
    for search in range(1, possible):
        if len(found.values) < len(first) or len(found.values) == possible:
            break
        # Of equal modes one may be missed, whose place the next takes: the lowest that is left is searched for.
        rest = matrix.problem(accuracy, found.vectors)
        more = ritz(matrix, solve(rest, matrix.start(1, seed=search), residual, _ITERATIONS), found)
        before, found = found.values[kept], more
        kept = choice.of(found.values)
        if len(kept) == len(before) and np.allclose(found.values[kept], before, LEVEL, choice.blur):
            break
    return found.only(kept), name


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
        new = beyond(engine, space, [solver.solve(r, _INNER, engine.norm(r)).x for r in wanted])
        if not len(new):
            break
        space = np.concatenate([space, new])
        images = np.concatenate([images, np.array([matrix.product(v, PRODUCT_SHARE * tol) for v in new])])
        found, values, rests = _harmonic(engine, space, images, value, choice.count + _BLOCK)
        kept = choice.of(values)
        missed = norms(engine, rests) / matrix.spread
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
    gram, mixed = inner(engine, shifted, shifted), inner(engine, space, shifted)
    inverses, weights = eigh((mixed + mixed.T) / 2, (gram + gram.T) / 2)
    weights = weights[:, np.argsort(-np.abs(inverses), kind="stable")[:count]]
    weights = weights / np.linalg.norm(weights, axis=0)
    vectors, products = (combined(weights, array) for array in (space, images))
    values = np.diag(inner(engine, vectors, products)).copy()
    return vectors, values, products - values[:, None, None] * vectors


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
