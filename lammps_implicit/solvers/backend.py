"""The choice of solvers: SciPy's on one process, PETSc's on several ranks."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from mpi4py import MPI

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.solvers.conjugate_directions import ConjugateDirections
from lammps_implicit.solvers.conjugate_gradients import ConjugateGradients
from lammps_implicit.solvers.interface import LinearSolver
from lammps_implicit.solvers.minimal_residual import MinimalResidual, scipy_pass
from lammps_implicit.solvers.spring_inverse import spring_inverse
from lammps_implicit.solvers.springs import Springs


@dataclass(frozen=True)
class Backend:
    """Constructors of solvers and of the preconditioner.

    Attributes
    ----------
    spring_inverse : callable
        Maps (evaluator, springs) to the function v → K⁻¹v.
    at_minimum, at_saddle : callable
        Return a solver for single right-hand sides.
    for_many : callable
        Maps the number of directions that fit into memory to a solver for many right-hand sides at a minimum.
    """

    spring_inverse: Callable[[Evaluator, Springs], Callable[[FloatArray], FloatArray]]
    at_minimum: Callable[[], LinearSolver]
    at_saddle: Callable[[], LinearSolver]
    for_many: Callable[[int], LinearSolver] = ConjugateDirections


def backend(comm: MPI.Comm, petsc_options: Mapping[str, Any] | None = None) -> Backend:
    """Return the solvers for a communicator: SciPy's for one process, PETSc's for several.

    Parameters
    ----------
    comm : MPI.Comm
    petsc_options : mapping of str to object, optional
        PETSc options without the prefix ``-li_``, for example ``{"ksp_monitor": None, "pc_type": "jacobi"}``. Jacobians
        use conjugate directions (`ConjugateDirections`, without counterpart in PETSc) unless ``ksp_type`` is set.

    Raises
    ------
    LammpsImplicitError
        If there are several ranks and petsc4py cannot be imported.
    """
    given = petsc_options or {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise LammpsImplicitError(f'petsc_options {given!r}: write a dictionary such as {{"pc_type": "jacobi"}}')
    if comm.size == 1:
        return Backend(spring_inverse, ConjugateGradients, lambda: MinimalResidual(scipy_pass))
    # PETSc is loaded on several ranks only, so that one process works without it.
    inverses = importlib.import_module("lammps_implicit.solvers.petsc_spring_inverse")
    krylov = importlib.import_module("lammps_implicit.solvers.petsc_krylov")
    options = dict(given)
    krylov.require_known_type(options)
    return Backend(
        partial(inverses.petsc_spring_inverse, options=options),
        partial(krylov.PetscKrylov, options),
        lambda: MinimalResidual(krylov.petsc_pass(options)),
        lambda capacity: krylov.PetscKrylov(options) if krylov.type_is_set(options) else ConjugateDirections(capacity),
    )
