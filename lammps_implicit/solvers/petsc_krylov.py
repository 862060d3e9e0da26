"""PETSc's Krylov solvers for several ranks: conjugate gradients, or the type set by ``-li_ksp_type``, and MINRES."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.solvers.interface import LinearSystem, Solution, Status, hardly_falls, product_accuracy
from lammps_implicit.solvers.minimal_residual import MINRES_ITERATIONS
from lammps_implicit.solvers.petsc_options import PREFIX, REASONS, Options, PETSc, petsc_options


class PetscKrylov:
    """KSPCG with convergence measured in the unpreconditioned norm.

    Parameters
    ----------
    options : mapping
        See `petsc_options.Options`.
    maxiter : int
        Limit on the iterations of one solve.
    """

    name = "iterative"

    def __init__(self, options: Options, maxiter: int = 1000) -> None:
        self.options = options
        self.maxiter = maxiter

    def prepare(self, system: LinearSystem) -> None:
        """Set the linear system."""
        self._system = system

    def solve(self, right: FloatArray, tol: float, scale: float) -> Solution:
        """Solve H x = b to ‖b - H x‖₂ ≤ tol·scale; see `LinearSolver.solve`."""
        system = self._system
        watched = None if krylov_options_are_set(self.options) else tol  # what the user chose may be slow
        context = _Context(system, right.shape, scale, partial(product_accuracy, tol), self.options, watched)
        with _krylov(context, PETSc.KSP.Type.CG) as krylov:
            krylov.setNormType(PETSc.KSP.NormType.UNPRECONDITIONED)
            krylov.setTolerances(rtol=1e-50, atol=tol * scale, divtol=1e10, max_it=self.maxiter)
            x = context.run(krylov, right)
            reason, residual = krylov.getConvergedReason(), float(krylov.getResidualNorm()) / scale
            iterations = krylov.getIterationNumber()
        reason_text = f"PETSc's reason: {REASONS.get(reason, reason)}"
        x, status = system.null_space.project(x), _status(reason)
        if krylov_options_are_set(self.options):  # which may stop by other measures than ours, or report none
            product = system.product(x, tol)[0] if system.engine.norm(x) > 0 else np.zeros_like(x)
            residual = system.engine.norm(right - product) / scale
            if status is Status.CONVERGED and residual > 2 * tol:
                status, reason_text = Status.STAGNATED, f"{reason_text}, but the residual is {residual:.1e}"
        return Solution(x, status, iterations, residual, tuple(context.history), reason_text)


def petsc_pass(options: Options) -> Callable[[LinearSystem, FloatArray, float, float], tuple[FloatArray, int]]:
    """Return a function that does one pass of KSPMINRES, see `minimal_residual.Pass`."""

    def run(system: LinearSystem, right: FloatArray, tol: float, accuracy: float) -> tuple[FloatArray, int]:
        context = _Context(system, right.shape, 0.0, lambda residual: accuracy, options)
        with _krylov(context, PETSc.KSP.Type.MINRES) as krylov:
            krylov.setTolerances(rtol=tol, atol=0.0, divtol=1e10, max_it=MINRES_ITERATIONS)
            if not krylov_options_are_set(options):
                krylov.setConvergenceTest(partial(_ended, [], tol))
            return context.run(krylov, right), krylov.getIterationNumber()

    return run


def _ended(history: list[float], tol: float, krylov: Any, iteration: int, residual: float) -> Any:
    """Why PETSc should end a pass, or that it should not: the residual is small enough, or hardly falls."""
    history.append(residual)
    reasons = PETSc.KSP.ConvergedReason
    if residual <= tol * history[0]:
        return reasons.CONVERGED_RTOL
    return reasons.DIVERGED_BREAKDOWN if hardly_falls(history) else reasons.ITERATING


def krylov_options_are_set(options: Options) -> bool:
    """Whether somebody has set options of the Krylov solver itself."""
    names = [*options, *PETSc.Options().getAll()]
    return any("ksp_" in name and "mg_levels" not in name and "monitor" not in name for name in names)


def type_is_set(options: Options) -> bool:
    """Return whether the user has chosen a type of Krylov solver, in the dictionary or on the command line."""
    return any(name.endswith("ksp_type") for name in options) or PETSc.Options().hasName(f"{PREFIX}ksp_type")


def require_known_type(options: Options) -> None:
    """Check the type of Krylov solver that the user has chosen, also where no solver will ask PETSc for it.

    Raises
    ------
    LammpsImplicitError
        If PETSc has no such type.
    """
    given = [str(value) for name, value in options.items() if name.removeprefix("-").removeprefix(PREFIX) == "ksp_type"]
    chosen = given[-1] if given else PETSc.Options().getString(f"{PREFIX}ksp_type", "")
    known = {value for name, value in vars(PETSc.KSP.Type).items() if name.isupper()}
    if chosen and chosen not in known:
        raise LammpsImplicitError(
            f"PETSc has no Krylov solver '{chosen}' (-{PREFIX}ksp_type): choose one, such as cg, minres or gmres"
        )


def _status(reason: int) -> Status:
    if reason >= 0:
        return Status.CONVERGED
    limits = {PETSc.KSP.ConvergedReason.DIVERGED_MAX_IT: Status.ITERATION_LIMIT}
    return limits.get(reason, Status.DIVERGED)


@contextmanager
def _krylov(context: _Context, method: str) -> Iterator[Any]:
    """Yield a Krylov solver with the operator and preconditioner of a context; the user's options are applied later."""
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
    """Operator and preconditioner in the form in which PETSc calls them; stores an error raised by a product.

    Parameters
    ----------
    system : LinearSystem
    shape : tuple of int
        Shape of vectors on this rank.
    scale : float
        Norm to which residuals in the history are relative; 0: no history.
    accuracy : callable
        Maps the relative residual to the relative error that a product may have.
    options : mapping
        See `petsc_options.Options`.
    tol : float, optional
        Relative tolerance of a solve that is ended when its residual hardly falls. Default: it is not.
    """

    def __init__(
        self,
        system: LinearSystem,
        shape: tuple[int, ...],
        scale: float,
        accuracy: Callable[[float], float],
        options: Options,
        tol: float | None = None,
    ) -> None:
        self.system = system
        self._tol = tol
        self._options = options
        self._shape = shape
        self._scale = scale
        self._accuracy = accuracy
        self.history: list[float] = []
        self._failure: LammpsImplicitError | None = None

    def run(self, krylov: Any, right: FloatArray) -> FloatArray:
        """Apply the user's options, solve, and return x; raises the error of a product, if any."""
        try:
            with petsc_options(self._options):
                krylov.setFromOptions()
        except (PETSc.Error, ValueError) as error:
            reason = " ".join(str(error).split())
            raise LammpsImplicitError(f"PETSc does not accept the options -{PREFIX}ksp_...: {reason}") from None
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
        """Compute the Hessian product y = H x; called by PETSc."""
        residual = self.history[-1] if self.history else 1.0
        size = residual * self._scale if self._scale > 0 else None
        try:
            product, _ = self.system.product(x.array_r.reshape(self._shape), self._accuracy(residual), size)
        except LammpsImplicitError as error:
            self._failure = error
            raise
        y.array[:] = product.reshape(-1)

    def apply(self, preconditioner: Any, x: Any, y: Any) -> None:
        """Compute y = K⁻¹ x; called by PETSc."""
        residual = x.array_r.reshape(self._shape)
        if self._scale > 0:
            self.history.append(self.system.engine.norm(residual) / self._scale)
            if self._tol is not None and hardly_falls(self.history):
                iterations, last = len(self.history), self.history[-1]
                slow = Solution(residual, Status.SLOW, iterations, last, tuple(self.history))
                try:
                    slow.require_converged(self._tol)
                except LammpsImplicitError as error:
                    self._failure = error
                    raise
        y.array[:] = self.system.preconditioned(residual).reshape(-1)
