"""Thermal functions over temperature: of a cell, and of the formation of a defect in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.observables.cells import composition
from lammps_implicit.observables.formation import excess
from lammps_implicit.observables.observable import Observable
from lammps_implicit.observables.thermal import require_large
from lammps_implicit.observables.thermal_differences import error_of_difference
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.vibrations.constants import vibration_units
from lammps_implicit.vibrations.free_energy import FreeEnergy


@dataclass(frozen=True)
class Curve:
    """A quantity over temperature.

    Attributes
    ----------
    name : str
    values : (T,) float array
    gradient : (T, P) float array or None
        Derivatives with respect to Θ.
    error : (T,) float array
        Standard error of random probes; zeros where all modes were used.
    units : str
    mean, deviation : (T,) float array or None
        Mean and standard deviation over an ensemble of parameters, to first order.
    quantiles : (L, T) float array or None
        The same.
    """

    name: str
    values: FloatArray
    gradient: FloatArray | None
    error: FloatArray
    units: str
    mean: FloatArray | None = None
    deviation: FloatArray | None = None
    quantiles: FloatArray | None = None

    def over(self, changes: FloatArray, levels: Sequence[float]) -> Curve:
        """The same with its distribution over changes of the parameters, (S, P), with quantiles at these levels."""
        if self.gradient is None:
            return self
        samples = self.values + changes @ self.gradient.T
        return replace(
            self,
            mean=samples.mean(axis=0),
            deviation=samples.std(axis=0),
            quantiles=np.quantile(samples, levels, axis=0),
        )


def curves_of_cell(cell: StationaryPoint, found: FreeEnergy) -> list[Curve]:
    """Free energy, energy, entropy and heat capacity of a cell; its volume and its expansion if it expands."""
    k = vibration_units(cell.units.style).boltzmann
    nothing = np.zeros(len(found.temperatures))
    held = found.strain is None
    curves = [
        Curve("free energy", found.free_energy, found.free_energy_gradient, found.free_energy_error, found.units),
        Curve("energy", found.energy, found.energy_gradient, found.energy_error, found.units),
        Curve("entropy", found.entropy / k, _over(found.entropy_gradient, k), found.entropy_error / k, "kB"),
        Curve(
            "heat capacity" if held else "heat capacity at constant pressure",
            found.heat_capacity / k,
            _over(found.heat_capacity_gradient, k),
            found.heat_capacity_error / k,
            "kB",
        ),
    ]
    if found.volume is not None:
        curves.append(Curve("volume", found.volume, found.volume_gradient, nothing, cell.units.volume))
    if found.expansion is not None:
        for place, name in enumerate(cell.freedom.names):
            slope = None if found.expansion_gradient is None else found.expansion_gradient[:, :, place]
            label = f"thermal expansion {name}"
            curves.append(Curve(label, found.expansion[:, place], slope, nothing, f"1/{found.temperature_units}"))
    return curves


def curves_of_formation(
    defect: StationaryPoint, bulk: StationaryPoint, of_defect: FreeEnergy, of_bulk: FreeEnergy
) -> list[Curve]:
    """Free energy and entropy of formation of a defect in a bulk of the same elements, and its concentration.

    Parameters
    ----------
    defect, bulk : StationaryPoint
    of_defect, of_bulk : FreeEnergy
        At the same temperatures.

    Raises
    ------
    LammpsImplicitError
        If the composition does not balance, or the bulk's cell is too small.
    """
    require_large(bulk, defect)
    elements = set(composition(defect)) - set(composition(bulk))
    if elements:
        raise LammpsImplicitError(
            f"{', '.join(sorted(elements))} of the defect is not in the bulk: give reservoirs in a configuration for "
            "'observables'"
        )
    found = {id(defect): of_defect, id(bulk): of_bulk}
    units, temperatures = vibration_units(defect.units.style), of_defect.temperatures
    k = units.boltzmann

    def curve(name: str, read: Callable[[FreeEnergy], tuple[FloatArray, FloatArray | None]], unit: str) -> Curve:
        def observable(cell: StationaryPoint) -> Observable:
            values, slopes = read(found[id(cell)])
            size = len(cell.potential.theta)
            gradient = np.full((size, len(values)), np.nan) if slopes is None else slopes.T
            return Observable(values, gradient, unit)

        combined = excess(defect, bulk, {}, observable, False)
        gradient = None if of_defect.free_energy_gradient is None else combined.gradient.T
        return Curve(name, combined.value, gradient, np.zeros(len(temperatures)), unit)

    free = curve("formation free energy", lambda f: (f.free_energy, f.free_energy_gradient), of_defect.units)
    entropy = curve("formation entropy", lambda f: (f.entropy / k, _over(f.entropy_gradient, k)), "kB")
    error = error_of_difference(of_defect, of_bulk, defect.engine.n_atoms / bulk.engine.n_atoms)
    factor = -1 / (k * temperatures * np.log(10))
    concentration = Curve(
        "defect concentration",
        factor * free.values,
        None if free.gradient is None else factor[:, None] * free.gradient,
        np.abs(factor) * error[0],
        "log10",
    )
    return [replace(free, error=error[0]), replace(entropy, error=error[1] / k), concentration]


def _over(gradient: FloatArray | None, k: float) -> FloatArray | None:
    return None if gradient is None else gradient / k
