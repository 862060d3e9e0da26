"""The kinds of observables of this package that a configuration can name; see `kind`."""

from __future__ import annotations

from typing import ClassVar, Literal, Optional, Union
from weakref import WeakKeyDictionary

from pydantic import Field, PrivateAttr

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.observables.barriers import barrier, migration_volume, require_saddle_of
from lammps_implicit.observables.bulk import (
    CUBIC_CONSTANTS,
    elastic_constants,
    lattice_parameters,
    named_constants,
    require_all_strains,
)
from lammps_implicit.observables.cells import enthalpy, require_enthalpy, require_relaxed_cell, volume
from lammps_implicit.observables.decks import PositionSource
from lammps_implicit.observables.distances import distance, require_atoms
from lammps_implicit.observables.distortion import distortion_from, require_fixed_cell
from lammps_implicit.observables.formation import (
    Reservoir,
    energy_in_unit_of,
    formation_energy,
    formation_volume,
    relaxation_volume,
)
from lammps_implicit.observables.kind import Cells, ObservableKind
from lammps_implicit.observables.observable import Observable, combine
from lammps_implicit.observables.targets import read_positions
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.units import is_quantity

ELASTIC_TOLERANCE = 1e-7
"""Relative tolerance of the solves for elastic constants.

The relative error of the constants is of the same size; that of their gradients is larger by 1 / `bulk.ELASTIC_STEP`,
1e-4.
"""


class Energy(ObservableKind):
    """Energy of a cell, or its enthalpy at a pressure; optionally minus that of another cell."""

    kind: Literal["energy"]
    cell: str
    less: Optional[str] = Field(default=None, description="cell whose energy is subtracted")

    def cells(self) -> list[str]:
        return [self.cell] if self.less is None else [self.cell, self.less]

    def check(self, cells: Cells) -> None:
        for name in self.cells():
            require_enthalpy(cells[name])

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        found = enthalpy(cells[self.cell], tol, order)
        if self.less is None:
            return found
        return combine([(1.0, found), (-1.0, enthalpy(cells[self.less], tol, order))])


class Volume(ObservableKind):
    """Volume of a relaxed cell."""

    kind: Literal["volume"]
    cell: str

    def cells(self) -> list[str]:
        return [self.cell]

    def check(self, cells: Cells) -> None:
        require_relaxed_cell(cells[self.cell], "a volume depends")

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        return volume(cells[self.cell], tol, order)


class FormationEnergy(ObservableKind):
    """Formation energy of a defect; at a pressure, its formation enthalpy."""

    kind: Literal["formation energy"]
    defect: str
    bulk: str
    reservoirs: dict[str, Union[float, str]] = Field(
        default_factory=dict, description="by element: a cell, or a chemical potential, as -3.2 or '-310 kJ/mol'"
    )

    def cells(self) -> list[str]:
        return cells_of_defect(self.defect, self.bulk, self.reservoirs)

    def check(self, cells: Cells) -> None:
        for name in self.cells():
            require_enthalpy(cells[name])

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        reservoirs = reservoirs_of(self.reservoirs, cells, cells[self.bulk])
        return formation_energy(cells[self.defect], cells[self.bulk], reservoirs, tol, order)


class FormationVolume(ObservableKind):
    """Formation volume of a defect."""

    kind: Literal["formation volume"]
    defect: str
    bulk: str
    reservoirs: dict[str, Union[float, str]] = Field(default_factory=dict, description="by element: a cell")

    def cells(self) -> list[str]:
        return cells_of_defect(self.defect, self.bulk, self.reservoirs)

    def check(self, cells: Cells) -> None:
        for name in self.cells():
            require_relaxed_cell(cells[name], "a volume depends")

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        reservoirs = reservoirs_of(self.reservoirs, cells, cells[self.bulk])
        return formation_volume(cells[self.defect], cells[self.bulk], reservoirs, tol, order)


class RelaxationVolume(ObservableKind):
    """Volume of a defect's cell minus that of the perfect crystal with the same lattice sites."""

    kind: Literal["relaxation volume"]
    defect: str
    bulk: str
    sites: int = Field(gt=0, lt=10**12, description="lattice sites of the cell without the defect")

    def cells(self) -> list[str]:
        return [self.defect, self.bulk]

    def check(self, cells: Cells) -> None:
        for name in self.cells():
            require_relaxed_cell(cells[name], "a volume depends")

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        return relaxation_volume(cells[self.defect], cells[self.bulk], self.sites, tol, order)


