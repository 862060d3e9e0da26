"""Checks of evaluators: consistency of energy, forces, pressure and Hessian products; saving and restoring states."""

from __future__ import annotations

import numpy as np

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.cell.freedom import require_tiltable, strain_freedom
from lammps_implicit.cell.voigt import COMPONENTS, PLACES
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.operators.hessian import hessian_of
from lammps_implicit.solvers.springs import random_vector
from lammps_implicit.testing.comparison import (
    STENCIL,
    first_derivative,
    require,
    require_equal,
    require_small,
)

REACH = 1 / 40
"""Size of displacements relative to the neighbour skin (0.05 Å for LAMMPS' 2 Å in metal units): large enough that
forces are far from zero, small enough that neighbour lists stay valid."""

ENERGY_STEP = 1e-4
"""Step of central differences of energies, relative to the neighbour skin. Measured: leaves relative errors of 1e-6 in
forces if the curvature jumps at a cutoff, as in SNAP, and 1e-8 for smooth energies; round-off stays below that up to
millions of atoms."""

FORCE_STEP = 1e-5
"""Step of differences of forces, likewise; smaller, as forces suffer less from round-off than energies."""

STRAIN_STEP = 2e-5
"""Step of central differences of energies with respect to strain; by the same trade-off."""

SAME_PLACE = 1e-10
"""Å; round-off of positions after straining the cell to a tilted one and back stays below this."""

AWAY = 1e-2
"""Strain at which pressures are compared, since they may vanish in a relaxed cell."""


def check_forces(engine: Evaluator, *, directions: int = 3, tol: float = 1e-5, seed: int = 0) -> float:
    """Check that forces are minus the gradient of the energy, vᵀF = -d/ds U(X + u + s v).

    The derivative is taken by extrapolated central differences; u is a random displacement, so that forces do not
    vanish. Costs four force evaluations per direction, and two more.

    Parameters
    ----------
    engine : Evaluator
        At its reference, where the check leaves it.
    directions : int
        Number of random directions v.
    tol : float
        Largest difference accepted, relative to ‖F‖‖v‖/√n, the typical size of vᵀF with n free components.
    seed : int
        Seed of the random displacements, which depend only on it and on atom ids.

    Returns
    -------
    float
        Largest relative difference.

    Raises
    ------
    ConformanceError
        Usual causes: a wrong sign or unit, a missing contribution to the forces, or an energy that jumps at a cutoff.
    """
    away, worst = REACH * engine.skin * random_free(engine, seed), 0.0
    try:
        forces = np.array(engine.forces(away))
        held = engine.max_abs(forces - engine.constrain(forces))
        require(held == 0, f"forces on frozen components reach {held:.2g}", "`forces` does not set them to zero")
        step, size = ENERGY_STEP * engine.skin, engine.norm(forces)
        for number in range(1, directions + 1):
            v = random_free(engine, seed + number)
            slope = -float(first_derivative([_energy(engine, away + s * step * v) for s in STENCIL], step))
            error = require_equal(
                slope,
                engine.dot(forces, v),
                size * engine.norm(v) / free_count(engine) ** 0.5,
                tol,
                f"minus the derivative of the energy along displacement {number} against the forces",
                "a wrong sign or unit, a missing contribution, or an energy that jumps at its cutoff",
            )
            worst = max(worst, error)
    finally:
        engine.return_to_reference()
    return worst


