"""Properties of a perfect crystal: lattice parameters, cohesive energy, elastic constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.system import CellSystem
from lammps_implicit.cell.voigt import COMPONENTS, tensor
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.observables.cells import composition, enthalpy, require_relaxed_cell, unknown_gradient
from lammps_implicit.observables.memory import Memory
from lammps_implicit.observables.observable import Observable, combine
from lammps_implicit.stationary.point import StationaryPoint

ELASTIC_STEP = 1e-3
"""Relative step of the parameters that elastic constants are differenced with."""

CONSTANTS = ("C11", "C12", "C44")
"""Elastic constants of a cubic crystal."""

_measured: WeakKeyDictionary[StationaryPoint, dict[float, Memory]] = WeakKeyDictionary()
"""Elastic constants of each crystal by tolerance: one measurement gives all of them."""


def lattice_parameters(
    bulk: StationaryPoint, repeat: Sequence[int] = (1, 1, 1), tol: float = 1e-6, order: int = 1
) -> Observable:
    """Lengths of the cell vectors divided by the number of repetitions along each, (3,), Å.

    Parameters
    ----------
    bulk : StationaryPoint
        With a relaxed cell.
    repeat : sequence of int
        Unit cells along each vector.
    tol : float
    order : int
        Of derivatives: 0 for the values alone.
    """
    require_relaxed_cell(bulk, "lattice parameters depend")
    counts = np.asarray(repeat, float)
    if counts.shape != (3,) or not (counts > 0).all():
        raise LammpsImplicitError(f"repeat {list(repeat)}: three positive numbers of unit cells are needed")
    vectors = bulk.engine.cell
    lengths = np.linalg.norm(vectors, axis=1)
    if order == 0:
        return Observable(lengths / counts, unknown_gradient(bulk, 3), bulk.units.length)
    system = bulk.cell_system(tol, bulk.cell)
    # d|a| = a·(ε a)/|a| for each cell vector a.
    stretched = np.stack([np.einsum("va,va->v", vectors, vectors @ strain.T) for strain in system.freedom.tensors()])
    gradient = system.strain_jacobian @ (stretched / lengths)
    return Observable(lengths / counts, gradient / counts, bulk.units.length)


def cohesive_energy(
    bulk: StationaryPoint, isolated: float | Mapping[str, float] = 0.0, tol: float = 1e-5, order: int = 2
) -> Observable:
    """Energy of isolated atoms less that of the crystal, per atom.

    Parameters
    ----------
    bulk : StationaryPoint
    isolated : float or mapping of str to float
        Energy of an isolated atom, of each element. Constants: they do not depend on Θ.
    tol : float
    order : int
        Of derivatives; see `enthalpy`.
    """
    counts = composition(bulk)
    atoms = isolated if isinstance(isolated, Mapping) else dict.fromkeys(counts, float(isolated))
    unknown = [element for element in counts if element not in atoms]
    if unknown:
        raise LammpsImplicitError(f"the energy of an isolated atom of {', '.join(unknown)} is missing")
    free = sum(atoms[element] * count for element, count in counts.items()) / bulk.engine.n_atoms
    return combine([(-1.0 / bulk.engine.n_atoms, enthalpy(bulk, tol, order))], free)


def elastic_constants(bulk: StationaryPoint, tol: float = 1e-6, order: int = 1) -> Observable:
    """Elastic constants C_ij, (6, 6), of the relaxed crystal, positions following; order xx, yy, zz, yz, xz, xy.

    Their derivatives are differences of C at parameters changed one by one, in structures predicted by dz/dΘ: about
    thirty evaluations a parameter. Use the smallest cell there is. They are kept until the crystal changes.

    Parameters
    ----------
    bulk : StationaryPoint
        Relaxed with ``cell="full"``.
    tol : float
        Relative tolerance of solves.
    order : int
        Of derivatives: 0 for the values alone.

    Returns
    -------
    Observable
        In LAMMPS' unit of pressure.

    Raises
    ------
    LammpsImplicitError
        If the cell cannot take all strains.
    """
    require_all_strains(bulk)
    memory = _measured.setdefault(bulk, {}).setdefault(tol, Memory())
    return memory.recall([bulk.state], min(order, 1), lambda: _elastic_constants(bulk, tol, order))


def named_constants(constants: Observable, names: Sequence[str] = CONSTANTS) -> dict[str, Observable]:
    """Pick components C_ij of the elastic constants by name."""
    return {name: constants.component(int(name[1]) - 1, int(name[2]) - 1) for name in names}


def require_all_strains(bulk: StationaryPoint) -> None:
    """Check that a crystal was relaxed under all strains.

    Raises
    ------
    LammpsImplicitError
    """
    if bulk.cell != "full":
        raise LammpsImplicitError(f"{bulk.deck_name}: elastic constants need all strains, relax with cell 'full'")


def _elastic_constants(bulk: StationaryPoint, tol: float, order: int) -> Observable:
    value = _stiffness(bulk, tol)
    if order == 0:
        return Observable(value, unknown_gradient(bulk, 6, 6), bulk.units.pressure)
    jacobian = bulk.jacobian(max(tol, 1e-6), cell="full")
    assert jacobian.strain_jacobian is not None
    theta = bulk.potential.theta
    typical = float(np.abs(theta).mean()) or 1.0
    gradient = np.zeros((len(theta), 6, 6))
    for index, parameter in enumerate(theta):
        step = ELASTIC_STEP * max(abs(parameter), 1e-3 * typical)
        ends = []
        for sign in (1, -1):
            dtheta = np.zeros(len(theta))
            dtheta[index] = sign * step
            strain = tensor(dtheta @ jacobian.strain_jacobian)
            with bulk.excursion(dtheta, jacobian.dot(dtheta), strain):
                ends.append(_stiffness(bulk, tol))
        gradient[index] = (ends[0] - ends[1]) / (2 * step)
    return Observable(value, gradient, bulk.units.pressure)


def _stiffness(bulk: StationaryPoint, tol: float) -> FloatArray:
    """(6, 6), symmetric, LAMMPS' unit of pressure: d(stress)/d(strain) at the pressure the crystal has."""
    system: CellSystem = bulk.free_cell_system(tol)
    stiffness = system.stiffness * bulk.units.pressure_factor / bulk.engine.volume
    if stiffness.shape != (len(COMPONENTS),) * 2:
        raise LammpsImplicitError(f"{bulk.deck_name}: the cell cannot take all strains")
    return (stiffness + stiffness.T) / 2
