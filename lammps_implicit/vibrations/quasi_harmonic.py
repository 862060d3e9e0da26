"""The quasi-harmonic approximation: the cell minimises the free energy at a pressure, and expands with temperature.

G(T) = min over ε of E₀(ε) + F(ε, T) + P V(ε), with positions relaxed in every cell and vibrations about them. E₀ and F
are known at a few strains with their derivatives with respect to strain and Θ, and polynomials lie between. Everything
follows from these: the strain ε*(T), entropies and heat capacities at constant pressure, the expansion
dε*/dT = (∂²G/∂ε²)⁻¹ ∂S/∂ε, and, as G + δΘ·∂G/∂Θ is a model of the same kind, the derivatives of all with respect to Θ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import StrainFreedom, driving_force
from lammps_implicit.cell.voigt import components
from lammps_implicit.errors import LammpsImplicitError, NotAMinimumError
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.vibrations.exact import exact_vibrations
from lammps_implicit.vibrations.result import Vibrations
from lammps_implicit.vibrations.strain_model import StrainModel, fit, fit_averages, inconsistency, nodes

ROOM = 1.3
"""Reach of the nodes, relative to what the cell is predicted to expand by."""

LEAST = 1e-3
"""Least reach of the nodes, as a strain. Chosen: differences over less drown in noise."""

_TRIALS = 4
"""Times that nodes are laid out, each time about what the last ones told."""

_TIGHT = 1e-9
"""eV/Å; least force tolerance of strained cells. Others are relaxed as far as the first one is."""

_KINKED = 0.05
"""Relative disagreement of free energies with their derivatives beyond which the latter are not used. Chosen: smooth
ones agree to 1e-3."""

_STEP = 1e-6
"""Relative step of derivatives with respect to Θ. Models are linear in Θ, and evaluated in double precision."""


@dataclass(frozen=True)
class Expanded:
    """A cell that minimises its free energy at each temperature.

    Attributes
    ----------
    strains : (T, k) float array
        Relative to the cell that is relaxed without vibrations.
    quantities : dict of str to (T, ...) float array
        ``gibbs`` energy, ``enthalpy``, ``entropy``, ``heat_capacity`` at constant pressure, ``volume``, ``strain``
        relative to the cell that is relaxed without vibrations, and ``expansion``, the rate of strain with temperature,
        relative to the cell at that temperature.
    gradients : dict of str to (T, P, ...) float array
        Their derivatives with respect to Θ.
    still : Vibrations
        Of the cell that is relaxed without vibrations.
    caution : str
        What is wrong with derivatives with respect to strain; empty if nothing is.
    """

    quantities: dict[str, FloatArray]
    gradients: dict[str, FloatArray]
    still: Vibrations
    caution: str


@dataclass(frozen=True)
class _Models:
    """Models of E₀ + PV, and of each temperature's F, S and C, with their derivatives with respect to Θ."""

    enthalpy: StrainModel
    enthalpy_slope: StrainModel
    thermal: StrainModel  # (4, T)
    thermal_slope: StrainModel  # (4, T, P)
    missed: float  # see `inconsistency`


