"""Formation, binding and relaxation energies and volumes of defects.

The formation energy is E_f = E(defect) - Σ_s n_s μ_s, with the numbers n_s of atoms of each species in the defect's
cell. The chemical potentials of the host's species sum to its bulk energy, Σ_s N_s μ_s = E(bulk). In a pure host this
determines μ. In a compound, all species but one need a reservoir, unless the defect conserves the composition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Union

import numpy as np

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.observables.cells import (
    composition,
    enthalpy,
    volume,
)
from lammps_implicit.observables.error_context import errors_about
from lammps_implicit.observables.observable import Observable, combine
from lammps_implicit.stationary.comparable import require_comparable, require_same_potential
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.units import in_unit

Reservoir = Union[StationaryPoint, float]
"""A cell of the pure element, or its chemical potential as a number that does not depend on Θ."""


def energy_in_unit_of(cell: StationaryPoint, given: float | str, name: str) -> float:
    """Convert an energy, such as ``-3.2`` or ``"-310 kJ/mol"``, to a cell's unit of energy.

    Parameters
    ----------
    cell : StationaryPoint
    given : float or str
        A number in the cell's unit, or one with its own.
    name : str
        What it is the energy of, for messages.

    Raises
    ------
    LammpsImplicitError
        If it is not an energy.
    """
    with errors_about(name):
        return in_unit(given, cell.units.energy)


def formation_energy(
    defect: StationaryPoint,
    bulk: StationaryPoint,
    reservoirs: Mapping[str, Reservoir] | None = None,
    tol: float = 1e-5,
    order: int = 2,
) -> Observable:
    """Formation energy of a defect; at a pressure, its formation enthalpy.

    Parameters
    ----------
    defect, bulk : StationaryPoint
        With the same potential; either both relaxed with their cells at the same pressure, or both at fixed cell.
    reservoirs : mapping of str to (StationaryPoint or float), optional
        For each element whose chemical potential the bulk does not fix: a cell of the pure element, or its chemical
        potential in LAMMPS' unit of energy.
    tol : float
        Relative tolerance of Jacobians.
    order : int
        Order of the derivatives; see `cells.enthalpy`.

    Returns
    -------
    Observable
        Scalar, in LAMMPS' unit of energy.

    Raises
    ------
    LammpsImplicitError
        If potentials, units or pressures differ, or the composition does not balance.
    """
    return excess(defect, bulk, reservoirs or {}, lambda cell: enthalpy(cell, tol, order), allow_numbers=True)


def formation_volume(
    defect: StationaryPoint,
    bulk: StationaryPoint,
    reservoirs: Mapping[str, Reservoir] | None = None,
    tol: float = 1e-5,
    order: int = 2,
) -> Observable:
    """Formation volume: the volume of the defect's cell minus the volumes of its atoms in the bulk and the reservoirs.

    Parameters
    ----------
    defect, bulk, reservoirs, tol
        See `formation_energy`; cells are relaxed. A chemical potential has no volume: use `relaxation_volume` instead.
    order : int
        Order of the derivatives; see `cells.volume`.

    Returns
    -------
    Observable
        Scalar, in LAMMPS' unit of length cubed.

    Raises
    ------
    LammpsImplicitError
        As for `formation_energy`; also if a cell was not relaxed or a reservoir that is needed is a number.
    """
    return excess(defect, bulk, reservoirs or {}, lambda cell: volume(cell, tol, order), allow_numbers=False)


def relaxation_volume(
    defect: StationaryPoint, bulk: StationaryPoint, sites: int, tol: float = 1e-5, order: int = 2
) -> Observable:
    """Relaxation volume: the volume of the defect's cell minus that of the perfect crystal with the same lattice sites.

    Parameters
    ----------
    defect, bulk : StationaryPoint
        With relaxed cells and the same potential and pressure.
    sites : int
        Lattice sites of the defect's cell without the defect.
    tol, order
        See `cells.volume`.

    Returns
    -------
    Observable
        Scalar, in LAMMPS' unit of length cubed.

    Raises
    ------
    LammpsImplicitError
        If potentials, units or pressures differ, or a cell was not relaxed.
    """
    require_comparable([defect, bulk])
    perfect = volume(bulk, tol, order)
    return combine([(1.0, volume(defect, tol, order)), (-sites / bulk.engine.n_atoms, perfect)])


def binding_energy(complex_: Observable, parts: Sequence[Observable]) -> Observable:
    """Binding energy: the sum of the parts' formation energies minus that of the complex; positive for attraction.

    Parameters
    ----------
    complex_ : Observable
        Formation energy of the complex.
    parts : sequence of Observable
        Formation energies of the defects it consists of.
    """
    return combine([(1.0, part) for part in parts] + [(-1.0, complex_)])


def relaxation_energy(
    unrelaxed: StationaryPoint, relaxed: StationaryPoint, tol: float = 1e-5, order: int = 2
) -> Observable:
    """Relaxation energy: the energy of the unrelaxed structure minus that of the minimum; enthalpies at a pressure.

    Parameters
    ----------
    unrelaxed : StationaryPoint
        From a deck that does not minimise, ``StationaryPoint.from_deck(deck, ftol=inf, force_limit=inf)``. Its
        structure does not depend on Θ.
    relaxed : StationaryPoint
    tol, order
        See `cells.enthalpy`.

    Returns
    -------
    Observable
        Scalar, in LAMMPS' unit of energy.

    Raises
    ------
    LammpsImplicitError
        If the structures have different compositions, potentials or units.
    """
    if composition(unrelaxed) != composition(relaxed):
        raise LammpsImplicitError("the relaxed and the unrelaxed structure have different compositions")
    require_same_potential([unrelaxed, relaxed])
    pressure = float(np.trace(relaxed.target)) / 3 if relaxed.cell != "none" else 0.0
    held = Observable(
        np.asarray(unrelaxed.energy + pressure * unrelaxed.engine.volume),
        unrelaxed.energy_gradient(),
        unrelaxed.units.energy,
        np.zeros((len(unrelaxed.potential.theta),) * 2) if order >= 2 else None,
    )
    return combine([(1.0, held), (-1.0, enthalpy(relaxed, tol, order))])


def reference_weights(
    defect: Mapping[str, int], bulk: Mapping[str, int], reservoirs: Mapping[str, int]
) -> tuple[float, dict[str, float]]:
    """Numbers of bulk cells and of reservoir cells that together contain the atoms of the defect's cell.

    Parameters
    ----------
    defect, bulk : mapping of str to int
        Number of atoms of each element.
    reservoirs : mapping of str to int
        Number of atoms in the cell of each element's reservoir; 1 for a chemical potential.

    Returns
    -------
    bulk_cells : float
    reservoir_cells : dict of str to float
        By element; numbers of atoms for chemical potentials. Negative for atoms that were removed.

    Raises
    ------
    LammpsImplicitError
        If bulk and reservoirs cannot supply these atoms.
    """
    from_bulk = [element for element in bulk if element not in reservoirs]
    missing = [element for element in defect if element not in bulk and element not in reservoirs]
    if missing:
        raise LammpsImplicitError(
            f"the composition does not balance: {', '.join(missing)} is neither in the bulk ("
            f"{', '.join(bulk)}) nor has a reservoir; give its chemical potential"
        )
    shares = {element: defect.get(element, 0) / bulk[element] for element in from_bulk}
    if shares and max(shares.values()) - min(shares.values()) > 1e-12:  # quotients of integers differ by round-off
        counts = ", ".join(f"{defect.get(element, 0)} {element}" for element in from_bulk)
        raise LammpsImplicitError(
            f"the composition does not balance: {counts} are not in the bulk's proportions, "
            f"{', '.join(f'{bulk[element]} {element}' for element in from_bulk)}; give reservoirs for all of these "
            "elements but one"
        )
    cells = next(iter(shares.values()), 0.0)
    return cells, {
        element: (defect.get(element, 0) - cells * bulk.get(element, 0)) / count
        for element, count in reservoirs.items()
    }


def excess(
    defect: StationaryPoint,
    bulk: StationaryPoint,
    reservoirs: Mapping[str, Reservoir],
    quantity: Callable[[StationaryPoint], Observable],
    allow_numbers: bool,
) -> Observable:
    """A quantity of the defect's cell minus that of the same atoms in the bulk and the reservoirs.

    Parameters
    ----------
    defect, bulk, reservoirs
        See `formation_energy`.
    quantity : callable
        Measures it on a cell.
    allow_numbers : bool
        Whether a reservoir may be a number.

    Raises
    ------
    LammpsImplicitError
        As `formation_energy`; or if a reservoir is a number, but must not be.
    """
    cells = {element: cell for element, cell in reservoirs.items() if isinstance(cell, StationaryPoint)}
    require_comparable([defect, bulk, *cells.values()])
    for element, cell in cells.items():
        if set(composition(cell)) != {element}:
            raise LammpsImplicitError(
                f"the reservoir of {element} contains {', '.join(composition(cell))}; give a cell of pure {element}"
            )
    sizes = {element: cells[element].engine.n_atoms if element in cells else 1 for element in reservoirs}
    count, shares = reference_weights(composition(defect), composition(bulk), sizes)
    terms = [(1.0, quantity(defect))]
    if count:
        terms.append((-count, quantity(bulk)))
    terms += [(-shares[element], quantity(cell)) for element, cell in cells.items() if shares[element]]
    numbers = {e: value for e, value in reservoirs.items() if not isinstance(value, StationaryPoint) and shares[e]}
    if numbers and not allow_numbers:
        raise LammpsImplicitError(
            f"the reservoir of {', '.join(numbers)} is a number, which has neither volume nor entropy: give a "
            "cell of the element"
        )
    return combine(terms, -sum(shares[element] * value for element, value in numbers.items()))