def check_pressure(engine: Evaluator, *, tol: float = 1e-5) -> dict[str, float]:
    """Check that the pressure is minus the strain derivative of the energy per volume, P_ab = -1/V ∂U/∂ε_ab.

    Every strain component that the cell can take is checked separately, in a cell that was first strained by 1 %. Each
    costs four calls of `strain_reference` and of `set_reference`.

    Parameters
    ----------
    engine : Evaluator
        At its reference, where the check leaves it.
    tol : float
        Largest difference accepted, relative to the largest component of the pressure.

    Returns
    -------
    dict of str to float
        Relative difference for each strain component.

    Raises
    ------
    ConformanceError
        Usual causes: a kinetic contribution, a wrong sign or unit, or atoms that do not follow the cell.
    LammpsImplicitError
        If the cell cannot be strained at all.
    """
    names = strains_of(engine)
    if not names:
        raise LammpsImplicitError("this cell cannot be strained: there is no pressure to check")
    found, start = {}, engine.reference()
    try:
        shares = AWAY * np.cos(np.arange(len(names)))
        engine.strain_reference(
            sum((a * _strain(name) for a, name in zip(shares, names, strict=True)), np.zeros((3, 3)))
        )
        here, pressure, volume = engine.reference(), np.array(engine.pressure), engine.volume
        for name in names:
            energies = []
            for s in STENCIL:
                engine.strain_reference(s * STRAIN_STEP * _strain(name))
                energies.append(engine.energy)
                engine.set_reference(here)
            found[name] = require_equal(
                -float(first_derivative(energies, STRAIN_STEP)) / volume,
                float(pressure[PLACES[COMPONENTS.index(name)]]),
                float(np.abs(pressure).max()),
                tol,
                f"minus the derivative of the energy by the strain {name} over the volume against the pressure",
                "a kinetic contribution, a wrong sign or unit, or a contribution to the energy without its virial",
            )
    finally:
        engine.set_reference(start)
        engine.forces()
    return found


def check_reference(engine: Evaluator, *, tol: float = 1e-6, seed: int = 0) -> dict[str, float]:
    """Check that references can be restored, that settling only reorders rows, and that evaluations are counted.

    The atoms are moved and the reference is set back; likewise after straining the cell, if possible, and after
    settling. Costs about ten force evaluations.

    Parameters
    ----------
    engine : Evaluator
        At its reference, where the check leaves it.
    tol : float
        Largest change accepted in energy and forces, relative to the change caused by moving the atoms.
    seed : int
        Seed of the displacements.

    Returns
    -------
    dict of str to float
        Relative change after each step.

    Raises
    ------
    ConformanceError
        Usual causes: `reference` returns arrays that are overwritten later, or leaves out the cell.
    """
    forces, energy = _counted_forces(engine), engine.energy
    start = engine.reference()
    ids, positions, cell = np.array(engine.ids), np.array(engine.positions), np.array(engine.cell)
    engine.shift(REACH * engine.skin * random_free(engine, seed))
    moved, found = np.array(engine.forces()), {}
    force, work = engine.norm(moved - forces), abs(engine.energy - energy)
    require(force > 0 and work > 0, "`shift` changes neither forces nor the energy", "it does not move the reference")

    def compare(after: str, now: FloatArray) -> None:
        error = max(engine.norm(now - forces) / force, abs(engine.energy - energy) / work)
        found[after] = require_small(
            error, tol, f"energy and forces {after}", "part of the state is not saved, or is overwritten"
        )

    def require_back(after: str) -> None:
        engine.set_reference(start)
        compare(after, np.array(engine.forces()))
        require_same_place(engine, ids, positions, cell, after)

    require_back("after the atoms were moved and set back")
    names = strains_of(engine)
    if names:
        engine.strain_reference(AWAY * _strain(names[0]))
        require_back("after the cell was strained and set back")
    settled = np.array(engine.settle())
    compare("after settling", fetch(engine.comm, engine.ids, settled, ids))
    require_back("after settling and setting the reference back")
    return found


