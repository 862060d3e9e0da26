"""Checks of linear solvers on a small system in memory."""

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
"""Of residuals, relative to the tolerance: what round-off leaves in a residual that is summed up step by step."""


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
    """Check a linear solver on H x = b with a random symmetric H of known spectrum, products of which are exact.

    Once all atoms are free, and translations are H's null space; once some are frozen. For several right-hand sides and
    tolerances after one `prepare`, ‖b - H x‖ ≤ tol·scale, the residual reported is the true one, and x is orthogonal to
    the null space and zero on frozen components. Where H has a negative eigenvalue the solver raises
    `NotAMinimumError`; one for saddles solves all the same.

    Parameters
    ----------
    solver : LinearSolver
    limited : LinearSolver, optional
        The same, but allowed so few iterations (one or two) that it cannot converge: its status must say so.
    saddle : bool
        Whether it is one for saddles, where H is indefinite.
    size : int
        Number of atoms; H is a dense matrix of three times as many rows.
    condition : float
        Largest over smallest eigenvalue of H; the preconditioner leaves about three times as much.
    seed : int
    comm : MPI.Comm
        Ranks that share the atoms.

    Returns
    -------
    dict of str to float
        Largest true residual, and largest difference of the residual reported from it, in units of the tolerance. No
        potential is evaluated.

    Raises
    ------
    ConformanceError
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
    """A system whose null space is translations where all components are free, and empty where some are frozen."""
    size, random = len(free), np.random.default_rng(seed)
    translations = np.tile(np.eye(3), (size, 1)) if free.all() else np.zeros((free.size, 0))
    matrix = _matrix(free, translations, condition, negative, random)
    engine = Harmonic.of(matrix, comm, free)
    null_space = NullSpace(engine, [column.reshape(-1, 3)[engine.ids] for column in translations.T])
    springs = 1.0 + 0.5 * random_free(engine, seed + 9)
    astray = random_vector(engine.ids, seed + 10)

    def precondition(v: FloatArray) -> FloatArray:
        """Positive definite, and leads into the null space and to frozen components, as multigrid does."""
        return springs * v + engine.dot(astray, v) / size * astray

    def operator(v: FloatArray, accuracy: float, length: float | None) -> FloatArray:
        return engine.hessian_product(v)

    probe = null_space.project(random_free(engine, seed + 8))
    stiffness = engine.norm(engine.hessian_product(probe)) / engine.norm(probe)
    return LinearSystem(engine, operator, precondition, null_space, stiffness, saddle)


def _matrix(
    free: BoolArray, null: FloatArray, condition: float, negative: bool, random: np.random.Generator
) -> FloatArray:
    """Symmetric (3N, 3N) matrix of known eigenvalues on free components beside the null space, a (3N, k) array.

    They run from 1 to `condition`; the first is -1 if one is to be negative. Free components pull at frozen ones too.
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
    """True residual relative to the tolerance, and by how much of it the one reported is off."""
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
        "a test on the preconditioned residual, or a tolerance that is not relative to `scale`",
    )
    reported = abs(solution.residual - true) / tol
    require_small(
        reported,
        10 * SLACK,
        f"the residual reported, {solution.residual:.3g}, against the true one, {true:.3g}, in units of the tolerance",
        "the tolerance, or the residual before the last step, is reported",
    )
    outside = engine.norm(solution.x - project(solution.x)) / engine.norm(solution.x)
    require_small(
        outside, 1e-10, "the part of x in the null space or on frozen components", "x is not projected at the end"
    )
    return true / tol, reported


def _require_refusal(solver: LinearSolver, system: LinearSystem, seed: int) -> None:
    """Check that negative curvature is seen."""
    right = system.null_space.project(random_free(system.engine, seed))
    try:
        solver.prepare(system)
        solver.solve(right, 1e-8, system.engine.norm(right))
    except NotAMinimumError:
        return
    raise ConformanceError(
        "NotAMinimumError is not raised where H has a negative eigenvalue; usual cause: products that go round "
        "`LinearSystem.product`, which looks at curvatures"
    )


def _require_honesty(solver: LinearSolver, system: LinearSystem, seed: int) -> None:
    """Check that a solver that cannot converge says so."""
    right = system.null_space.project(random_free(system.engine, seed))
    solver.prepare(system)
    solution = solver.solve(right, 1e-8, system.engine.norm(right))
    require(
        solution.status is not Status.CONVERGED,
        "the status is CONVERGED after too few iterations",
        "what the iteration says of itself is not passed on",
    )
    try:
        solution.require_converged(1e-8)
    except ConvergenceError:
        return
    raise ConformanceError("`Solution.require_converged` accepts a solution that has not converged")
