"""Derivatives under strain, by differences of forces, pressures and descriptors."""

from __future__ import annotations

import numpy as np

from lammps_implicit.cell.freedom import Coupling, StrainFreedom, driving_force
from lammps_implicit.evaluators.restoring import restoring
from lammps_implicit.operators.interface import StrainedDerivative

STRAIN_STEP = 5e-5
"""Strain of central differences: truncation and round-off leave about 1e-6 of G and S, from few to a million atoms."""


def measure_coupling(mixed: StrainedDerivative, freedom: StrainFreedom) -> Coupling:
    """Difference forces, pressures and descriptors under small strains.

    Two force and two descriptor evaluations a strain, and one force evaluation to come back to the reference, also
    after an error.

    Parameters
    ----------
    mixed : StrainedDerivative
    freedom : StrainFreedom
        Strains, and the pressure that the cell is held at.

    Returns
    -------
    Coupling

    Raises
    ------
    LammpsImplicitError
        If an evaluation fails; if the cell cannot be restored either, the engine is void.
    """
    engine = mixed.engine
    forces, stiffness, changes = [], [], []
    with restoring(engine, engine.unstrain, "the cell"):
        for strain in freedom.tensors():
            pulls, drives, descriptors = [], [], []
            for step in (STRAIN_STEP, -STRAIN_STEP):
                # Forces in strained axes; where they vanish the difference does not matter, and they nearly do.
                pulls.append(engine.strained_forces(step * strain).copy())
                drives.append(driving_force(engine.volume, engine.pressure, step * strain, freedom.target))
                descriptors.append(mixed.collect())
            forces.append((pulls[1] - pulls[0]) / (2 * STRAIN_STEP))
            stiffness.append((drives[0] - drives[1]) / (2 * STRAIN_STEP))
            changes.append((descriptors[0] - descriptors[1]) / (2 * STRAIN_STEP))
    residual = freedom.basis.T @ driving_force(engine.volume, engine.pressure, np.zeros((3, 3)), freedom.target)
    derivative, energetic = mixed.under_strain(freedom.basis, changes)
    curvature = freedom.basis.T @ np.stack(stiffness, axis=1)
    return Coupling(freedom, np.stack(forces, axis=2), curvature, derivative, energetic, residual)
