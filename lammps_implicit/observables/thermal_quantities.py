"""Kinds of observables at temperature that a configuration can name; see `kind` and `thermal`."""

from __future__ import annotations

from typing import ClassVar, Literal, Optional, Union

from pydantic import Field

from lammps_implicit.observables.barriers import require_saddle_of
from lammps_implicit.observables.cells import require_enthalpy, require_relaxed_cell
from lammps_implicit.observables.kind import Cells, ObservableKind
from lammps_implicit.observables.observable import Observable, combine
from lammps_implicit.observables.quantities import cells_of_defect, reservoirs_of
from lammps_implicit.observables.thermal import (
    Conditions,
    defect_concentration,
    entropy,
    formation_entropy,
    formation_free_energy,
    free_energy,
    frequency,
    migration_free_energy,
    migration_rate,
    rate_prefactor,
    thermal_expansion,
    thermal_volume,
)


class _Thermal(ObservableKind):
    """What all of these have."""

    costly: ClassVar[bool] = True
    temperature: float = Field(gt=0, description="K; in reduced units, epsilon/k")
    quantum: bool = Field(default=True, description="quantum-mechanical oscillators; else classical ones")
    probes: Optional[int] = Field(default=None, ge=2, description="random probes, for large cells; default: all modes")

    def conditions(self) -> Conditions:
        """Temperature and statistics."""
        return Conditions(self.temperature, self.quantum, self.probes)


class _OfCell(_Thermal):
    cell: str
    per_atom: bool = Field(default=False, description="divided by the number of atoms")

    def cells(self) -> list[str]:
        return [self.cell]

    def check(self, cells: Cells) -> None:
        require_enthalpy(cells[self.cell])


class CellFreeEnergy(_OfCell):
    """Free energy of a cell with its vibrations."""

    kind: Literal["free energy"]

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        return free_energy(cells[self.cell], self.conditions(), tol, order, self.per_atom)


class CellEntropy(_OfCell):
    """Entropy of the vibrations of a cell, in units of the Boltzmann constant."""

    kind: Literal["entropy"]

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        return entropy(cells[self.cell], self.conditions(), tol, order, self.per_atom)


class ThermalVolume(_OfCell):
    """Volume of a cell that minimises its free energy at the temperature (quasi-harmonic approximation)."""

    kind: Literal["thermal volume"]

    def check(self, cells: Cells) -> None:
        require_relaxed_cell(cells[self.cell], "thermal expansion depends")

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        found = thermal_volume(cells[self.cell], self.conditions(), tol, order)
        return combine([(1 / cells[self.cell].engine.n_atoms, found)]) if self.per_atom else found


class ThermalExpansion(_Thermal):
    """Coefficient of thermal expansion of the volume of a cell (quasi-harmonic approximation)."""

    kind: Literal["thermal expansion"]
    cell: str

    def cells(self) -> list[str]:
        return [self.cell]

    def check(self, cells: Cells) -> None:
        require_relaxed_cell(cells[self.cell], "thermal expansion depends")

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        return thermal_expansion(cells[self.cell], self.conditions(), tol, order)


class Frequency(ObservableKind):
    """Frequency of a vibrational mode of a cell, the softest first."""

    kind: Literal["frequency"]
    costly: ClassVar[bool] = True
    cell: str
    mode: int = Field(default=1, gt=0, lt=10**9, description="number of the mode, from 1, without rigid motions")

    def cells(self) -> list[str]:
        return [self.cell]

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        return frequency(cells[self.cell], self.mode, tol, order)


class _OfDefect(_Thermal):
    defect: str
    bulk: str = Field(description="cell about as large as the defect's")
    reservoirs: dict[str, Union[float, str]] = Field(
        default_factory=dict, description="by element: a cell, or a number"
    )

    def cells(self) -> list[str]:
        return cells_of_defect(self.defect, self.bulk, self.reservoirs)

    def check(self, cells: Cells) -> None:
        for name in self.cells():
            require_enthalpy(cells[name])


class FormationFreeEnergy(_OfDefect):
    """Free energy of formation of a defect."""

    kind: Literal["formation free energy"]

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        known = reservoirs_of(self.reservoirs, cells, cells[self.bulk])
        return formation_free_energy(cells[self.defect], cells[self.bulk], self.conditions(), known, tol, order)


class FormationEntropy(_OfDefect):
    """Entropy of formation of a defect, in units of the Boltzmann constant."""

    kind: Literal["formation entropy"]

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        known = reservoirs_of(self.reservoirs, cells, cells[self.bulk])
        return formation_entropy(cells[self.defect], cells[self.bulk], self.conditions(), known, tol, order)


class DefectConcentration(_OfDefect):
    """Decimal logarithm of the equilibrium concentration of a defect per site."""

    kind: Literal["defect concentration"]

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        known = reservoirs_of(self.reservoirs, cells, cells[self.bulk])
        return defect_concentration(cells[self.defect], cells[self.bulk], self.conditions(), known, tol, order)


class _OfSaddle(_Thermal):
    saddle: str = Field(description="cell with 'saddle: true' or 'barrier: {from, to}'")
    minimum: str = Field(description="cell with the minimum")

    def cells(self) -> list[str]:
        return [self.saddle, self.minimum]

    def check(self, cells: Cells) -> None:
        require_saddle_of(cells[self.saddle], cells[self.minimum])


class MigrationFreeEnergy(_OfSaddle):
    """Free energy of a saddle, without its negative mode, above a minimum."""

    kind: Literal["migration free energy"]

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        return migration_free_energy(cells[self.saddle], cells[self.minimum], self.conditions(), tol, order)


class MigrationRate(_OfSaddle):
    """Decimal logarithm of the rate over a saddle (harmonic transition state theory)."""

    kind: Literal["migration rate"]

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        return migration_rate(cells[self.saddle], cells[self.minimum], self.conditions(), tol, order)


class RatePrefactor(ObservableKind):
    """Vineyard's prefactor of the rate over a saddle, which does not depend on temperature."""

    kind: Literal["rate prefactor"]
    costly: ClassVar[bool] = True
    saddle: str = Field(description="cell with 'saddle: true' or 'barrier: {from, to}'")
    minimum: str = Field(description="cell with the minimum")
    probes: Optional[int] = Field(default=None, ge=2, description="random probes, for large cells; default: all modes")

    def cells(self) -> list[str]:
        return [self.saddle, self.minimum]

    def check(self, cells: Cells) -> None:
        require_saddle_of(cells[self.saddle], cells[self.minimum])

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        return rate_prefactor(cells[self.saddle], cells[self.minimum], self.probes, tol, order)