def check_hessian(engine: Evaluator, *, tol: float = 1e-5, seed: int = 0) -> dict[str, float]:
    """Check that Hessian products are symmetric, aᵀH b = bᵀH a, and agree with differences of forces.

    Exact products are checked if the evaluator has them (`Evaluator.exact`), otherwise products differenced from its
    forces. In the latter case, symmetry means that the forces are the gradient of some energy, and agreement between
    steps of different length that they are smooth. Costs ten force evaluations.

    Parameters
    ----------
    engine : Evaluator
        At its reference, where the check leaves it.
    tol : float
        Largest difference accepted: of aᵀH b relative to ‖a‖‖H b‖/√n, its typical size with n free components; of H b
        relative to its norm.
    seed : int
        Seed of a and b, which depend only on it and on atom ids.

    Returns
    -------
    dict of str to float
        Relative differences ``symmetry`` and ``forces``.

    Raises
    ------
    ConformanceError
        Usual causes: a contribution missing from the product, forces that are not the gradient of an energy, or forces
        that are not smooth.
    """
    a, b = (random_free(engine, seed + number) for number in range(2))
    step = FORCE_STEP * engine.skin
    try:
        hessian = hessian_of(engine, np.array(engine.forces()))
        left, right = (np.array(hessian.central(v)) for v in (a, b))
        size = engine.norm(right)
        held = engine.max_abs(right - engine.constrain(right))
        require(held == 0, f"Hessian products reach {held:.2g} on frozen components", "they are not set to zero")
        symmetry = require_equal(
            engine.dot(a, right),
            engine.dot(b, left),
            engine.norm(a) * size / free_count(engine) ** 0.5,
            tol,
            "aᵀH b against bᵀH a",
            "a contribution missing from the product, or forces that are not the gradient of an energy",
        )
        differences = -first_derivative([np.array(engine.forces(s * step * b)) for s in STENCIL], step)
        forces = require_small(
            engine.norm(right - differences) / size if size > 0 else np.nan,
            tol,
            "H b against differences of forces",
            "a product taken elsewhere than at the reference, or forces that are not smooth",
        )
    finally:
        engine.return_to_reference()
    return {"symmetry": symmetry, "forces": forces}


def require_same_place(engine: Evaluator, ids: IntArray, positions: FloatArray, cell: FloatArray, after: str) -> None:
    """Check that an evaluator has the same rows, positions and cell as before.

    Parameters
    ----------
    engine : Evaluator
    ids : (n,) int array
        Atom ids of this rank's rows, before.
    positions : (n, 3) float array
        Å, before.
    cell : (3, 3) float array
        Å, before.
    after : str
        What has happened since, for the message.

    Raises
    ------
    ConformanceError
        If rows moved to other ranks, or positions or cell differ by more than round-off.
    """
    cause = "part of the state is not saved, or is overwritten"
    require(engine.order_unchanged(ids), f"atoms are in other rows {after}", cause)
    moved = engine.max_abs(engine.nearest_image(positions - engine.positions))
    require(moved <= SAME_PLACE, f"positions differ by {moved:.2g} {after}", cause)
    strained = float(np.abs(cell - engine.cell).max())
    require(strained <= SAME_PLACE, f"cell vectors differ by {strained:.2g} {after}", cause)


def strains_of(engine: Evaluator) -> list[str]:
    """Strain components that the cell can take: along periodic directions, and without tilting an untiltable cell."""
    names = []
    for name in COMPONENTS:
        try:
            require_tiltable(engine, strain_freedom(name, np.zeros((3, 3)), engine))
        except LammpsImplicitError:
            continue
        names.append(name)
    return names


def random_free(engine: Evaluator, seed: int) -> FloatArray:
    """Random numbers in [-1, 1), (n, 3), zero on frozen components; they depend only on the seed and on atom ids."""
    return engine.constrain(random_vector(engine.ids, seed))


def free_count(engine: Evaluator) -> int:
    """Number of free components on all ranks."""
    return engine.n_free


def _strain(name: str) -> FloatArray:
    """Unit strain of one component, (3, 3)."""
    strain = np.zeros((3, 3))
    strain[PLACES[COMPONENTS.index(name)]] = 1.0
    return strain


def _energy(engine: Evaluator, displacement: FloatArray) -> float:
    engine.forces(displacement)
    return engine.energy


def _counted_forces(engine: Evaluator) -> FloatArray:
    """Forces at the reference, (n, 3), after checking that the evaluation is counted."""
    before = engine.evaluations.forces
    forces = np.array(engine.forces())
    counted = engine.evaluations.forces - before
    require(counted > 0, "a call of `forces` adds nothing to `evaluations.forces`", "the engine does not count")
    return forces
