"""Checks of linear solvers on a small system in memory."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI

from lammps_implicit.arrays import BoolArray, FloatArray
from lammps_implicit.errors import ConvergenceError, NotAMinimumError
from lammps_implicit.solvers.interface import LinearSolver, LinearSystem, Solution, Status
from lammps_implicit.solvers.nullspace import NullSpace, rigid_motions
from lammps_implicit.testing.comparison import ConformanceError, require, require_small
from lammps_implicit.testing.engines import random_free
from lammps_implicit.testing.harmonic import Harmonic

STIFFEST = 100.0
"""Largest eigenvalue; the smallest is one."""

SLACK = 1e-3
"""Of residuals, relative to the tolerance: what round-off leaves in a residual that is summed up step by step."""


def check_solver(
    solver: LinearSolver,
    *,
    limited: LinearSolver | None = None,
    saddle: bool = False,
    size: int = 20,
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
    found = {"residual": 0.0, "reported": 0.0}
    frozen = np.ones((size, 3), bool)
    frozen[1] = frozen[3, 1] = False
    for free in (None, frozen):
        system = _system(size, seed, comm, free, negative=saddle, saddle=saddle)
        solver.prepare(system)
        for number, (tol, scale) in enumerate(((1e-3, 1.0), (1e-8, 1.0), (1e-5, 10.0))):
            right = system.null_space.project(random_free(system.engine, seed + number))
            length = scale * system.engine.norm(right)
            true, reported = _solved(system, solver.solve(right, tol, length), right, tol, length)
            found = {"residual": max(found["residual"], true), "reported": max(found["reported"], reported)}
    if not saddle:
        _require_refusal(solver, _system(size, seed, comm, None, negative=True, saddle=False), seed)
    if limited is not None:
        _require_honesty(limited, _system(size, seed, comm, None, negative=saddle, saddle=saddle), seed)
    return found


def _system(size: int, seed: int, comm: MPI.Comm, free: BoolArray | None, negative: bool, saddle: bool) -> LinearSystem:
    """A system with eigenvalues from 1 to `STIFFEST`, one perhaps -1, and free translations unless atoms are frozen."""
    random = np.random.default_rng(seed)
    values = np.geomspace(1.0, STIFFEST, 3 * size)
    if negative:
        values[0] = -values[0]
    vectors = np.linalg.qr(random.standard_normal((3 * size, 3 * size)))[0]
    matrix = (vectors * values) @ vectors.T
    if free is None:
        still = np.tile(np.eye(3), size) / size**0.5
        matrix -= still.T @ (still @ matrix)
        matrix -= (matrix @ still.T) @ still
    engine = Harmonic.of((matrix + matrix.T) / 2, comm, free)
    # Rotations of these atoms on a line are not in the null space: the matrix knows of no geometry.
    null_space = NullSpace(engine, rigid_motions(engine)[:3] if free is None else [])
    springs = 1.0 + 0.5 * random_free(engine, seed + 9)

    def precondition(v: FloatArray) -> FloatArray:
        return springs * v + 1.0  # whatever leads out of the space is projected out by the system

    probe = null_space.project(random_free(engine, seed + 8))
    stiffness = engine.norm(engine.hessian_product(probe)) / engine.norm(probe)
    return LinearSystem(
        engine,
        lambda v, accuracy, length: engine.hessian_product(v * engine.free),
        precondition,
        null_space,
        stiffness,
        saddle,
    )


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
