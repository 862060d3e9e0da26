"""Energies and volumes of defects, as differences of cells with reservoirs for what is added or missing.

E_f = E(defect) - Σ_s n_s μ_s, where the host's chemical potentials sum up to its bulk energy, Σ_s N_s μ_s = E(bulk).
Of a pure host that gives μ; of a compound all but one need a reservoir, unless the defect leaves its composition alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Union

import numpy as np

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.observables.cells import (
    composition,
    enthalpy,
    require_comparable,
    require_same_potential,
    volume,
)
from lammps_implicit.observables.observable import Observable, combine
from lammps_implicit.stationary.point import StationaryPoint

Reservoir = Union[StationaryPoint, float]
"""A cell of the pure element, or its chemical potential as a number that does not depend on Θ."""


def formation_energy(
    defect: StationaryPoint,
    bulk: StationaryPoint,
    reservoirs: Mapping[str, Reservoir] | None = None,
    tol: float = 1e-5,
    order: int = 2,
) -> Observable:
    """Formation energy of what a cell holds beside its host; the enthalpy under pressure.

    Parameters
    ----------
    defect, bulk : StationaryPoint
        With the same potential; either both with relaxed cells, at the same pressure, or both without.
    reservoirs : mapping of str to (StationaryPoint or float), optional
        Where elements come from that the bulk does not fix.
    tol : float
    order : int
        Of derivatives; see `cells.enthalpy`.

    Raises
    ------
    LammpsImplicitError
        If potentials, units or pressures differ, or the composition does not balance.
    """
    return _difference(defect, bulk, reservoirs or {}, lambda cell: enthalpy(cell, tol, order), True)


def formation_volume(
    defect: StationaryPoint,
    bulk: StationaryPoint,
    reservoirs: Mapping[str, Reservoir] | None = None,
    tol: float = 1e-5,
    order: int = 2,
) -> Observable:
    """Formation volume: that of the cell less the volumes its atoms have in bulk and reservoirs.

    A reservoir that is a number has no volume; see `relaxation_volume` then.
    """
    return _difference(defect, bulk, reservoirs or {}, lambda cell: volume(cell, tol, order), False)


def relaxation_volume(
    defect: StationaryPoint, bulk: StationaryPoint, sites: int, tol: float = 1e-5, order: int = 2
) -> Observable:
    """Volume of the cell less that of the perfect crystal with so many lattice sites."""
    require_comparable([defect, bulk])
    perfect = volume(bulk, tol, order)
    return combine([(1.0, volume(defect, tol, order)), (-sites / bulk.engine.n_atoms, perfect)])


def binding_energy(complex_: Observable, parts: Sequence[Observable]) -> Observable:
    """Sum of the parts' formation energies less that of their complex: positive where they attract."""
    return combine([(1.0, part) for part in parts] + [(-1.0, complex_)])


def relaxation_energy(
    unrelaxed: StationaryPoint, relaxed: StationaryPoint, tol: float = 1e-5, order: int = 2
) -> Observable:
    """What relaxing gains: the energy of a structure held as it is less that of the minimum; enthalpies under pressure.

    Parameters
    ----------
    unrelaxed : StationaryPoint
        ``StationaryPoint.from_deck(deck, ftol=inf, force_limit=inf)`` of a deck that does not minimise.
    relaxed : StationaryPoint
    """
    if composition(unrelaxed) != composition(relaxed):
        raise LammpsImplicitError("the relaxed and the unrelaxed structure hold different atoms")
    require_same_potential([unrelaxed, relaxed])
    pressure = float(np.trace(relaxed.target)) / 3 if relaxed.cell != "none" else 0.0
    held = Observable(
        np.asarray(unrelaxed.energy + pressure * unrelaxed.engine.volume),
        unrelaxed.energy_gradient(),
        unrelaxed.units.energy,
        np.zeros((len(unrelaxed.potential.theta),) * 2) if order >= 2 else None,
    )
    return combine([(1.0, held), (-1.0, enthalpy(relaxed, tol, order))])


def weights(
    defect: Mapping[str, int], bulk: Mapping[str, int], reservoirs: Mapping[str, int]
) -> tuple[float, dict[str, float]]:
    """How many bulk cells, and how many reservoir cells or atoms, hold the atoms of the defect's cell.

    Parameters
    ----------
    defect, bulk : mapping of str to int
        Compositions.
    reservoirs : mapping of str to int
        Atoms in each reservoir's cell; 1 for a number.

    Raises
    ------
    LammpsImplicitError
        If they cannot.
    """
    open_ = [element for element in bulk if element not in reservoirs]
    missing = [element for element in defect if element not in bulk and element not in reservoirs]
    if missing:
        raise LammpsImplicitError(
            f"the composition does not balance: {', '.join(missing)} is neither in the bulk ("
            f"{', '.join(bulk)}) nor has it a reservoir; give its chemical potential"
        )
    shares = {element: defect.get(element, 0) / bulk[element] for element in open_}
    if shares and max(shares.values()) - min(shares.values()) > 1e-12:
        counts = ", ".join(f"{defect.get(element, 0)} {element}" for element in open_)
        raise LammpsImplicitError(
            f"the composition does not balance: {counts} are no whole of the bulk's "
            f"{', '.join(f'{bulk[element]} {element}' for element in open_)}; give chemical potentials of all but one"
        )
    cells = next(iter(shares.values()), 0.0)
    return cells, {
        element: (defect.get(element, 0) - cells * bulk.get(element, 0)) / count
        for element, count in reservoirs.items()
    }


def _difference(
    defect: StationaryPoint,
    bulk: StationaryPoint,
    reservoirs: Mapping[str, Reservoir],
    quantity: Callable[[StationaryPoint], Observable],
    numbers_count: bool,
) -> Observable:
    """The defect's quantity less that of what its atoms come from; `numbers_count`: reservoirs may be numbers."""
    cells = {element: cell for element, cell in reservoirs.items() if isinstance(cell, StationaryPoint)}
    require_comparable([defect, bulk, *cells.values()])
    for element, cell in cells.items():
        if set(composition(cell)) != {element}:
            raise LammpsImplicitError(f"the reservoir of {element} holds {', '.join(composition(cell))}")
    sizes = {element: cells[element].engine.n_atoms if element in cells else 1 for element in reservoirs}
    count, shares = weights(composition(defect), composition(bulk), sizes)
    terms = [(1.0, quantity(defect))]
    if count:
        terms.append((-count, quantity(bulk)))
    terms += [(-shares[element], quantity(cell)) for element, cell in cells.items() if shares[element]]
    numbers = {e: value for e, value in reservoirs.items() if not isinstance(value, StationaryPoint) and shares[e]}
    if numbers and not numbers_count:
        raise LammpsImplicitError(
            f"the reservoir of {', '.join(numbers)} is a number, which has no volume: give a cell of the element"
        )
    return combine(terms, -sum(shares[element] * value for element, value in numbers.items()))
