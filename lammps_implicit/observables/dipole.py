"""Elastic dipole tensors of defects."""

from __future__ import annotations

import numpy as np

from lammps_implicit.cell.voigt import COMPONENTS, components
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.observables.observable import Observable
from lammps_implicit.stationary.comparable import require_same_potential
from lammps_implicit.stationary.point import StationaryPoint


def elastic_dipole(defect: StationaryPoint, bulk: StationaryPoint | None = None, tol: float = 1e-5) -> Observable:
    """Elastic dipole tensor P_ij = V p_ij of a defect in a cell held at the bulk's lattice.

    p is the residual pressure tensor, positive where the defect pushes outwards (E. Clouet, C. Varvenne, T. Jourdan,
    Comput. Mater. Sci. 147, 49 (2018)). With `bulk`, its residual pressure is subtracted, and the gradient includes the
    change of the bulk's lattice with Θ.

    Parameters
    ----------
    defect : StationaryPoint
        Positions relaxed in a fixed cell (``cell="none"``) that is a supercell of the bulk's.
    bulk : StationaryPoint, optional
        Relaxed with its cell; it must be periodic along the same directions.
    tol : float
        Relative tolerance of the solves.

    Returns
    -------
    Observable
        In LAMMPS' unit of energy, of shape (c,): those of the components xx, yy, zz, yz, xz, xy that the cell can be
        strained along; all six in a triclinic cell.

    Raises
    ------
    LammpsImplicitError
        If the defect's cell was relaxed, the bulk's was not, or their potentials differ.
    """
    if defect.cell != "none":
        raise LammpsImplicitError(
            f"{defect.deck_name}: the cell was relaxed, which leaves no dipole; hold it fixed (cell 'none')"
        )
    system = defect.free_cell_system(tol)
    names = system.freedom.names
    places = [COMPONENTS.index(name) for name in names]
    volume = defect.engine.volume
    pressure = components(defect.pressure)
    value, gradient = volume * pressure, -system.effective.T
    if bulk is not None:
        if bulk.cell == "none":
            raise LammpsImplicitError(
                f"{bulk.deck_name}: the bulk's cell must be relaxed for the dipole to follow its lattice"
            )
        require_same_potential([defect, bulk])
        lattice = bulk.cell_system(tol, bulk.cell)
        strain = lattice.strain_jacobian @ lattice.freedom.basis.T
        held = components(bulk.pressure)
        value = value - volume * held
        gradient = gradient - strain[:, places] @ system.stiffness.T
        gradient = gradient + volume * np.outer(strain[:, :3].sum(axis=1), (pressure - held)[places])
    return Observable(value[places], gradient, defect.units.energy)
