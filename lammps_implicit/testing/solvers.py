"""Checks of linear solvers on small systems with known eigenvalues."""

from __future__ import annotations

from functools import partial

import numpy as np
from mpi4py import MPI

from lammps_implicit.arrays import BoolArray, FloatArray
from lammps_implicit.errors import ConvergenceError, NotAMinimumError
from lammps_implicit.solvers.interface import LinearSolver, LinearSystem, Solution, Status
from lammps_implicit.solvers.nullspace import NullSpace
from lammps_implicit.solvers.springs import random_vector
from lammps_implicit.testing.comparison import ConformanceError, require, require_small
from lammps_implicit.testing.engines import random_free
from lammps_implicit.testing.harmonic import Harmonic

SLACK = 1e-3
"""By how much residuals may exceed the tolerance, relative to it: round-off of residuals that are updated
recursively."""


def check_solver(
    solver: LinearSolver,
    *,
    limited: LinearSolver | None = None,
    saddle: bool = False,
    size: int = 20,
    condition: float = 100.0,
    seed: int = 0,
    comm: MPI.Comm = MPI.COMM_SELF,
) -> dict[str, float]:
    """Check a linear solver on H x = b, where H is a random symmetric matrix with known eigenvalues.

    One system has only free atoms, so that translations are its null space; in the other some are frozen. After one
    `prepare`, systems are solved for several right-hand sides and tolerances. Each solution must satisfy ‖b - H x‖ ≤
    tol·scale, report its true residual, be orthogonal to the null space and vanish on frozen components. If H has a
    negative eigenvalue the solver must raise `NotAMinimumError`, unless it is one for saddles. No potential is
    evaluated.

    Parameters
    ----------
    solver : LinearSolver
    limited : LinearSolver, optional
        The same solver, limited to so few iterations (one or two) that it cannot converge; its status must say so.
    saddle : bool
        Whether the solver accepts an indefinite H.
    size : int
        Number of atoms; H is dense with three times as many rows.
    condition : float
        Condition number of H; the preconditioner roughly triples it.
    seed : int
        Seed of H and of the right-hand sides.
    comm : MPI.Comm
        Ranks over which the atoms are distributed.

    Returns
    -------
    dict of str to float
        ``residual``: largest true residual; ``reported``: largest difference between the reported and the true
        residual; both in units of the tolerance.

    Raises
    ------
    ConformanceError
        Usual causes: a convergence test on the preconditioned residual, an estimate reported as the residual, or
        products that bypass `LinearSystem.product`.
    """
    everywhere, some = np.ones((size, 3), bool), np.ones((size, 3), bool)
    some[1] = some[3, 1] = False
    system = partial(_system, condition=condition, seed=seed, comm=comm, saddle=saddle)
    found = {"residual": 0.0, "reported": 0.0}
    for free in (everywhere, some):
        here = system(free, negative=saddle)
        solver.prepare(here)
        for number, (tol, scale) in enumerate(((1e-3, 1.0), (1e-8, 1.0), (1e-5, 10.0))):
            right = here.null_space.project(random_free(here.engine, seed + number))
            length = scale * here.engine.norm(right)
            true, reported = _solved(here, solver.solve(right, tol, length), right, tol, length)
            found = {"residual": max(found["residual"], true), "reported": max(found["reported"], reported)}
    if not saddle:
        _require_refusal(solver, system(everywhere, negative=True), seed)
    if limited is not None:
        _require_honesty(limited, system(everywhere, negative=saddle), seed)
    return found


