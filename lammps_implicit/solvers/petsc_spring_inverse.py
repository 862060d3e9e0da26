"""K⁻¹ of the learned springs on several ranks with PETSc; each rank holds the rows of its own atoms only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lammps_implicit.arrays import BoolArray, FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.mpi.ownership import first_row
from lammps_implicit.solvers.petsc_options import PREFIX, Options, PETSc, petsc_options
from lammps_implicit.solvers.spring_inverse import factorised
from lammps_implicit.solvers.springs import STRONG, Springs, active_atoms, assemble

_SMOOTHING = 4
"""Steps of each multigrid smoother: twice PETSc's default, as they are far cheaper than the force evaluations they save
(measured at 65,535 atoms on two ranks: 0.06 s per application, 2.2 s per force evaluation)."""

_LEAN_ATOMS = 200_000
"""Number of atoms from which multigrid is set up with matrix products that keep no intermediate matrices. Measured:
slower, but saves 4 kB per atom."""


def petsc_spring_inverse(engine: Evaluator, springs: Springs, options: Options) -> Callable[[FloatArray], FloatArray]:
    """Return the function v → K⁻¹v for distributed (n, 3) arrays: one V-cycle of GAMG by default.

    Up to `spring_inverse.DIRECT_LOOSE_ATOMS` atoms among which there are contacts: a factorisation that each rank has.

    Parameters
    ----------
    engine : Evaluator
    springs : Springs
    options : mapping
        See `petsc_options.Options`; ``pc_...`` and ``mg_...`` act here.

    Raises
    ------
    LammpsImplicitError
        If PETSc cannot set up the preconditioner with these options.
    """
    # Unused objects on this communicator are freed only when all ranks collect them together.
    PETSc.garbage_cleanup(engine.comm)
    active = active_atoms(engine)
    matrix = _assembled(engine, springs, active)
    points = PETSc.Vec().createWithArray(
        engine.positions[active].reshape(-1), matrix.getSizes()[0], 3, comm=engine.comm
    )
    matrix.setNearNullSpace(PETSc.NullSpace().createRigidBody(points))
    # The preconditioner gets K as both operators: with the shell matrix as one, it would smooth with Hessian products.
    inner = PETSc.PC().create(engine.comm)
    inner.setOptionsPrefix(PREFIX)
    inner.setOperators(matrix, matrix)
    # Multigrid is slow with contacts: where K is small, each rank has a copy of it and factorises that.
    copied = springs.bonds.with_contacts and factorised(engine, springs)
    inner.setType(PETSc.PC.Type.REDUNDANT if copied else PETSc.PC.Type.GAMG)
    defaults: dict[str, Any] = {f"{PREFIX}mg_levels_ksp_max_it": _SMOOTHING}
    if springs.bonds.with_contacts:
        defaults |= {f"{PREFIX}pc_gamg_threshold": STRONG, f"{PREFIX}pc_gamg_aggressive_coarsening": 0}
    if engine.n_atoms >= _LEAN_ATOMS:
        defaults["matptap_via"] = "allatonce_merged"  # these products ignore our prefix
    try:
        with petsc_options(options, defaults):
            inner.setFromOptions()
            inner.setUp()
    except PETSc.Error as error:
        reason = " ".join(str(error).split())
        raise LammpsImplicitError(
            f"PETSc cannot set up the preconditioner (check the options -{PREFIX}pc_...): {reason}"
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
    """Assemble K for atoms that can move. GAMG does not accept BAIJ; with AIJ of block size 3 it aggregates atoms."""
    count = int(np.count_nonzero(active))
    first, total = first_row(engine.comm, count), engine.sum(count)
    matrix = PETSc.Mat().create(engine.comm)
    matrix.setSizes(((3 * count, 3 * total),) * 2, 3)
    matrix.setType(PETSc.Mat.Type.AIJ)
    # Upper bounds, as a pair of atoms may be bonded through several images.
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
        indptr, indices, row_map = arrays
        matrix.setValuesBlockedIJV(indptr, indices, rows.data.reshape(-1), rowmap=row_map)
        first += height
    matrix.assemble()
    matrix.setOption(PETSc.Mat.Option.SPD, True)
    return matrix
