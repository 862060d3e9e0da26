"""Thermal functions of a structure in the harmonic approximation, with their derivatives: exact, from all modes.

The derivative of q = Tr q(D) is Tr[q'(D) dD], where D changes with Θ at fixed positions, with the positions, which
answer with dX*/dΘ = -H⁻¹C, and with the cell. What it takes does not depend on temperature, and is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import StrainFreedom
from lammps_implicit.operators.curvature_changes import CurvatureChange, CurvatureChanges
from lammps_implicit.progress import Progress, in_two_parts, no_progress
from lammps_implicit.response.linear_response import LinearResponse
from lammps_implicit.vibrations.constants import vibration_units
from lammps_implicit.vibrations.probes import Probes, exact_probes
from lammps_implicit.vibrations.result import Vibrations
from lammps_implicit.vibrations.spectrum import Spectrum, dense_spectrum
from lammps_implicit.vibrations.thermal import mode_functions

_LOOSE, _PRODUCTS = 1e-4, 1e-2
"""Tolerance from which products with H need not be as accurate as can be, and their error relative to it. Chosen: one
force evaluation then suffices."""


@dataclass(frozen=True)
class Slopes:
    """Derivatives of the curvatures along probes.

    Attributes
    ----------
    probes : Probes
    parameters : (p, P) float array
        With respect to Θ, with positions relaxed, and the cell if it follows Θ.
    strains : (p, k) float array
        With respect to strains, with positions relaxed.
    error : float
        Relative error of second differences of the forces.
    """

    probes: Probes
    parameters: FloatArray
    strains: FloatArray
    error: float


def exact_vibrations(
    response: LinearResponse,
    temperatures: FloatArray,
    quantum: bool,
    freedom: StrainFreedom,
    gradient: bool,
    tol: float,
    progress: Progress = no_progress,
    held: bool = True,
) -> Vibrations:
    """Thermal functions from all modes of a small cell; at further temperatures they cost no evaluation.

    Parameters
    ----------
    response : LinearResponse
    temperatures : (T,) float array
    quantum : bool
    freedom : StrainFreedom
        Strains that the cell takes when Θ changes.
    gradient : bool
        Whether to differentiate.
    tol : float
        Relative tolerance of the solves for the cell; from `_LOOSE` on, that of products with H follows it.
    progress : callable, optional
        Callback called with (done, total).
    held : bool
        Whether the cell is at its target pressure, and follows Θ. Otherwise gradients are those at fixed cell, though
        derivatives with respect to strains are taken.

    Raises
    ------
    NotAMinimumError
        See `spectrum.dense_spectrum`.
    """
    first, second = in_two_parts(progress) if gradient else (progress, no_progress)
    accuracy = _PRODUCTS * tol if tol >= _LOOSE else 0.0
    if ("spectrum", accuracy) not in response.kept:
        response.kept["spectrum", accuracy] = dense_spectrum(response, first, accuracy)
    spectrum: Spectrum = response.kept["spectrum", accuracy]
    units = vibration_units(response.engine.deck.units)
    functions = mode_functions(spectrum.eigenvalues, temperatures, quantum, units)
    values = functions.values.sum(axis=2)
    count, parameters = len(temperatures), len(response.potential.theta)
    nothing = np.zeros((0, 4, count)), np.zeros((0, 4, count, parameters))
    gradients = strains = None
    error, method = float("nan"), "exact"
    if gradient:
        slopes = _slopes(response, spectrum, quantum, freedom, tol, held, second)
        weights = slopes.probes.weights(functions.slopes)
        gradients, strains = weights @ slopes.parameters, weights @ slopes.strains
        error, method = slopes.error, f"exact ({slopes.probes.name})"
    modes = len(spectrum.eigenvalues)
    return Vibrations(values, gradients, strains, modes, spectrum.zero_modes, *nothing, method, error)


def _slopes(
    response: LinearResponse,
    spectrum: Spectrum,
    quantum: bool,
    freedom: StrainFreedom,
    tol: float,
    held: bool,
    progress: Progress,
) -> Slopes:
    """Derivatives along the probes that thermal functions take; kept."""
    key = ("slopes", quantum, freedom.key, tol, held)
    if key not in response.kept:
        probes = exact_probes(spectrum, quantum)
        mixed = response.mixed if len(response.potential.theta) else None
        changes = CurvatureChanges(response.engine, response.hessian, mixed)
        if probes.displacements:
            changes.choose_step(probes.displacements[0])
        found = changes.along(probes.displacements, progress, probes.mirrors)
        response.kept[key] = Slopes(probes, *_contracted(response, spectrum, found, freedom, tol, held), changes.error)
    slopes: Slopes = response.kept[key]
    return slopes


def _contracted(
    response: LinearResponse,
    spectrum: Spectrum,
    changes: Sequence[CurvatureChange],
    freedom: StrainFreedom,
    tol: float,
    held: bool,
) -> tuple[FloatArray, FloatArray]:
    """Derivatives of the curvatures uᵀHu with respect to Θ, (p, P), and each strain, (p, k)."""
    coordinates, engine = spectrum.coordinates, response.engine
    parameters = len(response.potential.theta)
    gradients = np.array([change.parameters for change in changes]).reshape(len(changes), parameters)
    if parameters:
        pulls = np.array([coordinates.of_force(change.positions) for change in changes]).reshape(-1, coordinates.size)
        mixed = np.stack([coordinates.of_force(column) for column in np.moveaxis(response.mixed.to_array(), 2, 0)])
        gradients = gradients - pulls @ spectrum.solve(mixed.T)
    if freedom.fixed:
        return gradients, np.zeros((len(changes), 0))
    system = response.held_cell_system(freedom, tol) if held else response.cell_system(freedom, tol)
    homogeneous = np.array([change.strain for change in changes]).reshape(-1, 9)
    follows = np.array([np.einsum("na,nak->k", change.positions, system.relaxed) for change in changes])
    strains = homogeneous @ freedom.tensors().reshape(-1, 9).T - np.asarray(engine.sum(follows))
    return (gradients + strains @ system.strain_jacobian.T if held else gradients), strains