def _system(free: BoolArray, negative: bool, condition: float, seed: int, comm: MPI.Comm, saddle: bool) -> LinearSystem:
    """A system whose null space consists of translations if all components are free, and is empty otherwise."""
    size, random = len(free), np.random.default_rng(seed)
    translations = np.tile(np.eye(3), (size, 1)) if free.all() else np.zeros((free.size, 0))
    matrix = _matrix(free, translations, condition, negative, random)
    engine = Harmonic.of(matrix, comm, free)
    null_space = NullSpace(engine, [column.reshape(-1, 3)[engine.ids] for column in translations.T])
    springs = 1.0 + 0.5 * random_free(engine, seed + 9)
    astray = random_vector(engine.ids, seed + 10)

    def precondition(v: FloatArray) -> FloatArray:
        """Positive definite, but with components in the null space and on frozen atoms, like multigrid."""
        return springs * v + engine.dot(astray, v) / size * astray

    def operator(v: FloatArray, accuracy: float, length: float | None) -> FloatArray:
        return engine.hessian_product(v)

    probe = null_space.project(random_free(engine, seed + 8))
    stiffness = engine.norm(engine.hessian_product(probe)) / engine.norm(probe)
    return LinearSystem(engine, operator, precondition, null_space, stiffness, saddle)


def _matrix(
    free: BoolArray, null: FloatArray, condition: float, negative: bool, random: np.random.Generator
) -> FloatArray:
    """Symmetric (3N, 3N) matrix with known eigenvalues on the free components and the given null space, (3N, k).

    Eigenvalues run from 1 to `condition`; the first is -1 if `negative`. Frozen components are coupled to free ones.
    """
    rows, k = np.flatnonzero(free), null.shape[1]
    vectors = np.linalg.qr(np.hstack([null[rows], random.standard_normal((len(rows), len(rows) - k))]))[0][:, k:]
    values = np.geomspace(1.0, condition, len(rows) - k)
    values[0] *= -1.0 if negative else 1.0
    matrix = random.standard_normal((free.size, free.size))
    matrix += matrix.T
    matrix[np.ix_(rows, rows)] = (vectors * values) @ vectors.T
    return matrix


def _solved(
    system: LinearSystem, solution: Solution, right: FloatArray, tol: float, scale: float
) -> tuple[float, float]:
    """True residual, and difference between the reported and the true residual, both in units of the tolerance."""
    engine, project = system.engine, system.null_space.project
    asked = f"asked for {tol:g} of {scale:.3g}"
    require(
        solution.status is Status.CONVERGED,
        f"the status is {solution.status.name} ({solution.reason or solution.status.value}), {asked}",
        "an iteration limit that is too low, or a preconditioner that is not applied",
    )
    true = engine.norm(right - project(engine.hessian_product(solution.x))) / scale
    require_small(
        true / tol,
        1.0 + SLACK,
        f"‖b - H x‖ in units of the tolerance, {asked}",
        "a convergence test on the preconditioned residual, or a tolerance that is not relative to `scale`",
    )
    reported = abs(solution.residual - true) / tol
    require_small(
        reported,
        10 * SLACK,
        f"the reported residual, {solution.residual:.3g}, against the true one, {true:.3g}, in units of the tolerance",
        "the tolerance, or the residual before the last step, is reported instead",
    )
    outside = engine.norm(solution.x - project(solution.x)) / engine.norm(solution.x)
    require_small(
        outside, 1e-10, "the part of x in the null space or on frozen components", "x is not projected at the end"
    )
    return true / tol, reported


def _require_refusal(solver: LinearSolver, system: LinearSystem, seed: int) -> None:
    """Check that the solver detects negative curvature."""
    right = system.null_space.project(random_free(system.engine, seed))
    try:
        solver.prepare(system)
        solver.solve(right, 1e-8, system.engine.norm(right))
    except NotAMinimumError:
        return
    raise ConformanceError(
        "NotAMinimumError is not raised although H has a negative eigenvalue; usual cause: products that bypass "
        "`LinearSystem.product`, which checks curvatures"
    )


def _require_honesty(solver: LinearSolver, system: LinearSystem, seed: int) -> None:
    """Check that a solver that cannot converge reports it."""
    right = system.null_space.project(random_free(system.engine, seed))
    solver.prepare(system)
    solution = solver.solve(right, 1e-8, system.engine.norm(right))
    require(
        solution.status is not Status.CONVERGED,
        "the status is CONVERGED after too few iterations",
        "the outcome of the iteration is not passed on",
    )
    try:
        solution.require_converged(1e-8)
    except ConvergenceError:
        return
    raise ConformanceError("`Solution.require_converged` accepts a solution that has not converged")
