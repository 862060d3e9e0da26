"""Conjugate gradients on many ranks with PETSc. A rank's rows are its LAMMPS atoms: nothing is ever gathered.

Options with the prefix ``-li_`` reach PETSc: ``-li_ksp_monitor``, ``-li_pc_type hypre``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.mpi.ownership import first_row
from lammps_implicit.solvers.interface import LinearSystem, Solution, not_converged, product_accuracy
from lammps_implicit.solvers.minimal_residual import MINRES_ITERATIONS, refine
from lammps_implicit.solvers.springs import Springs, active_atoms, assemble

try:
    # Not an import statement: petsc4py's type stubs are not right.
    PETSc: Any = importlib.import_module("petsc4py.PETSc")
except ImportError as error:
    raise LammpsImplicitError(
        f"several ranks need the distributed solver, but petsc4py cannot be imported ({error}): install it with "
        'pip install "lammps_implicit[petsc]" or your cluster\'s modules, or run on one rank'
    ) from None


PREFIX = "li_"

_REASONS = {
    value: name.lower().replace("_", " ") for name, value in vars(PETSc.KSP.ConvergedReason).items() if name.isupper()
}

SMOOTHING = 4
"""Steps of each multigrid smoother: twice PETSc's own, far cheaper than the force evaluations they save."""

LEAN_ATOMS = 200_000
"""Cells from which multigrid is set up by products that keep no intermediate matrices: slower, 4 kB an atom less."""


def preconditioner(engine: Evaluator, springs: Springs) -> Callable[[FloatArray], FloatArray]:
    """Return v → K⁻¹ v for distributed (n, 3) arrays: one V-cycle of smoothed aggregation (GAMG) by default."""
    # What went out of use on this communicator lives until all ranks collect it.
    PETSc.garbage_cleanup(engine.comm)
    active = active_atoms(engine)
    matrix = _assembled(engine, springs, active)
    points = PETSc.Vec().createWithArray(
        engine.positions[active].reshape(-1), matrix.getSizes()[0], 3, comm=engine.comm
    )
    matrix.setNearNullSpace(PETSc.NullSpace().createRigidBody(points))
    # The inner preconditioner has operators of its own: given the shell, it would smooth with Hessian products.
    inner = PETSc.PC().create(engine.comm)
    inner.setOptionsPrefix(PREFIX)
    inner.setOperators(matrix, matrix)
    inner.setType(PETSc.PC.Type.GAMG)
    defaults: dict[str, Any] = {f"{PREFIX}mg_levels_ksp_max_it": SMOOTHING}
    if engine.n_atoms >= LEAN_ATOMS:
        defaults["matptap_via"] = "allatonce_merged"  # these products do not know our prefix
    try:
        with _options(defaults):
            inner.setFromOptions()
            inner.setUp()
    except PETSc.Error as error:
        raise LammpsImplicitError(
            f"PETSc cannot set up the preconditioner (options -{PREFIX}pc_...): {error}"
        ) from None
    given, taken = matrix.createVecs()

    def apply(v: FloatArray) -> FloatArray:
        given.array[:] = v[active].reshape(-1)
        inner.apply(given, taken)
        moved = np.zeros_like(v)
        moved[active] = taken.array.reshape(-1, 3)
        return moved

    return apply


def _assembled(engine: Evaluator, springs: Springs, active: NDArray[np.bool_]) -> Any:
    """K of the atoms that can move. GAMG refuses BAIJ; AIJ with block size 3 lets it aggregate atoms."""
    count = int(np.count_nonzero(active))
    first, total = first_row(engine.comm, count), engine.sum(count)
    matrix = PETSc.Mat().create(engine.comm)
    matrix.setSizes(((3 * count, 3 * total),) * 2, 3)
    matrix.setType(PETSc.Mat.Type.AIJ)
    # A pair of atoms may be bonded through several images: an upper bound.
    bonds, n = springs.bonds, len(active)
    elsewhere = np.bincount(bonds.start, bonds.end >= n, minlength=n)[active]
    per_atom = np.bincount(bonds.start, minlength=n)[active] + 1
    limits = np.minimum(per_atom, count), np.minimum(elsewhere, total - count)
    matrix.setPreallocationNNZ(tuple(np.repeat(3 * limit, 3).astype(PETSc.IntType) for limit in limits))
    matrix.setOption(PETSc.Mat.Option.NEW_NONZERO_ALLOCATION_ERR, False)
    for rows in assemble(engine, springs):
        height = rows.shape[0] // 3
        blocks = np.arange(first, first + height)
        arrays = (array.astype(PETSc.IntType) for array in (rows.indptr, rows.indices, blocks))
        indptr, indices, map_ = arrays
        matrix.setValuesBlockedIJV(indptr, indices, rows.data.reshape(-1), rowmap=map_)
        first += height
    matrix.assemble()
    matrix.setOption(PETSc.Mat.Option.SPD, True)
    return matrix


@contextmanager
def _options(defaults: dict[str, Any]) -> Iterator[None]:
    """Set PETSc options for a while, but those that the user has set."""
    options = PETSc.Options()
    ours = [name for name in defaults if not options.hasName(name)]
    for name in ours:
        options.setValue(name, defaults[name])
    try:
        yield
    finally:
        for name in ours:
            options.delValue(name)


def solve(system: LinearSystem, right: FloatArray, tol: float, scale: float, maxiter: int = 1000) -> Solution:
    """Solve H x = b as `embedded.solve` does, for distributed arrays, with KSPCG; with KSPMINRES at a saddle.

    Raises
    ------
    NotAMinimumError
        If some direction has non-positive curvature.
    ConvergenceError
        If the iteration stops short, with PETSc's reason.
    """
    if system.saddle:
        return refine(_minres, system, right, tol, scale)
    context = _Context(system, right.shape, scale, lambda residual: product_accuracy(tol, residual))
    with _krylov(context, PETSc.KSP.Type.CG) as krylov:
        krylov.setNormType(PETSc.KSP.NormType.UNPRECONDITIONED)
        krylov.setTolerances(rtol=1e-50, atol=tol * scale, divtol=1e10, max_it=maxiter)
        x = context.run(krylov, right)
        reason, residual = krylov.getConvergedReason(), float(krylov.getResidualNorm()) / scale
        iterations = krylov.getIterationNumber()
    if reason < 0:
        raise not_converged(tol, iterations, context.history, f"PETSc's reason: {_REASONS.get(reason, reason)}")
    return Solution(system.null_space.project(x), iterations, residual, tuple(context.history))


def _minres(system: LinearSystem, right: FloatArray, tol: float, accuracy: float) -> tuple[FloatArray, int]:
    context = _Context(system, right.shape, 0.0, lambda residual: accuracy)
    with _krylov(context, PETSc.KSP.Type.MINRES) as krylov:
        krylov.setTolerances(rtol=tol, atol=0.0, divtol=1e10, max_it=MINRES_ITERATIONS)
        return context.run(krylov, right), krylov.getIterationNumber()


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
    """

    def __init__(
        self, system: LinearSystem, shape: tuple[int, ...], scale: float, accuracy: Callable[[float], float]
    ) -> None:
        self.system = system
        self._shape = shape
        self._scale = scale
        self._accuracy = accuracy
        self.history: list[float] = []
        self._failure: LammpsImplicitError | None = None

    def run(self, krylov: Any, right: FloatArray) -> FloatArray:
        """Apply the user's options, solve, and return x; raise what a product raised."""
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
