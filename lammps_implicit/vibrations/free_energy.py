"""Free energy, energy, entropy and heat capacity of a structure in the harmonic approximation, with gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import StrainFreedom
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.stationary.checks import check_tolerance
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.vibrations.choosing import LARGEST, vibrations_of
from lammps_implicit.vibrations.constants import vibration_units
from lammps_implicit.vibrations.quasi_harmonic import expand_cell
from lammps_implicit.vibrations.result import Vibrations
from lammps_implicit.vibrations.thermal import checked_temperatures


@dataclass(frozen=True)
class FreeEnergy:
    """Thermal functions of a structure, F = U - TS, as arrays over temperatures.

    All include the energy E₀ of the structure, or its enthalpy at the pressure that its cell is held at: they are then
    the Gibbs energy, the enthalpy, and the heat capacity at constant pressure where the cell expands with temperature.
    Gradients are those of the relaxed structure. Errors are standard errors of random probes; zeros where all modes
    were used.

    Attributes
    ----------
    temperatures : (T,) float array
        K; in reduced units, ε/k.
    free_energy, energy : (T,) float array
        In LAMMPS' unit of energy.
    entropy, heat_capacity : (T,) float array
        Energy per K; the heat capacity at constant volume, or at constant pressure if the cell expands.
    free_energy_gradient, energy_gradient, entropy_gradient, heat_capacity_gradient : (T, P) float array or None
        Derivatives with respect to Θ.
    free_energy_error, energy_error, entropy_error, heat_capacity_error : (T,) float array
    free_energy_gradient_error, entropy_gradient_error : (T, P) float array or None
    quantum : bool
        Whether modes are quantum-mechanical oscillators.
    structure_energy : float
        E₀.
    modes, zero_modes : int
        Number of modes, and of rigid motions that cost no energy and were left out.
    method : str
        What was used: all modes (``exact``), or random probes.
    accuracy : float
        Estimated relative error of the derivatives, as differences with several steps tell; NaN without gradients.
    units, temperature_units : str
    evaluations : int
        Force and descriptor evaluations.
    vibrations : Vibrations
        The contribution of the vibrations alone, with the estimates of each probe, in the cell that is relaxed without
        them.
    strain : (T, k) float array or None
        Strains of the cell at each temperature, relative to the cell that is relaxed without vibrations; None where it
        does not expand.
    expansion : (T, k) float array or None
        Rate of these strains, relative to the cell at that temperature, per K.
    volume : (T,) float array or None
    strain_gradient, expansion_gradient : (T, P, k) float array or None
    volume_gradient : (T, P) float array or None
    caution : str
        What is wrong with the expansion of the cell; empty if nothing is.
    """

    temperatures: FloatArray
    free_energy: FloatArray
    energy: FloatArray
    entropy: FloatArray
    heat_capacity: FloatArray
    free_energy_gradient: FloatArray | None
    energy_gradient: FloatArray | None
    entropy_gradient: FloatArray | None
    heat_capacity_gradient: FloatArray | None
    free_energy_error: FloatArray
    energy_error: FloatArray
    entropy_error: FloatArray
    heat_capacity_error: FloatArray
    free_energy_gradient_error: FloatArray | None
    entropy_gradient_error: FloatArray | None
    quantum: bool
    structure_energy: float
    modes: int
    zero_modes: int
    method: str
    accuracy: float
    units: str
    temperature_units: str
    evaluations: int
    vibrations: Vibrations
    strain: FloatArray | None = None
    expansion: FloatArray | None = None
    volume: FloatArray | None = None
    strain_gradient: FloatArray | None = None
    expansion_gradient: FloatArray | None = None
    volume_gradient: FloatArray | None = None
    caution: str = ""


def harmonic_free_energy(
    point: StationaryPoint,
    temperatures: ArrayLike,
    quantum: bool = True,
    probes: int | None = None,
    *,
    freedom: StrainFreedom | None = None,
    gradient: bool | None = None,
    method: str = "auto",
    tol: float = 1e-6,
    progress: Progress = no_progress,
) -> FreeEnergy:
    """Thermal functions of the present structure in the harmonic approximation.

    Parameters
    ----------
    point : StationaryPoint
        A minimum; or a saddle, whose negative mode is left out.
    temperatures : float or (T,) array_like
        K; in reduced units, ε/k.
    quantum : bool
        Whether modes are quantum-mechanical oscillators; else classical ones.
    probes : int, optional
        Number of random probes. Default: all modes are used where that is predicted to cost less than 32 probes.
    freedom : StrainFreedom, optional
        Strains that the cell takes when Θ changes, which gradients then include. Default: it is fixed.
    gradient : bool, optional
        Whether to differentiate with respect to Θ. Default: if the potential has parameters.
    method : {"auto", "exact", "probes"}
    tol : float
        Relative tolerance of linear solves.
    progress : callable, optional
        Callback called with (done, total).

    Returns
    -------
    FreeEnergy

    Raises
    ------
    LammpsImplicitError
        If a temperature is not positive, ħ is needed in reduced units, or the method does not fit the cell.
    NotAMinimumError
        If modes are negative that should not be, or cost no energy though they are no rigid motions.
    DeckError
        If an atom has no mass.
    """
    check_tolerance(tol)
    engine, response = point.engine, point.response
    units = vibration_units(point.units.style)
    checked = checked_temperatures(temperatures, units)
    known = point.strain("none") if freedom is None else freedom
    wanted = bool(len(point.potential.theta)) if gradient is None else gradient
    before = engine.evaluations.copy()
    found = vibrations_of(response, checked, quantum, known, wanted, tol, method, probes, None, progress)
    base = point.energy if known.fixed else point.energy + float(np.trace(known.target)) / 3 * engine.volume
    values = found.values.copy()
    values[:2] += base
    gradients = None
    if wanted:
        assert found.gradients is not None
        gradients = found.gradients.copy()
        if len(point.potential.theta):
            gradients[:2] += point.energy_gradient()
    errors = _standard_errors(found.samples, values.shape)
    by_batch = None if gradients is None else _standard_errors(found.gradient_samples, gradients.shape)
    return FreeEnergy(
        checked,
        values[0],
        values[1],
        values[2],
        values[3],
        None if gradients is None else gradients[0],
        None if gradients is None else gradients[1],
        None if gradients is None else gradients[2],
        None if gradients is None else gradients[3],
        errors[0],
        errors[1],
        errors[2],
        errors[3],
        None if by_batch is None else by_batch[0],
        None if by_batch is None else by_batch[2],
        quantum,
        base,
        found.modes,
        found.zero_modes,
        found.method,
        found.error,
        point.units.energy,
        units.temperature,
        engine.evaluations.since(before).total,
        found,
    )


def gibbs_energy(
    point: StationaryPoint,
    temperatures: ArrayLike,
    quantum: bool = True,
    *,
    freedom: StrainFreedom,
    gradient: bool | None = None,
    tol: float = 1e-6,
    progress: Progress = no_progress,
) -> FreeEnergy:
    """Thermal functions at constant pressure, of a cell that expands with temperature: see `quasi_harmonic`.

    Parameters
    ----------
    point : StationaryPoint
        A minimum whose cell is relaxed to the target of `freedom`, a pressure.
    temperatures, quantum, gradient, tol, progress
        See `harmonic_free_energy`. All modes are used.
    freedom : StrainFreedom
        Strains the cell may take.

    Returns
    -------
    FreeEnergy

    Raises
    ------
    LammpsImplicitError
        As for `harmonic_free_energy`; or if the cell is too large for all modes.
    NotAMinimumError
        If no cell minimises the free energy at a temperature, or modes are negative.
    """
    check_tolerance(tol)
    engine = point.engine
    units = vibration_units(point.units.style)
    checked = checked_temperatures(temperatures, units)
    if engine.n_free > LARGEST:
        raise LammpsImplicitError(
            f"expansion with temperature needs all modes, of at most {LARGEST:,} displacements; this cell has "
            f"{engine.n_free:,}: use a smaller one, or keep the cell fixed"
        )
    wanted = bool(len(point.potential.theta)) if gradient is None else gradient
    before = engine.evaluations.copy()
    found = expand_cell(point, checked, quantum, freedom, wanted, tol, progress)
    values, slopes = found.quantities, found.gradients
    nothing = np.zeros(len(checked))
    enthalpy = point.energy + float(np.trace(freedom.target)) / 3 * engine.volume
    return FreeEnergy(
        checked,
        values["gibbs"],
        values["enthalpy"],
        values["entropy"],
        values["heat_capacity"],
        slopes.get("gibbs"),
        slopes.get("enthalpy"),
        slopes.get("entropy"),
        slopes.get("heat_capacity"),
        nothing,
        nothing,
        nothing,
        nothing,
        None,
        None,
        quantum,
        enthalpy,
        found.still.modes,
        found.still.zero_modes,
        "exact, quasi-harmonic",
        found.still.error,
        point.units.energy,
        units.temperature,
        engine.evaluations.since(before).total,
        found.still,
        values["strain"],
        values["expansion"],
        values["volume"],
        slopes.get("strain"),
        slopes.get("expansion"),
        slopes.get("volume"),
        found.caution,
    )


def _standard_errors(samples: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Standard errors of means over the first axis; zeros if there are no samples."""
    if len(samples) < 2:
        return np.zeros(shape)
    return np.asarray(samples.std(axis=0, ddof=1) / len(samples) ** 0.5)