class MigrationBarrier(ObservableKind):
    """Energy of a saddle above a minimum of the same atoms; at a pressure, enthalpy."""

    kind: Literal["barrier", "migration energy"]
    saddle: str = Field(description="cell with 'saddle: true' or 'barrier: {from, to}'")
    minimum: str = Field(description="cell with the minimum that the barrier is above")

    def cells(self) -> list[str]:
        return [self.saddle, self.minimum]

    def check(self, cells: Cells) -> None:
        require_saddle_of(cells[self.saddle], cells[self.minimum])

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        return barrier(cells[self.saddle], cells[self.minimum], tol, order)


class MigrationVolume(ObservableKind):
    """Volume of a saddle's relaxed cell minus that of a minimum of the same atoms."""

    kind: Literal["migration volume"]
    saddle: str = Field(description="cell with 'saddle: true' or 'barrier: {from, to}'")
    minimum: str = Field(description="cell with the minimum")

    def cells(self) -> list[str]:
        return [self.saddle, self.minimum]

    def check(self, cells: Cells) -> None:
        require_saddle_of(cells[self.saddle], cells[self.minimum], volumes=True)

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        return migration_volume(cells[self.saddle], cells[self.minimum], tol, order)


class LatticeParameter(ObservableKind):
    """Length of a cell vector, divided by the number of unit cells along it."""

    kind: Literal["lattice parameter"]
    cell: str
    axis: Literal["a", "b", "c"] = "a"
    repeat: int = Field(default=1, gt=0, description="unit cells along the vector")

    def cells(self) -> list[str]:
        return [self.cell]

    def check(self, cells: Cells) -> None:
        require_relaxed_cell(cells[self.cell], "lattice parameters depend")

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        return lattice_parameters(cells[self.cell], (self.repeat,) * 3, tol, order).component("abc".index(self.axis))


class ElasticConstant(ObservableKind):
    """Elastic constant of a crystal whose cell is relaxed under all strains ('full')."""

    kind: Literal["elastic constant"]
    costly: ClassVar[bool] = True
    cell: str
    constant: str = Field(default=CUBIC_CONSTANTS[0], pattern="^C[1-6][1-6]$")

    def cells(self) -> list[str]:
        return [self.cell]

    def check(self, cells: Cells) -> None:
        require_all_strains(cells[self.cell])

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        constants = elastic_constants(cells[self.cell], min(tol, ELASTIC_TOLERANCE), order)
        return named_constants(constants, [self.constant])[self.constant]


class Distance(ObservableKind):
    """Distance between the nearest images of two atoms."""

    kind: Literal["distance"]
    cell: str
    ids: tuple[int, int]

    def cells(self) -> list[str]:
        return [self.cell]

    def check(self, cells: Cells) -> None:
        require_atoms(cells[self.cell], self.ids)

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        return distance(cells[self.cell], self.ids, tol, order)


class LatticeDistortion(ObservableKind):
    """Mean square displacement from ideal sites, without the net translation."""

    kind: Literal["lattice distortion"]
    cell: str
    sites: PositionSource

    # Created on first use: settings are pickled from rank to rank, which weak references do not allow.
    _read: Optional[WeakKeyDictionary[StationaryPoint, tuple[IntArray, FloatArray]]] = PrivateAttr(default=None)

    def cells(self) -> list[str]:
        return [self.cell]

    def check(self, cells: Cells) -> None:
        require_fixed_cell(cells[self.cell])
        self._sites(cells[self.cell])

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        minimum = cells[self.cell]
        ids, sites = self._sites(minimum)
        return distortion_from(minimum, fetch(minimum.engine.comm, ids, sites, minimum.ids)).mean_square(tol, order)

    def _sites(self, minimum: StationaryPoint) -> tuple[IntArray, FloatArray]:
        """Ids of atoms and their ideal sites, distributed over the ranks; read once per cell."""
        if self._read is None:
            self._read = WeakKeyDictionary()
        if minimum not in self._read:
            self._read[minimum] = minimum.ids.copy(), read_positions(self.sites, minimum, self.cell)
        return self._read[minimum]


def cells_of_defect(defect: str, bulk: str, reservoirs: dict[str, Union[float, str]]) -> list[str]:
    """Names of the cells that the formation of a defect depends on, those of reservoirs among them."""
    return [defect, bulk, *(str(given) for given in reservoirs.values() if not is_quantity(given))]


def reservoirs_of(given: dict[str, Union[float, str]], cells: Cells, unit_of: StationaryPoint) -> dict[str, Reservoir]:
    """Reservoirs by element: cells by their names, and chemical potentials in the unit of energy of a cell."""
    return {
        element: energy_in_unit_of(unit_of, value, f"reservoir of {element}")
        if is_quantity(value)
        else cells[str(value)]
        for element, value in given.items()
    }
