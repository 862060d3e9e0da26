"""Conjugate gradients on many ranks with PETSc. A rank's rows are its LAMMPS atoms: nothing is ever gathered.

Options with the prefix ``-li_`` reach PETSc: ``-li_ksp_monitor``, ``-li_pc_type hypre``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.engine import Engine
from lammps_implicit.errors import ConvergenceError, LammpsImplicitError
from lammps_implicit.solvers import LinearSystem, Solution, not_converged, product_accuracy
from lammps_implicit.springs import Springs, assemble

FloatArray = NDArray[np.float64]

try:
    # Not an import statement: petsc4py's type stubs are not right.
    PETSc: Any = importlib.import_module("petsc4py.PETSc")
except ImportError as error:
    raise LammpsImplicitError(
        f"several ranks need the distributed solver, but petsc4py cannot be imported ({error}): install it with "
        'pip install "lammps_implicit[petsc]" or your cluster\'s modules, or run on one rank'
    ) from None

PREFIX = "li_"


def preconditioner(engine: Engine, springs: Springs) -> Callable[[FloatArray], FloatArray]:
    """Return v → K⁻¹ v for distributed (n, 3) arrays: one V-cycle of smoothed aggregation (GAMG) by default."""
    rows = assemble(engine, springs).tocsr()
    rows.sort_indices()
    local, total = 3 * len(engine.ids), 3 * engine.n_atoms
    csr = rows.indptr.astype(PETSc.IntType), rows.indices.astype(PETSc.IntType), rows.data
    # GAMG refuses BAIJ; AIJ with block size 3 lets it aggregate atoms.
    matrix = PETSc.Mat().createAIJ(((local, total), (local, total)), bsize=3, csr=csr, comm=engine.comm)
    matrix.setOption(PETSc.Mat.Option.SPD, True)
    points = PETSc.Vec().createWithArray(engine.positions.reshape(-1).copy(), (local, total), 3, comm=engine.comm)
    matrix.setNearNullSpace(PETSc.NullSpace().createRigidBody(points))
    # The inner preconditioner has operators of its own: given the shell, it would smooth with Hessian products.
    inner = PETSc.PC().create(engine.comm)
    inner.setOptionsPrefix(PREFIX)
    inner.setOperators(matrix, matrix)
    inner.setType(PETSc.PC.Type.GAMG)
    try:
        inner.setFromOptions()
        inner.setUp()
    except PETSc.Error as error:
        raise LammpsImplicitError(
            f"PETSc cannot set up the preconditioner (options -{PREFIX}pc_...): {error}"
        ) from None
    given, taken = matrix.createVecs()

    def apply(v: FloatArray) -> FloatArray:
        given.array[:] = v.reshape(-1)
        inner.apply(given, taken)
        return taken.array.reshape(v.shape).copy()

    return apply


def solve(system: LinearSystem, right: FloatArray, tol: float, scale: float, maxiter: int = 1000) -> Solution:
    """Solve H x = b as `embedded.solve` does, for distributed arrays, with KSPCG.

    Raises
    ------
    NotAMinimumError
        If some direction has non-positive curvature.
    ConvergenceError
        If the iteration stops short, with PETSc's reason.
    """
    engine = system.engine
    context = _Context(system, right.shape, tol, scale)
    sizes = ((right.size, 3 * engine.n_atoms),) * 2
    shell = PETSc.Mat().createPython(sizes, context, comm=engine.comm)
    shell.setUp()
    krylov = PETSc.KSP().create(engine.comm)
    krylov.setOptionsPrefix(PREFIX)
    krylov.setOperators(shell)
    krylov.setType(PETSc.KSP.Type.CG)
    krylov.setNormType(PETSc.KSP.NormType.UNPRECONDITIONED)
    krylov.setTolerances(rtol=1e-50, atol=tol * scale, divtol=1e10, max_it=maxiter)
    outer = krylov.getPC()
    outer.setOptionsPrefix(PREFIX + "outer_")
    outer.setType(PETSc.PC.Type.PYTHON)
    outer.setPythonContext(context)
    krylov.setFromOptions()
    b, x = shell.createVecs()
    b.array[:] = right.reshape(-1)
    try:
        krylov.solve(b, x)
    except Exception:
        if context.failure is not None:
            raise context.failure from None
        raise
    reason, iterations = krylov.getConvergedReason(), krylov.getIterationNumber()
    if reason < 0:
        raise ConvergenceError(not_converged(iterations, tol, context.history) + f"; PETSc's reason is {reason}")
    solution = system.null_space.project(x.array.reshape(right.shape).copy())
    residual = float(krylov.getResidualNorm()) / scale
    for item in (krylov, shell, b, x):
        item.destroy()
    return Solution(solution, iterations, residual, tuple(context.history))


class _Context:
    """Operator and preconditioner as PETSc calls them; the first failure is kept."""

    def __init__(self, system: LinearSystem, shape: tuple[int, ...], tol: float, scale: float) -> None:
        self._system = system
        self._shape = shape
        self._tol = tol
        self._scale = scale
        self.history: list[float] = []
        self.failure: LammpsImplicitError | None = None

    def mult(self, matrix: Any, x: Any, y: Any) -> None:
        accuracy = product_accuracy(self._tol, self.history[-1] if self.history else 1.0)
        try:
            product, _ = self._system.product(x.array_r.reshape(self._shape), accuracy)
        except LammpsImplicitError as error:
            self.failure = error
            raise
        y.array[:] = product.reshape(-1)

    def apply(self, preconditioner: Any, x: Any, y: Any) -> None:
        residual = x.array_r.reshape(self._shape)
        self.history.append(self._system.engine.norm(residual) / self._scale)
        y.array[:] = self._system.preconditioned(residual).reshape(-1)
