"""Checks of engines: energies, forces, pressures and Hessian products belong together, and references come back."""

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
"""Displacements, relative to the neighbour skin, 0.05 Å in metals: forces are far from zero, and lists still hold."""

ENERGY_STEP = 1e-4
"""Of central differences of energies, relative to the neighbour skin. Curvatures that jump at a cutoff, as SNAP's
do, leave 1e-6 of forces then, smooth energies 1e-8; round-off is less up to millions of atoms."""

FORCE_STEP = 1e-5
"""The same of differences of forces, which round off later."""

STRAIN_STEP = 2e-5
"""Strain of central differences of energies."""

SAME_PLACE = 1e-10
"""Å; round-off of positions that go through a tilted cell and back."""

AWAY = 1e-2
"""Strain at which pressures are compared: they may vanish where the cell is relaxed."""


def check_forces(engine: Evaluator, *, directions: int = 3, tol: float = 1e-5, seed: int = 0) -> float:
    """Check that forces are minus the gradient of the energy, vᵀF = -d/ds U(X + u + s v).

    Differences are central ones over two steps, extrapolated; u is a random displacement, so that forces do not vanish.

    Parameters
    ----------
    engine : Evaluator
        That stands at a reference; it stands there afterwards.
    directions : int
        Number of random v. Each costs four force evaluations; two more are spent in all.
    tol : float
        Largest difference, relative to ‖F‖‖v‖/√n, the typical size of vᵀF with n free components.
    seed : int
        Of the random displacements, which depend on atom ids alone.

    Returns
    -------
    float
        Largest relative difference.

    Raises
    ------
    ConformanceError
        Most often: a wrong sign, a force that is missing, a cutoff at which the energy jumps, or another unit.
    """
    away, worst = REACH * engine.skin * random_free(engine, seed), 0.0
    try:
        forces = np.array(engine.forces(away))
        held = engine.max_abs(forces * ~engine.free)
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
    """Check that the pressure is minus the strain derivative of the energy over the volume, P_ab = -1/V ∂U/∂ε_ab.

    Under every strain that the cell can take, one at a time, from a cell that is strained first by 1 %.

    Parameters
    ----------
    engine : Evaluator
        That stands at a reference; it stands there afterwards.
    tol : float
        Largest difference, relative to the largest component of the pressure.

    Returns
    -------
    dict of str to float
        Relative difference for each strain, at a cost of four calls of `strain_reference` and `set_reference`.

    Raises
    ------
    ConformanceError
        Most often: the kinetic part is included, another sign or unit, or atoms do not follow the cell.
    LammpsImplicitError
        If the cell cannot take any strain.
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
                "a kinetic part, another sign or unit, or a contribution without its virial",
            )
    finally:
        engine.set_reference(start)
        engine.forces()
    return found


def check_reference(engine: Evaluator, *, tol: float = 1e-6, seed: int = 0) -> dict[str, float]:
    """Check that references come back, that settling changes nothing but rows, and that evaluations are counted.

    The reference is moved, and strained where the cell can be, and set again; then it is settled, and set again.

    Parameters
    ----------
    engine : Evaluator
        That stands at a reference; it stands there afterwards.
    tol : float
        Largest change of energy and forces, relative to what moving the atoms has changed.
    seed : int

    Returns
    -------
    dict of str to float
        Relative change after each way back. About ten force evaluations.

    Raises
    ------
    ConformanceError
        Most often: `reference` returns arrays that are written over later, or the cell is not part of it.
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
            error, tol, f"energy and forces {after}", "a part of the state that is not saved, or is written over"
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
    """Check Hessian products: symmetric, aᵀH b = bᵀH a, and equal to differences of forces.

    Exact products where the engine has them (`Evaluator.exact`), else those that are differenced from its forces: then
    symmetry tells whether forces are the gradient of any energy, and longer steps whether they are smooth.

    Parameters
    ----------
    engine : Evaluator
        That stands at a reference; it stands there afterwards.
    tol : float
        Largest difference: of aᵀH b relative to ‖a‖‖H b‖/√n, its typical size with n free components, and of H b
        relative to its norm.
    seed : int
        Of a and b, which depend on atom ids alone.

    Returns
    -------
    dict of str to float
        ``symmetry`` and ``forces``. Ten force evaluations.

    Raises
    ------
    ConformanceError
    """
    a, b = (random_free(engine, seed + number) for number in range(2))
    step = FORCE_STEP * engine.skin
    try:
        hessian = hessian_of(engine, np.array(engine.forces()))
        left, right = (np.array(hessian.central(v)) for v in (a, b))
        size = engine.norm(right)
        held = engine.max_abs(right * ~engine.free)
        require(held == 0, f"Hessian products reach {held:.2g} on frozen components", "they are not set to zero")
        symmetry = require_equal(
            engine.dot(a, right),
            engine.dot(b, left),
            engine.norm(a) * size / free_count(engine) ** 0.5,
            tol,
            "aᵀH b against bᵀH a",
            "a term that is missing in the product, or forces that are not the gradient of an energy",
        )
        differences = -first_derivative([np.array(engine.forces(s * step * b)) for s in STENCIL], step)
        forces = require_small(
            engine.norm(right - differences) / size if size > 0 else np.nan,
            tol,
            "H b against differences of forces",
            "a product that is not that of the reference, or forces that are not smooth",
        )
    finally:
        engine.return_to_reference()
    return {"symmetry": symmetry, "forces": forces}


