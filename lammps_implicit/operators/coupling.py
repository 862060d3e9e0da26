"""Derivatives with respect to strain, by central differences of forces, pressures and descriptors."""

from __future__ import annotations

import numpy as np

from lammps_implicit.cell.freedom import Coupling, StrainFreedom, driving_force
from lammps_implicit.evaluators.restoring import restoring
from lammps_implicit.operators.interface import StrainedDerivative

STRAIN_STEP = 5e-5
"""Strain step of the central differences. Truncation and round-off together leave a relative error of about 1e-6 in G
and S, measured from a few atoms to a million."""


def measure_coupling(mixed: StrainedDerivative, freedom: StrainFreedom) -> Coupling:
    """Differentiate forces, pressure and descriptors with respect to strain by central differences.

    Costs two force and two descriptor evaluations per strain, and one force evaluation to return to the reference,
    which also happens after an error.

    Parameters
    ----------
    mixed : StrainedDerivative
        C at the reference; it supplies the descriptors.
    freedom : StrainFreedom
        The k strains, and the pressure at which the cell is held.

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
    forces, stiffness, changes = [], [], []
    with restoring(engine, engine.unstrain, "the cell"):
        for strain in freedom.tensors():
            strained, drives, descriptors = [], [], []
            for step in (STRAIN_STEP, -STRAIN_STEP):
                # Forces in the strained axes. Rotating them back would change them in proportion to the forces at the
                # reference, which nearly vanish.
                strained.append(engine.strained_forces(step * strain).copy())
                drives.append(driving_force(engine.volume, engine.pressure, step * strain, freedom.target))
                descriptors.append(mixed.collect())
            forces.append((strained[1] - strained[0]) / (2 * STRAIN_STEP))
            stiffness.append((drives[0] - drives[1]) / (2 * STRAIN_STEP))
            changes.append((descriptors[0] - descriptors[1]) / (2 * STRAIN_STEP))
    residual = freedom.basis.T @ driving_force(engine.volume, engine.pressure, np.zeros((3, 3)), freedom.target)
    derivative, energetic = mixed.under_strain(freedom.basis, changes)
    curvature = freedom.basis.T @ np.stack(stiffness, axis=1)
    return Coupling(freedom, np.stack(forces, axis=2), curvature, derivative, energetic, residual)
