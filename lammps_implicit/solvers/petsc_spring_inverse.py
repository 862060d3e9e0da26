"""K⁻¹ of the learned springs on many ranks with PETSc. A rank's rows are its own atoms: nothing is gathered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lammps_implicit.arrays import BoolArray, FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.mpi.ownership import first_row
from lammps_implicit.solvers.petsc_options import PREFIX, Options, PETSc, petsc_options
from lammps_implicit.solvers.springs import Springs, active_atoms, assemble

SMOOTHING = 4
"""Steps of each multigrid smoother: twice PETSc's own, far cheaper than the force evaluations they save."""

LEAN_ATOMS = 200_000
"""Cells from which multigrid is set up by products that keep no intermediate matrices: slower, 4 kB an atom less."""


def petsc_spring_inverse(engine: Evaluator, springs: Springs, options: Options) -> Callable[[FloatArray], FloatArray]:
    """Return v → K⁻¹ v for distributed (n, 3) arrays: one V-cycle of smoothed aggregation (GAMG) by default.

    Parameters
    ----------
    engine : Evaluator
    springs : Springs
    options : mapping
        See `petsc_options`.

    Raises
    ------
    LammpsImplicitError
        If PETSc cannot set it up with these options.
    """
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
        with petsc_options(options, defaults):
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


def _assembled(engine: Evaluator, springs: Springs, active: BoolArray) -> Any:
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