def require_same_place(engine: Evaluator, ids: IntArray, positions: FloatArray, cell: FloatArray, after: str) -> None:
    """Check that an engine stands where it stood.

    Parameters
    ----------
    engine : Evaluator
    ids : (n,) int array
    positions : (n, 3) float array
    cell : (3, 3) float array
        As they were.
    after : str
        What has happened since, for the message.

    Raises
    ------
    ConformanceError
    """
    cause = "a part of the state that is not saved, or is written over"
    require(engine.order_unchanged(ids), f"atoms have other rows {after}", cause)
    moved = engine.max_abs(engine.nearest_image(positions - engine.positions))
    require(moved <= SAME_PLACE, f"positions differ by {moved:.2g} {after}", cause)
    strained = float(np.abs(cell - engine.cell).max())
    require(strained <= SAME_PLACE, f"cell vectors differ by {strained:.2g} {after}", cause)


def strains_of(engine: Evaluator) -> list[str]:
    """Components of the strain that the cell can take as it is."""
    names = []
    for name in COMPONENTS:
        try:
            require_tiltable(engine, strain_freedom(name, np.zeros((3, 3)), engine))
        except LammpsImplicitError:
            continue
        names.append(name)
    return names


def random_free(engine: Evaluator, seed: int) -> FloatArray:
    """Return numbers in [-1, 1) on free components that depend on atom ids alone, (n, 3)."""
    return random_vector(engine.ids, seed) * engine.free


def free_count(engine: Evaluator) -> int:
    """Number of free components on all ranks."""
    return int(engine.sum(int(np.count_nonzero(engine.free))))


def _strain(name: str) -> FloatArray:
    """Unit strain, (3, 3)."""
    strain = np.zeros((3, 3))
    strain[PLACES[COMPONENTS.index(name)]] = 1.0
    return strain


def _energy(engine: Evaluator, displacement: FloatArray) -> float:
    engine.forces(displacement)
    return engine.energy


def _counted_forces(engine: Evaluator) -> FloatArray:
    """Forces at the reference, (n, 3); checks that the evaluation was counted."""
    before = engine.evaluations.forces
    forces = np.array(engine.forces())
    counted = engine.evaluations.forces - before
    require(counted > 0, "a call of `forces` adds nothing to `evaluations.forces`", "the engine does not count")
    return forces
