"""Lowest eigenvectors on several ranks: SLEPc's generalised Davidson method, or the type set by ``-li_eps_type``."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.solvers.eigenproblem import EigenProblem
from lammps_implicit.solvers.petsc_options import PREFIX, PETSc, petsc_options

try:
    SLEPc: Any = importlib.import_module("slepc4py.SLEPc")
except ImportError as error:
    raise LammpsImplicitError(
        f"modes of large cells on several ranks require slepc4py, which cannot be imported ({error}): install it with "
        'pip install "lammps_implicit[petsc]" or load it with your cluster\'s modules, or run on one rank'
    ) from None

_BLOCK = 1
"""Residuals that extend the space at a time. Chosen: one more than the modes of a level in a cubic crystal."""


def slepc_lowest(
    problem: EigenProblem, start: Sequence[FloatArray], residual: float, iterations: int
) -> list[FloatArray]:
    """Lowest eigenvectors by SLEPc; see `EigenSolver`. Possibly more than were asked for, or fewer.

    Raises
    ------
    LammpsImplicitError
        If a product raises it, or SLEPc does not accept the options.
    """
    engine = problem.engine
    context = _Context(problem)
    size = engine.positions.size
    shell = PETSc.Mat().createPython(((size, 3 * engine.n_atoms),) * 2, context, comm=engine.comm)
    shell.setUp()
    shell.setOption(PETSc.Mat.Option.SYMMETRIC, True)
    eps = SLEPc.EPS().create(engine.comm)
    try:
        eps.setOptionsPrefix(PREFIX)
        eps.setOperators(shell)
        eps.setProblemType(SLEPc.EPS.ProblemType.HEP)
        eps.setType(SLEPc.EPS.Type.GD)
        eps.setWhichEigenpairs(SLEPc.EPS.Which.SMALLEST_REAL)
        eps.setConvergenceTest(SLEPc.EPS.Conv.ABS)
        eps.setDimensions(len(start))
        # All vectors to start from are used: a level of k equal modes needs k of them.
        eps.setGDInitialSize(len(start))
        eps.setGDBlockSize(min(len(start), _BLOCK))
        eps.setTolerances(residual, iterations * len(start))  # one expansion by a block an iteration
        outer = eps.getST()
        outer.setType(SLEPc.ST.Type.PRECOND)
        krylov = outer.getKSP()
        krylov.setType(PETSc.KSP.Type.PREONLY)
        krylov.getPC().setType(PETSc.PC.Type.PYTHON)
        krylov.getPC().setPythonContext(context)
        try:
            with petsc_options({}):
                eps.setFromOptions()
        except PETSc.Error as error:
            reason = " ".join(str(error).split())
            raise LammpsImplicitError(f"SLEPc does not accept the options -{PREFIX}eps_...: {reason}") from None
        space = []
        for vector in start:
            column = shell.createVecRight()
            column.array[:] = vector.reshape(-1)
            space.append(column)
        eps.setInitialSpace(space)
        try:
            eps.solve()
        except Exception:
            if context.failure is not None:
                raise context.failure from None
            raise
        found = []
        column = shell.createVecRight()
        for index in range(eps.getConverged()):
            eps.getEigenvector(index, column)
            found.append(column.array.reshape(engine.positions.shape).copy())
        return found
    finally:
        eps.destroy()
        shell.destroy()


class _Context:
    """Operator and preconditioner in the form in which PETSc calls them; keeps an error raised by a product.

    Parameters
    ----------
    problem : EigenProblem
    """

    def __init__(self, problem: EigenProblem) -> None:
        self._problem = problem
        self._shape = problem.engine.positions.shape
        self.failure: LammpsImplicitError | None = None

    def mult(self, matrix: Any, x: Any, y: Any) -> None:
        """Compute y = A x; called by PETSc."""
        try:
            y.array[:] = self._problem.product(x.array_r.reshape(self._shape)).reshape(-1)
        except LammpsImplicitError as error:
            self.failure = error
            raise

    def apply(self, preconditioner: Any, x: Any, y: Any) -> None:
        """Compute y = T x; called by PETSc."""
        y.array[:] = self._problem.precondition(x.array_r.reshape(self._shape)).reshape(-1)
