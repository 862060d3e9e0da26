"""Derivatives with respect to strain, by central differences of forces, pressures and descriptors.

Two steps are compared. Where they disagree, because a pair crosses its cutoff within the step or tables are rough,
others are tried, and the neighbouring steps that agree best are taken; their difference is the error of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import Coupling, StrainFreedom, driving_force
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.evaluators.restoring import restoring
from lammps_implicit.operators.interface import StrainedDerivative

STRAIN_STEPS = (5e-5, 1.25e-5, 3e-6, 8e-7)
"""Strain steps of the central differences, the usual one first. With it truncation and round-off together leave a
relative error of about 1e-6 in G and S, measured from a few atoms to a million."""

AGREEMENT = 1e-5
"""Relative difference of the derivatives with two steps at which shorter ones are not tried. Chosen: ten times what
smooth forces leave."""

FINITE_STRAIN = 1e-3
"""Largest component of the strain of `finite_disagreement`: that of a change of the parameters within their usual
uncertainty, which spans several intervals of a table."""


def coupling_evaluations(strains: int) -> int:
    """Force evaluations of `measure_coupling` where the first two steps agree, and of `finite_disagreement`."""
    steps_compared, sides, back = 2, 2, 1
    return (steps_compared * sides * strains + back) + (sides + back)


class _Change(NamedTuple):
    """Derivatives along one strain: of the forces (n, 3), of the driving force (6,), of what `collect` returns.

    `size` is the norm of the latter itself.
    """

    forces: FloatArray
    drive: FloatArray
    collected: FloatArray
    size: float = 0.0


def measure_coupling(
    mixed: StrainedDerivative, freedom: StrainFreedom, steps: Sequence[float] = STRAIN_STEPS
) -> Coupling:
    """Differentiate forces, pressure and descriptors with respect to strain by central differences.

    Costs four force and four descriptor evaluations per strain, half of that with a single step, and up to eight
    where they disagree; and one force evaluation to return to the reference, which also happens after an error.

    Parameters
    ----------
    mixed : StrainedDerivative
        C at the reference; it supplies the descriptors.
    freedom : StrainFreedom
        The k strains, and the pressure at which the cell is held.
    steps : sequence of float
        Strain steps, the usual one first; with a single one nothing is compared, and the error is not known.

    Returns
    -------
    Coupling
        ∂²U/∂X∂e, ∂²(U + TV)/∂e² and ∂²U/∂e∂Θ.

    Raises
    ------
    LammpsImplicitError
        If an evaluation fails. If the cell cannot be restored afterwards, the engine is void.
    """
    engine = mixed.engine
    with restoring(engine, engine.unstrain, "the cell"):
        found = [_agreeing(mixed, strain, freedom.target, steps) for strain in freedom.tensors()]
    changes = [change for change, _ in found]
    residual = freedom.basis.T @ driving_force(engine.volume, engine.pressure, np.zeros((3, 3)), freedom.target)
    derivative, energetic = mixed.under_strain(freedom.basis, [change.collected for change in changes])
    curvature = freedom.basis.T @ np.stack([change.drive for change in changes], axis=1)
    forces = np.stack([change.forces for change in changes], axis=2)
    error = max(error for _, error in found)
    return Coupling(freedom, forces, curvature, derivative, energetic, residual, error)


def finite_disagreement(engine: Evaluator, coupling: Coupling, amounts: FloatArray) -> float:
    """Relative difference between derivatives along a strain and what a finite one sees, by a central difference.

    Three force evaluations; none if the strain is zero.

    Parameters
    ----------
    engine : Evaluator
        At the reference of the coupling.
    coupling : Coupling
    amounts : (k,) float array
        Direction in the strains of its freedom.

    Returns
    -------
    float
        Zero if the strain is zero.
    """
    freedom, strain = coupling.freedom, np.tensordot(amounts, coupling.freedom.tensors(), axes=1)
    largest = float(np.abs(strain).max())
    if largest == 0:
        return 0.0
    ends = []
    with restoring(engine, engine.unstrain, "the cell"):
        for step in (FINITE_STRAIN / largest, -FINITE_STRAIN / largest):
            forces = engine.strained_forces(step * strain).copy()
            ends.append((forces, driving_force(engine.volume, engine.pressure, step * strain, freedom.target)))
    forces, drive = ((a - b) * largest / (2 * FINITE_STRAIN) for a, b in zip(*ends, strict=True))
    nothing = np.zeros((0, 0))
    expected = _Change(coupling.forces @ amounts, coupling.stiffness @ amounts, nothing)
    return _disagreement(engine, expected, _Change(-forces, freedom.basis.T @ drive, nothing))


def _agreeing(
    mixed: StrainedDerivative, strain: FloatArray, target: FloatArray, steps: Sequence[float]
) -> tuple[_Change, float]:
    """Derivatives along a strain, (3, 3), with the step that agrees best with the next shorter one, and their error."""
    best, error = _difference(mixed, strain, steps[0], target), np.nan if len(steps) == 1 else np.inf
    longer = best
    for step in steps[1:]:
        shorter = _difference(mixed, strain, step, target)
        missed = _disagreement(mixed.engine, longer, shorter)
        if missed < error:
            best, error = longer, missed
        if error <= AGREEMENT:
            break
        longer = shorter
    return best, error


def _difference(mixed: StrainedDerivative, strain: FloatArray, step: float, target: FloatArray) -> _Change:
    """Derivatives along a strain, (3, 3), by a central difference; the engine is left strained."""
    engine = mixed.engine
    states = []
    for signed in (step, -step):
        # Forces in the strained axes. Rotating them back would change them in proportion to the forces at the
        # reference, which nearly vanish.
        forces = engine.strained_forces(signed * strain).copy()
        drive = driving_force(engine.volume, engine.pressure, signed * strain, target)
        states.append(_Change(forces, drive, mixed.collect()))
    ahead, behind = states
    forces, drive, collected = ((a - b) / (2 * step) for a, b in zip(ahead[:3], behind[:3], strict=True))
    return _Change(-forces, drive, collected, engine.norm(ahead.collected))


def _disagreement(engine: Evaluator, one: _Change, other: _Change) -> float:
    """Relative difference of the derivatives with two steps: the largest of those of its parts."""
    stiffness = float(np.linalg.norm(one.drive))
    # In a perfect crystal no atom feels a force under strain: a force is compared with that which would do the work of
    # the elastic energy over the distance of atoms.
    force = engine.norm(one.forces) + stiffness / (engine.spacing * engine.n_atoms**0.5)
    missed = [
        float(np.linalg.norm(one.drive - other.drive)) / stiffness if stiffness > 0 else 0.0,
        engine.norm(one.forces - other.forces) / force if force > 0 else 0.0,
    ]
    # Under a shear of a cubic crystal descriptors do not change, by symmetry.
    collected = engine.norm(one.collected) + one.size
    if collected > 0:
        missed.append(engine.norm(one.collected - other.collected) / collected)
    return max(missed)