def expand_cell(
    point: StationaryPoint,
    temperatures: FloatArray,
    quantum: bool,
    freedom: StrainFreedom,
    gradient: bool,
    tol: float,
    progress: Progress = no_progress,
) -> Expanded:
    """Minimise the free energy with respect to the cell at each temperature.

    Costs the vibrations of 2k + 1 cells for k strains, laid out once or twice.

    Parameters
    ----------
    point : StationaryPoint
        With its cell relaxed to the target of `freedom`.
    temperatures : (T,) float array
    quantum : bool
    freedom : StrainFreedom
        Strains the cell may take; the target is a pressure.
    gradient : bool
        Whether to differentiate with respect to Θ.
    tol : float
        Relative tolerance of linear solves.
    progress : callable, optional
        Callback called with (cells done, cells expected).

    Raises
    ------
    NotAMinimumError
        If no cell minimises the free energy at a temperature, or a strained cell has negative modes.
    """
    freedom.require_hydrostatic()
    first = exact_vibrations(point.response, temperatures, quantum, freedom, True, tol)
    assert first.strains is not None
    system = point.response.held_cell_system(freedom, tol)
    predicted = -np.linalg.solve(system.stiffness, first.strains[0].T).T  # (T, k)
    # The way that the cell takes is the first axis of the nodes: it hardly leaves it.
    axes = np.linalg.qr(
        np.column_stack([predicted[np.argmax(np.abs(predicted).sum(axis=1))], np.eye(len(system.stiffness))])
    )[0]
    given, freedom = freedom, replace(freedom, basis=freedom.basis @ axes)
    patterns = np.tensordot(axes.T, system.patterns(), axes=1)
    predicted = predicted @ axes
    low = high = np.zeros(len(system.stiffness))
    for _ in range(_TRIALS):
        low, high = np.minimum(predicted.min(axis=0), low), np.maximum(predicted.max(axis=0), high)
        centre, reach = (low + high) / 2, np.maximum(ROOM * (high - low) / 2, LEAST)
        models = _measured(point, temperatures, quantum, freedom, patterns, centre, reach, gradient, tol, progress)
        still = np.zeros(len(point.potential.theta))
        found = np.array([_minimum(models, place, still, predicted[place]) for place in range(len(temperatures))])
        if np.all(np.abs(found - centre) <= 1.05 * reach):
            break
        predicted = found
    else:
        raise NotAMinimumError(
            f"at {temperatures[-1]:g} the cell expands further each time its free energy is looked at: the "
            "quasi-harmonic approximation has no minimum there; give lower temperatures"
        )
    volume = point.engine.volume
    quantities = _quantities(models, temperatures, freedom, given, volume, still, found)
    gradients: dict[str, list[FloatArray]] = {name: [] for name in quantities}
    if gradient:
        for number, parameter in enumerate(point.potential.theta):
            step = np.zeros_like(still)
            step[number] = _STEP * (abs(parameter) or 1.0)
            ends = []
            for sign in (1, -1):
                moved = np.array([_minimum(models, t, sign * step, found[t]) for t in range(len(temperatures))])
                ends.append(_quantities(models, temperatures, freedom, given, volume, sign * step, moved))
            for name in quantities:
                gradients[name].append((ends[0][name] - ends[1][name]) / (2 * step[number]))
    return Expanded(
        quantities,
        {name: np.stack(rows, axis=1) for name, rows in gradients.items() if rows},
        first,
        ""
        if models.missed <= _KINKED
        else f"free energies change with the cell by other amounts than their derivatives say ({models.missed:.0%}): "
        "pairs cross the cutoff as the cell expands, where second derivatives of the energy jump; the cell follows the "
        "average, and its expansion is not known better than that",
    )


def _measured(
    point: StationaryPoint,
    temperatures: FloatArray,
    quantum: bool,
    freedom: StrainFreedom,
    patterns: FloatArray,
    centre: FloatArray,
    reach: FloatArray,
    gradient: bool,
    tol: float,
    progress: Progress,
) -> _Models:
    """Energies and vibrations of the cells at the nodes."""
    strains = nodes(centre, reach)
    parameters = len(point.potential.theta) if gradient else 0
    ids = point.ids.copy()
    tight = max(point.max_force / point.units.force_factor, _TIGHT)
    enthalpies, drives, energy_slopes, mixed, values, slopes, by_theta = [], [], [], [], [], [], []
    for done, amounts in enumerate(strains):
        strain = np.tensordot(amounts, freedom.tensors(), axes=1)
        if not np.array_equal(ids, point.ids):
            raise LammpsImplicitError("atoms changed their order between strained cells: start on fewer ranks")
        shift = np.tensordot(amounts, patterns, axes=1)
        with point.excursion(np.zeros(len(point.potential.theta)), shift, strain):
            point.relax(tight)
            here = _of_strained(freedom, strain)
            vibrations = exact_vibrations(point.response, temperatures, quantum, here, True, tol, held=False)
            assert vibrations.strains is not None and vibrations.gradients is not None
            pressure = float(np.trace(freedom.target)) / 3
            enthalpies.append(point.energy + pressure * point.engine.volume)
            drives.append(freedom.basis.T @ driving_force(point.engine.volume, point.pressure, strain, freedom.target))
            values.append(vibrations.values)
            slopes.append(np.moveaxis(vibrations.strains, 2, 0))
            if parameters:
                energy_slopes.append(point.energy_gradient())
                mixed.append(point.response.cell_system(here, tol).effective)
                by_theta.append(vibrations.gradients)
        progress(done + 1, len(strains))
    by_strain = np.array(slopes)
    missed = inconsistency(reach, np.array(values)[:, 0, -1], by_strain[:, :, 0, -1])
    nothing = np.zeros((len(strains), 0)), np.zeros((len(strains), len(reach), 0))
    slopes_of = np.array(by_theta) if parameters else np.zeros((len(strains), 4, len(temperatures), 0))
    kinked = missed > _KINKED
    return _Models(
        fit(centre, reach, np.array(enthalpies), np.array(drives)),
        fit(centre, reach, np.array(energy_slopes), np.array(mixed)) if parameters else fit(centre, reach, *nothing),
        fit_averages(centre, reach, np.array(values)) if kinked else fit(centre, reach, np.array(values), by_strain),
        fit_averages(centre, reach, slopes_of) if kinked else fit(centre, reach, slopes_of),
        missed,
    )


