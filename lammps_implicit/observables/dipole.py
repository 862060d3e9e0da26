"""Elastic dipole tensors of defects."""

from __future__ import annotations

import numpy as np

from lammps_implicit.cell.voigt import COMPONENTS, components
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.observables.cells import require_same_potential
from lammps_implicit.observables.observable import Observable
from lammps_implicit.stationary.point import StationaryPoint


def elastic_dipole(defect: StationaryPoint, bulk: StationaryPoint | None = None, tol: float = 1e-5) -> Observable:
    """Elastic dipole tensor P_ij = V p_ij of a defect in a cell held at the bulk's lattice, eV.

    p is the pressure that the defect leaves behind, positive where it pushes outwards (E. Clouet, C. Varvenne,
    T. Jourdan, Comput. Mater. Sci. 147, 49 (2018)). With `bulk`, the cell follows the bulk's lattice as Θ changes.

    Parameters
    ----------
    defect : StationaryPoint
        Positions relaxed in a fixed cell (``cell="none"``) that is a repetition of the bulk's.
    bulk : StationaryPoint, optional
        Relaxed with its cell; the same directions must be free in both.
    tol : float

    Returns
    -------
    Observable
        (c,) components out of xx, yy, zz, yz, xz, xy that the cell can be strained along; all six in a triclinic cell.
    """
    if defect.cell != "none":
        raise LammpsImplicitError(f"{defect.deck_name}: a cell that was relaxed has no dipole left; hold it fixed")
    system = defect.free_cell_system(tol)
    names = system.freedom.names
    places = [COMPONENTS.index(name) for name in names]
    volume = defect.engine.volume
    now = components(defect.pressure)
    value, gradient = volume * now, -system.effective.T
    if bulk is not None:
        if bulk.cell == "none":
            raise LammpsImplicitError(f"{bulk.deck_name}: a lattice that the dipole is to follow must be relaxed")
        require_same_potential([defect, bulk])
        lattice = bulk.cell_system(tol, bulk.cell)
        strain = lattice.strain_jacobian @ lattice.freedom.basis.T
        held = components(bulk.pressure)
        value = value - volume * held
        gradient = gradient - strain[:, places] @ system.stiffness.T
        gradient = gradient + volume * np.outer(strain[:, :3].sum(axis=1), (now - held)[places])
    return Observable(value[places], gradient, defect.units.energy)
