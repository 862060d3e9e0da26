"""The solvers of one process or of many."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from mpi4py import MPI

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.solvers.conjugate_directions import ConjugateDirections
from lammps_implicit.solvers.conjugate_gradients import ConjugateGradients
from lammps_implicit.solvers.interface import LinearSolver
from lammps_implicit.solvers.minimal_residual import MinimalResidual, scipy_pass
from lammps_implicit.solvers.spring_inverse import spring_inverse
from lammps_implicit.solvers.springs import Springs


@dataclass(frozen=True)
class Backend:
    """What solves and preconditions.

    Attributes
    ----------
    spring_inverse : callable
        (evaluator, springs) to v → K⁻¹v.
    at_minimum, at_saddle : callable
        Make the solver of single right-hand sides.
    for_many : callable
        Number of directions that there is memory for, to the solver of many right-hand sides at a minimum.
    """

    spring_inverse: Callable[[Evaluator, Springs], Callable[[FloatArray], FloatArray]]
    at_minimum: Callable[[], LinearSolver]
    at_saddle: Callable[[], LinearSolver]
    for_many: Callable[[int], LinearSolver] = ConjugateDirections


def backend(comm: MPI.Comm, petsc_options: Mapping[str, Any] | None = None) -> Backend:
    """Return SciPy's solvers for one process, PETSc's for many.

    Parameters
    ----------
    comm : mpi4py communicator
    petsc_options : mapping, optional
        Options of PETSc without their prefix: ``{"ksp_monitor": None, "pc_type": "jacobi"}``. A Jacobian is solved for
        by our own conjugate directions, which PETSc has no like of, unless ``ksp_type`` is set.

    Raises
    ------
    LammpsImplicitError
        If several ranks run without petsc4py.
    """
    if comm.size == 1:
        return Backend(spring_inverse, ConjugateGradients, lambda: MinimalResidual(scipy_pass))
    # Loaded only where there are several ranks: one process works without PETSc.
    inverses = importlib.import_module("lammps_implicit.solvers.petsc_spring_inverse")
    krylov = importlib.import_module("lammps_implicit.solvers.petsc_krylov")
    options = dict(petsc_options or {})
    return Backend(
        partial(inverses.petsc_spring_inverse, options=options),
        partial(krylov.PetscKrylov, options),
        lambda: MinimalResidual(krylov.petsc_pass(options)),
        lambda capacity: krylov.PetscKrylov(options) if krylov.type_is_set(options) else ConjugateDirections(capacity),
    )