def _of_strained(freedom: StrainFreedom, strain: FloatArray) -> StrainFreedom:
    """Strains of a strained cell that are small changes of those relative to the reference."""
    back = np.linalg.inv(np.eye(3) + strain)
    basis = np.array([components(tensor @ back) for tensor in freedom.tensors()]).T
    return replace(freedom, basis=basis)


def _minimum(models: _Models, place: int, dtheta: FloatArray, start: FloatArray) -> FloatArray:
    """Strain that minimises the free energy of Θ + δΘ at a temperature, by Newton's method."""
    strain = start
    for _ in range(50):
        slope, curvature = _gibbs_slope(models, place, dtheta, strain), _gibbs_curvature(models, place, dtheta, strain)
        if not np.linalg.eigvalsh(curvature)[0] > 0:
            raise NotAMinimumError(
                "the free energy has no minimum with respect to the cell at one of the temperatures: vibrations soften "
                "it more than the crystal resists; give lower temperatures"
            )
        step = -np.linalg.solve(curvature, slope)
        strain = strain + step * min(1.0, float(np.min(2 * models.enthalpy.reach / np.maximum(np.abs(step), 1e-300))))
        if np.abs(step).max() < 1e-14:
            break
    return strain


def _gibbs_slope(models: _Models, place: int, dtheta: FloatArray, strain: FloatArray) -> FloatArray:
    found = models.enthalpy.slope(strain) + models.thermal.slope(strain)[:, 0, place]
    if len(dtheta) and models.enthalpy_slope.constant.size:
        found = found + (models.enthalpy_slope.slope(strain) + models.thermal_slope.slope(strain)[:, 0, place]) @ dtheta
    return np.asarray(found)


def _gibbs_curvature(models: _Models, place: int, dtheta: FloatArray, strain: FloatArray) -> FloatArray:
    """∂²G/∂ε², (k, k), by differences of the slopes of the models."""
    columns = []
    for unit in np.diag(1e-4 * models.enthalpy.reach):
        ends = [_gibbs_slope(models, place, dtheta, strain + sign * unit) for sign in (1, -1)]
        columns.append((ends[0] - ends[1]) / (2 * unit.sum()))
    found = np.array(columns)
    return np.asarray((found + found.T) / 2)


def _quantities(
    models: _Models,
    temperatures: FloatArray,
    freedom: StrainFreedom,
    given: StrainFreedom,
    volume: float,
    dtheta: FloatArray,
    strains: FloatArray,
) -> dict[str, FloatArray]:
    """All quantities at Θ + δΘ, at the strains that minimise the free energy, (T, k)."""
    rows: list[dict[str, FloatArray]] = []
    known = bool(len(dtheta) and models.enthalpy_slope.constant.size)
    for place, (temperature, strain) in enumerate(zip(temperatures, strains, strict=True)):
        enthalpy, thermal = models.enthalpy.value(strain), models.thermal.value(strain)[:, place]
        slopes = models.thermal.slope(strain)[:, :, place]
        if known:
            enthalpy = enthalpy + models.enthalpy_slope.value(strain) @ dtheta
            thermal = thermal + models.thermal_slope.value(strain)[:, place] @ dtheta
            slopes = slopes + models.thermal_slope.slope(strain)[:, :, place] @ dtheta
        gibbs = enthalpy + thermal[0]
        faster = np.linalg.solve(_gibbs_curvature(models, place, dtheta, strain), slopes[:, 2])  # dε/dT
        deformation = np.eye(3) + np.tensordot(strain, freedom.tensors(), axes=1)
        from_here = np.tensordot(faster, freedom.tensors(), axes=1) @ np.linalg.inv(deformation)
        rows.append(
            {
                "gibbs": np.asarray(gibbs),
                "enthalpy": np.asarray(gibbs + temperature * thermal[2]),
                "entropy": np.asarray(thermal[2]),
                "heat_capacity": np.asarray(thermal[3] + temperature * slopes[:, 2] @ faster),
                "volume": np.asarray(volume * np.linalg.det(deformation)),
                "strain": np.linalg.pinv(given.basis) @ freedom.basis @ strain,
                "expansion": np.linalg.pinv(given.basis) @ components(from_here),
            }
        )
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
