"""Observables that a configuration names, as functions of the cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lammps_implicit.inverse.config import (
    Distance,
    Distortion,
    Elastic,
    Energy,
    Formation,
    Lattice,
    Quantity,
    Volume,
)
from lammps_implicit.inverse.targets import read_positions
from lammps_implicit.inverse.terms import Cells
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.observables.bulk import elastic_constants, lattice_parameters, named_constants
from lammps_implicit.observables.cells import enthalpy, volume
from lammps_implicit.observables.distances import distance
from lammps_implicit.observables.distortion import distortion_from
from lammps_implicit.observables.formation import Reservoir, formation_energy, formation_volume, relaxation_volume
from lammps_implicit.observables.observable import Observable, combine

ELASTIC_TOLERANCE = 1e-7
"""Of solves that elastic constants are measured with: what they leave is as large in the constants."""

Measure = Callable[[Cells, int], Observable]
"""Cells and the order of derivatives, 0 or 1, to an observable."""


def measures_of(quantities: Mapping[str, Quantity], cells: Cells, tol: float) -> dict[str, Measure]:
    """Functions that measure quantities, by name; what they last found is kept until a cell moves on."""
    stiffness: dict[str, Measure] = {}  # one measurement gives all constants
    return {name: _measure(quantity, cells, tol, stiffness) for name, quantity in quantities.items()}


def _measure(quantity: Quantity, cells: Cells, tol: float, stiffness: dict[str, Measure]) -> Measure:
    if isinstance(quantity, Distortion):
        return _remembered(_distortion(quantity, cells, tol), quantity.cells())
    if isinstance(quantity, Elastic):
        name, constant = quantity.cell, quantity.constant
        whole = stiffness.setdefault(
            name,
            _remembered(lambda now, order: elastic_constants(now[name], min(tol, ELASTIC_TOLERANCE), order), [name]),
        )
        return lambda now, order: named_constants(whole(now, order), [constant])[constant]
    return _remembered(lambda now, order: _measured(quantity, now, order, tol), quantity.cells())


def _measured(quantity: Quantity, cells: Cells, order: int, tol: float) -> Observable:
    if isinstance(quantity, Energy):
        found = enthalpy(cells[quantity.cell], tol, order)
        if quantity.less is None:
            return found
        return combine([(1.0, found), (-1.0, enthalpy(cells[quantity.less], tol, order))])
    if isinstance(quantity, Volume):
        return volume(cells[quantity.cell], tol, order)
    if isinstance(quantity, Formation):
        return _formation(quantity, cells, order, tol)
    if isinstance(quantity, Lattice):
        lengths = lattice_parameters(cells[quantity.cell], (quantity.repeat,) * 3, tol, order)
        axis = "abc".index(quantity.axis)
        return Observable(lengths.value[axis], lengths.gradient[:, axis], lengths.units)
    assert isinstance(quantity, Distance)
    return distance(cells[quantity.cell], quantity.ids, tol, order)


def _formation(quantity: Formation, cells: Cells, order: int, tol: float) -> Observable:
    defect, bulk = cells[quantity.defect], cells[quantity.bulk]
    reservoirs: dict[str, Reservoir] = {
        element: cells[given] if isinstance(given, str) else given for element, given in quantity.reservoirs.items()
    }
    if quantity.kind == "formation energy":
        return formation_energy(defect, bulk, reservoirs, tol, order)
    if quantity.kind == "formation volume":
        return formation_volume(defect, bulk, reservoirs, tol, order)
    assert quantity.sites is not None
    return relaxation_volume(defect, bulk, quantity.sites, tol, order)


def _distortion(quantity: Distortion, cells: Cells, tol: float) -> Measure:
    minimum = cells[quantity.cell]
    sites = read_positions(quantity.sites, minimum, quantity.cell)
    ids = minimum.ids.copy()

    def measure(now: Cells, order: int) -> Observable:
        here = now[quantity.cell]
        return distortion_from(here, fetch(here.engine.comm, ids, sites, here.ids)).mean_square(tol, order)

    return measure


def _remembered(measure: Measure, names: list[str]) -> Measure:
    known: dict[int, tuple[list[int], Observable]] = {}

    def remembering(cells: Cells, order: int) -> Observable:
        states = [cells[name].state for name in names]
        for at_least in range(order, 2):
            if at_least in known and known[at_least][0] == states:
                return known[at_least][1]
        known[order] = states, measure(cells, order)
        return known[order][1]

    return remembering
