"""Observables at temperature, in the harmonic approximation: free energies, entropies, concentrations and rates.

Vibrations are those of the relaxed structures, in cells relaxed without vibrations. With the weights w of
`formation.reference_weights`, F_f = F(defect) - Σ w F; the concentration of a defect is exp(-F_f/kT) per site. The rate
over a saddle is (kT/h) exp(-ΔF/kT) (harmonic transition state theory; without the negative mode at the saddle), which
classically is ν* exp(-ΔE/kT) with ν* = Π ν(minimum) / Π ν(saddle): G. H. Vineyard, J. Phys. Chem. Solids 3, 121 (1957).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.observables.barriers import require_saddle_of
from lammps_implicit.observables.cells import composition, require_relaxed_cell, unknown_gradient
from lammps_implicit.observables.formation import Reservoir, excess
from lammps_implicit.observables.observable import Observable, combine
from lammps_implicit.observables.thermal_differences import (
    ENTROPY,
    FREE_ENERGY,
    measured_alike,
    told,
    with_samples,
)
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.vibrations.constants import VibrationUnits, vibration_units
from lammps_implicit.vibrations.free_energy import FreeEnergy, gibbs_energy, harmonic_free_energy
from lammps_implicit.vibrations.modes import differentiated_modes
from lammps_implicit.vibrations.sampled import PROBES

SMALLEST = 0.5
"""Number of atoms in a reference cell, relative to that of the defect's, below which it is refused. Chosen: vibrations
of a primitive cell are a few modes, not those of a crystal."""

_Quantity = Callable[[StationaryPoint, FreeEnergy, int], Observable]
"""What is read from thermal functions of a cell, `with_samples`."""


@dataclass(frozen=True)
class Conditions:
    """Temperature and statistics of vibrations.

    Attributes
    ----------
    temperature : float
        K; in reduced units, ε/k.
    quantum : bool
        Whether modes are quantum-mechanical oscillators; else classical ones.
    probes : int or None
        Number of random probes; see `harmonic_free_energy`. Atoms of the same ids in two cells have the same, and the
        error that is told is that of the difference.
    """

    temperature: float
    quantum: bool = True
    probes: int | None = None


def free_energy(
    cell: StationaryPoint, at: Conditions, tol: float = 1e-6, order: int = 1, per_atom: bool = False
) -> Observable:
    """Free energy of a cell; with a cell that is held at a pressure, Gibbs energy.

    Parameters
    ----------
    cell : StationaryPoint
        A minimum, or a saddle, whose negative mode is left out.
    at : Conditions
    tol : float
        Relative tolerance of linear solves.
    order : int
        Order of the derivatives: 0 for the value only; the second is not known.
    per_atom : bool
        Whether to divide by the number of atoms.

    Returns
    -------
    Observable
        Scalar, in LAMMPS' unit of energy.

    Raises
    ------
    LammpsImplicitError
        See `harmonic_free_energy`.
    """
    found = _free_energy(cell, _thermal(cell, at, tol, order), _count(at))
    return told(found, cell.units.energy, 1 / cell.engine.n_atoms if per_atom else 1.0)


def entropy(
    cell: StationaryPoint, at: Conditions, tol: float = 1e-6, order: int = 1, per_atom: bool = False
) -> Observable:
    """Entropy of the vibrations of a cell, in units of the Boltzmann constant.

    Parameters
    ----------
    cell, at, tol, order, per_atom
        See `free_energy`.
    """
    found = _entropy(cell, _thermal(cell, at, tol, order), _count(at))
    return told(found, "kB", 1 / cell.engine.n_atoms if per_atom else 1.0)


def frequency(cell: StationaryPoint, mode: int, tol: float = 1e-6, order: int = 1) -> Observable:
    """Frequency of a vibrational mode, THz; 1/τ in reduced units; negative if it is imaginary.

    Parameters
    ----------
    cell : StationaryPoint
    mode : int
        Its number, from 1, in ascending order, without rigid motions. Modes of one level have the same gradient.
    tol, order
        See `free_energy`.

    Raises
    ------
    LammpsImplicitError
        If there are fewer modes.
    """
    freedom = cell.strain(cell.cell)
    found = differentiated_modes(cell, mode, None, freedom, order > 0 and bool(len(cell.potential.theta)), tol)
    if len(found.frequencies) < mode:
        raise LammpsImplicitError(f"mode {mode} of a cell with {len(found.frequencies)} modes: give a lower number")
    slopes = found.frequency_gradient
    slope = None if slopes is None else slopes[mode - 1 : mode]
    return _observable(cell, found.frequencies[mode - 1], slope, _constants(cell).frequency)


def thermal_volume(cell: StationaryPoint, at: Conditions, tol: float = 1e-6, order: int = 1) -> Observable:
    """Volume of a cell that minimises its free energy at a temperature (quasi-harmonic approximation).

    Parameters
    ----------
    cell : StationaryPoint
        With a relaxed cell.
    at, tol, order
        See `free_energy`; all modes are used.

    Returns
    -------
    Observable
        Scalar, in LAMMPS' unit of length cubed.

    Raises
    ------
    LammpsImplicitError
        See `gibbs_energy`; or if the cell was not relaxed.
    """
    found = _expanded(cell, at, tol, order)
    assert found.volume is not None
    return _observable(cell, found.volume[0], found.volume_gradient, cell.units.volume, found.caution)


def thermal_expansion(cell: StationaryPoint, at: Conditions, tol: float = 1e-6, order: int = 1) -> Observable:
    """Coefficient of thermal expansion of the volume, d(ln V)/dT, 1/K; arguments as of `thermal_volume`."""
    found = _expanded(cell, at, tol, order)
    assert found.expansion is not None
    trace = cell.strain(cell.cell).basis[:3].sum(axis=0)
    slope = None if found.expansion_gradient is None else found.expansion_gradient @ trace
    units = f"1/{_constants(cell).temperature}"
    return _observable(cell, float(found.expansion[0] @ trace), slope, units, found.caution)


def formation_free_energy(
    defect: StationaryPoint,
    bulk: StationaryPoint,
    at: Conditions,
    reservoirs: Mapping[str, Reservoir] | None = None,
    tol: float = 1e-6,
    order: int = 1,
) -> Observable:
    """Free energy of formation of a defect.

    Parameters
    ----------
    defect, bulk, reservoirs
        See `formation.formation_energy`; cells about as large as the defect's. A chemical potential that is given as a
        number counts as one at this temperature.
    at, tol, order
        See `free_energy`.

    Returns
    -------
    Observable
        Scalar, in LAMMPS' unit of energy.

    Raises
    ------
    LammpsImplicitError
        As for `formation_energy` and `free_energy`; or if a cell is too small to stand for a crystal.
    """
    return told(_formation(defect, bulk, reservoirs, _free_energy, True, at, tol, order), defect.units.energy)


def formation_entropy(
    defect: StationaryPoint,
    bulk: StationaryPoint,
    at: Conditions,
    reservoirs: Mapping[str, Reservoir] | None = None,
    tol: float = 1e-6,
    order: int = 1,
) -> Observable:
    """Entropy of formation of a defect, in units of the Boltzmann constant; arguments as of `formation_free_energy`.

    Raises
    ------
    LammpsImplicitError
        As there; or if a reservoir that is needed is a number, which has no entropy.
    """
    return told(_formation(defect, bulk, reservoirs, _entropy, False, at, tol, order), "kB")


def defect_concentration(
    defect: StationaryPoint,
    bulk: StationaryPoint,
    at: Conditions,
    reservoirs: Mapping[str, Reservoir] | None = None,
    tol: float = 1e-6,
    order: int = 1,
) -> Observable:
    """Decimal logarithm of the equilibrium concentration per site, -F_f/(kT ln 10); as `formation_free_energy`.

    The logarithm, as concentrations span orders of magnitude: their distributions are about log-normal.
    """
    formation = _formation(defect, bulk, reservoirs, _free_energy, True, at, tol, order)
    return told(formation, "log10", -1 / (_heat(defect, at) * np.log(10)))


def migration_free_energy(
    saddle: StationaryPoint, minimum: StationaryPoint, at: Conditions, tol: float = 1e-6, order: int = 1
) -> Observable:
    """Free energy of a saddle, without its negative mode, minus that of a minimum; see `barriers.barrier`."""
    return told(_migration(saddle, minimum, _free_energy, at, tol, order), saddle.units.energy)


def migration_rate(
    saddle: StationaryPoint, minimum: StationaryPoint, at: Conditions, tol: float = 1e-6, order: int = 1
) -> Observable:
    """Decimal logarithm of the rate over a saddle in Hz (1/τ in reduced units), log₁₀ (kT/h) exp(-ΔF/kT)."""
    units, heat = _constants(saddle), _heat(saddle, at)
    attempts = heat / units.hbar * units.frequency_factor * (1e12 if units.quantum else 1.0)
    change = _migration(saddle, minimum, _free_energy, at, tol, order)
    found = told(change, "log10(Hz)" if units.quantum else "log10(1/tau)", -1 / (heat * np.log(10)))
    return replace(found, value=found.value + np.log10(attempts))


def rate_prefactor(
    saddle: StationaryPoint,
    minimum: StationaryPoint,
    probes: int | None = None,
    tol: float = 1e-6,
    order: int = 1,
) -> Observable:
    """Vineyard's prefactor ν* of the rate over a saddle, THz; 1/τ in reduced units. It does not depend on temperature.

    Parameters
    ----------
    saddle, minimum : StationaryPoint
        See `barriers.barrier`.
    probes : int, optional
        See `Conditions`.
    tol, order
        See `free_energy`.
    """
    at = Conditions(1.0, quantum=False, probes=probes)
    change = _migration(saddle, minimum, _entropy, at, tol, order)
    units = _constants(saddle)
    # Classically ΔS/k = ln(Π ω(minimum)/Π ω(saddle) ħ/kT) - 1: there is one mode less at the saddle.
    value = units.boltzmann / units.hbar * units.frequency_factor * np.exp(1 + change.value[0])
    return replace(told(change, units.frequency, value), value=np.asarray(value))


def require_large(reference: StationaryPoint, defect: StationaryPoint) -> None:
    """Check that a cell is large enough for its vibrations to stand for those of the crystal around a defect.

    Raises
    ------
    LammpsImplicitError
        If it has less than `SMALLEST` of the defect's atoms.
    """
    if reference.engine.n_atoms < SMALLEST * defect.engine.n_atoms:
        raise LammpsImplicitError(
            f"{reference.deck_name or 'a reference cell'} has {reference.engine.n_atoms} atoms, too few modes to stand "
            f"for the crystal around a defect in a cell of {defect.engine.n_atoms}: give one about as large"
        )


def _thermal(cell: StationaryPoint, at: Conditions, tol: float, order: int) -> FreeEnergy:
    """Thermal functions of a cell; kept, as several observables want those at one temperature."""
    wanted = order > 0 and bool(len(cell.potential.theta))
    key = ("harmonic", at, tol, wanted)
    if key not in cell.response.kept:
        freedom = cell.strain(cell.cell)
        cell.response.kept[key] = harmonic_free_energy(
            cell, at.temperature, at.quantum, at.probes, freedom=freedom, gradient=wanted, tol=tol
        )
    kept: FreeEnergy = cell.response.kept[key]
    return kept


def _expanded(cell: StationaryPoint, at: Conditions, tol: float, order: int) -> FreeEnergy:
    require_relaxed_cell(cell, "thermal expansion depends")
    if at.probes is not None:
        raise LammpsImplicitError("thermal expansion needs all modes: leave out probes")
    key = ("expanded", at, tol, order > 0)
    if key not in cell.response.kept:
        wanted = order > 0 and bool(len(cell.potential.theta))
        freedom = cell.strain(cell.cell)
        found = gibbs_energy(cell, at.temperature, at.quantum, freedom=freedom, gradient=wanted, tol=tol)
        cell.response.kept[key] = found
    kept: FreeEnergy = cell.response.kept[key]
    return kept


def _observable(
    cell: StationaryPoint, value: float, slope: FloatArray | None, units: str, caution: str = ""
) -> Observable:
    gradient = unknown_gradient(cell) if slope is None else np.asarray(slope[0])
    return Observable(np.asarray(value), gradient, units, caution=caution)


def _free_energy(cell: StationaryPoint, found: FreeEnergy, count: int) -> Observable:
    slope = unknown_gradient(cell) if found.free_energy_gradient is None else found.free_energy_gradient[0]
    samples = found.vibrations.samples[:, FREE_ENERGY, 0]
    return with_samples(found.free_energy[0], slope, samples, count, cell.units.energy)


def _entropy(cell: StationaryPoint, found: FreeEnergy, count: int) -> Observable:
    k = _constants(cell).boltzmann
    slope = unknown_gradient(cell) if found.entropy_gradient is None else found.entropy_gradient[0] / k
    samples = found.vibrations.samples[:, ENTROPY, 0] / k
    return with_samples(found.entropy[0] / k, slope, samples, count, "kB")


def _formation(
    defect: StationaryPoint,
    bulk: StationaryPoint,
    reservoirs: Mapping[str, Reservoir] | None,
    quantity: _Quantity,
    allow_numbers: bool,
    at: Conditions,
    tol: float,
    order: int,
) -> Observable:
    cells = [cell for cell in (reservoirs or {}).values() if isinstance(cell, StationaryPoint)]
    used = [bulk, *(cell for cell in cells if set(composition(cell)) & set(composition(defect)))]
    for cell in used:
        require_large(cell, defect)
    pair: dict[int, FreeEnergy] = {}

    def measured(cell: StationaryPoint) -> Observable:
        if not pair:  # once the compositions are known to balance
            pair.update(_pair(defect, bulk, defect.engine.n_atoms / bulk.engine.n_atoms, at, tol, order))
        found = pair[id(cell)] if id(cell) in pair else _thermal(cell, at, tol, order)
        return quantity(cell, found, _count(at))

    return excess(defect, bulk, reservoirs or {}, measured, allow_numbers)


def _migration(
    saddle: StationaryPoint, minimum: StationaryPoint, quantity: _Quantity, at: Conditions, tol: float, order: int
) -> Observable:
    require_saddle_of(saddle, minimum)
    found = _pair(saddle, minimum, 1.0, at, tol, order)
    return combine(
        [(sign, quantity(cell, found[id(cell)], _count(at))) for sign, cell in ((1.0, saddle), (-1.0, minimum))]
    )


def _pair(
    first: StationaryPoint, second: StationaryPoint, weight: float, at: Conditions, tol: float, order: int
) -> dict[int, FreeEnergy]:
    """Thermal functions of two cells whose difference is wanted, by the id of the cell."""

    def measure(cell: StationaryPoint, probes: int | None) -> FreeEnergy:
        return _thermal(cell, replace(at, probes=probes), tol, order)

    found = measured_alike(first, second, weight, measure, at.probes)
    return {id(first): found[0], id(second): found[1]}


def _count(at: Conditions) -> int:
    """Number of probes of cells that have any."""
    return PROBES if at.probes is None else at.probes


def _constants(cell: StationaryPoint) -> VibrationUnits:
    return vibration_units(cell.units.style)


def _heat(cell: StationaryPoint, at: Conditions) -> float:
    """kT."""
    return _constants(cell).boltzmann * at.temperature
