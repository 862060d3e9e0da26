"""Krylov solvers of PETSc on many ranks: conjugate gradients, or what ``-li_ksp_type`` says, and passes of MINRES."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.solvers.interface import LinearSystem, Solution, Status, product_accuracy
from lammps_implicit.solvers.minimal_residual import MINRES_ITERATIONS
from lammps_implicit.solvers.petsc_options import PREFIX, REASONS, Options, PETSc, petsc_options


class PetscKrylov:
    """KSPCG with the unpreconditioned norm.

    Parameters
    ----------
    options : mapping
        See `petsc_options`.
    maxiter : int
        Most iterations of one solve.
    """

    name = "iterative"

    def __init__(self, options: Options, maxiter: int = 1000) -> None:
        self.options = options
        self.maxiter = maxiter

    def prepare(self, system: LinearSystem) -> None:
        """Take a system."""
        self._system = system

    def solve(self, right: FloatArray, tol: float, scale: float) -> Solution:
        """Solve H x = b to ‖b - H x‖₂ ≤ tol·scale; see `LinearSolver.solve`."""
        system = self._system
        accuracy = lambda residual: product_accuracy(tol, residual)  # noqa: E731
        context = _Context(system, right.shape, scale, accuracy, self.options)
        with _krylov(context, PETSc.KSP.Type.CG) as krylov:
            krylov.setNormType(PETSc.KSP.NormType.UNPRECONDITIONED)
            krylov.setTolerances(rtol=1e-50, atol=tol * scale, divtol=1e10, max_it=self.maxiter)
            x = context.run(krylov, right)
            reason, residual = krylov.getConvergedReason(), float(krylov.getResidualNorm()) / scale
            iterations = krylov.getIterationNumber()
        told = f"PETSc's reason: {REASONS.get(reason, reason)}"
        x = system.null_space.project(x)
        return Solution(x, _status(reason), iterations, residual, tuple(context.history), told)


def petsc_pass(options: Options) -> Callable[[LinearSystem, FloatArray, float, float], tuple[FloatArray, int]]:
    """Return one pass of KSPMINRES: see `minimal_residual.Pass`."""

    def run(system: LinearSystem, right: FloatArray, tol: float, accuracy: float) -> tuple[FloatArray, int]:
        context = _Context(system, right.shape, 0.0, lambda residual: accuracy, options)
        with _krylov(context, PETSc.KSP.Type.MINRES) as krylov:
            krylov.setTolerances(rtol=tol, atol=0.0, divtol=1e10, max_it=MINRES_ITERATIONS)
            return context.run(krylov, right), krylov.getIterationNumber()

    return run


def type_is_set(options: Options) -> bool:
    """Whether somebody asked for a Krylov solver of PETSc's by name."""
    return any(name.endswith("ksp_type") for name in options) or PETSc.Options().hasName(f"{PREFIX}ksp_type")


def _status(reason: int) -> Status:
    if reason >= 0:
        return Status.CONVERGED
    limits = {PETSc.KSP.ConvergedReason.DIVERGED_MAX_IT: Status.ITERATION_LIMIT}
    return limits.get(reason, Status.DIVERGED)


@contextmanager
def _krylov(context: _Context, method: str) -> Iterator[Any]:
    """Give a Krylov solver for the context's operator and preconditioner, options of the user not yet applied."""
    size = 3 * len(context.system.engine.ids)
    comm = context.system.engine.comm
    shell = PETSc.Mat().createPython(((size, 3 * context.system.engine.n_atoms),) * 2, context, comm=comm)
    shell.setUp()
    krylov = PETSc.KSP().create(comm)
    krylov.setOptionsPrefix(PREFIX)
    krylov.setOperators(shell)
    krylov.setType(method)
    outer = krylov.getPC()
    outer.setOptionsPrefix(PREFIX + "outer_")
    outer.setType(PETSc.PC.Type.PYTHON)
    outer.setPythonContext(context)
    try:
        yield krylov
    finally:
        krylov.destroy()
        shell.destroy()


class _Context:
    """Operator and preconditioner as PETSc calls them; the first failure is kept.

    Parameters
    ----------
    system : LinearSystem
    shape : tuple of int
    scale : float
        What residuals in the history are relative to.
    accuracy : callable
        Relative residual to the relative error that a product may have.
    options : mapping
        See `petsc_options`.
    """

    def __init__(
        self,
        system: LinearSystem,
        shape: tuple[int, ...],
        scale: float,
        accuracy: Callable[[float], float],
        options: Options,
    ) -> None:
        self.system = system
        self._options = options
        self._shape = shape
        self._scale = scale
        self._accuracy = accuracy
        self.history: list[float] = []
        self._failure: LammpsImplicitError | None = None

    def run(self, krylov: Any, right: FloatArray) -> FloatArray:
        """Apply the user's options, solve, and return x; raise what a product raised."""
        with petsc_options(self._options):
            krylov.setFromOptions()
        b, x = krylov.getOperators()[0].createVecs()
        b.array[:] = right.reshape(-1)
        try:
            krylov.solve(b, x)
        except Exception:
            if self._failure is not None:
                raise self._failure from None
            raise
        solution = x.array.reshape(self._shape).copy()
        b.destroy()
        x.destroy()
        return solution

    def mult(self, matrix: Any, x: Any, y: Any) -> None:
        """Hessian product."""
        residual = self.history[-1] if self.history else 1.0
        size = residual * self._scale if self._scale > 0 else None
        try:
            product, _ = self.system.product(x.array_r.reshape(self._shape), self._accuracy(residual), size)
        except LammpsImplicitError as error:
            self._failure = error
            raise
        y.array[:] = product.reshape(-1)

    def apply(self, preconditioner: Any, x: Any, y: Any) -> None:
        """Preconditioner."""
        residual = x.array_r.reshape(self._shape)
        if self._scale > 0:
            self.history.append(self.system.engine.norm(residual) / self._scale)
        y.array[:] = self.system.preconditioned(residual).reshape(-1)
