"""Solves whose residual hardly falls end soon, and say why: all solvers, on one rank and on two."""

import importlib
import re

import numpy as np
import pytest
from mpi4py import MPI

from lammps_implicit import LammpsImplicitError
from lammps_implicit.solvers.conjugate_directions import ConjugateDirections
from lammps_implicit.solvers.conjugate_gradients import ConjugateGradients
from lammps_implicit.solvers.interface import PATIENCE, LinearSystem, hardly_falls
from lammps_implicit.solvers.minimal_residual import MinimalResidual, scipy_pass
from lammps_implicit.solvers.nullspace import NullSpace
from lammps_implicit.solvers.springs import random_vector
from lammps_implicit.testing.harmonic import Harmonic

ATOMS = 150


def _system(saddle):
    """Stiffnesses over seven decades, of which the preconditioner knows nothing."""
    values = np.geomspace(1e-7, 1.0, 3 * ATOMS)
    if saddle:
        values[-1] = -1.0
    engine = Harmonic.of(np.diag(values), MPI.COMM_WORLD)
    system = LinearSystem(
        engine, lambda v, accuracy, length: engine.hessian_product(v), np.copy, NullSpace(engine, []), 1e-3, saddle
    )
    return system, random_vector(engine.ids)


def _solvers():
    solvers = {"directions": (lambda: ConjugateDirections(200), False)}
    if MPI.COMM_WORLD.size == 1:
        solvers["scipy"] = ConjugateGradients, False
        solvers["scipy minres"] = (lambda: MinimalResidual(scipy_pass)), True
    else:
        petsc = importlib.import_module("lammps_implicit.solvers.petsc_krylov")
        solvers["petsc"] = (lambda: petsc.PetscKrylov({})), False
        solvers["petsc minres"] = (lambda: MinimalResidual(petsc.petsc_pass({}))), True
    return solvers


@pytest.mark.parallel(nprocs=[1, 2])
def test_residuals_that_hardly_fall_end_a_solve():
    for name, (make, saddle) in _solvers().items():
        system, right = _system(saddle)
        solver = make()
        solver.prepare(system)
        with pytest.raises(LammpsImplicitError, match="preconditioner does not see how stiff") as failure:
            solver.solve(right, 1e-8, system.engine.norm(right)).require_converged(1e-8)
        iterations = int(re.search(r"in (\d+) iterations", str(failure.value))[1])
        assert iterations <= 2 * PATIENCE + 10, name


def test_iterations_that_would_take_more_than_a_direct_solution_end():
    """A residual that falls by half in `PATIENCE` iterations goes on, unless the system could be solved directly."""
    history = list(0.5 ** (np.arange(2 * PATIENCE) / PATIENCE))
    assert not hardly_falls(history, 1e-6)
    assert not hardly_falls(history, 1e-6, direct=1000)  # another 900
    assert hardly_falls(history, 1e-6, direct=800)
    assert not hardly_falls(history, 0.3, direct=20)
    assert not hardly_falls(history[:PATIENCE], 1e-6, direct=1)
    assert hardly_falls([1.0] * (PATIENCE + 1), 1e-6)
