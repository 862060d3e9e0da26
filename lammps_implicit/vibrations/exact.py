"""Thermal functions of a structure in the harmonic approximation, with their derivatives: exact, from all modes.

The derivative of q = Tr q(D) is Tr[q'(D) dD], where D changes with Θ at fixed positions, with the positions, which
answer with dX*/dΘ = -H⁻¹C, and with the cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import StrainFreedom
from lammps_implicit.operators.curvature_changes import CurvatureChange, CurvatureChanges
from lammps_implicit.progress import Progress, in_two_parts, no_progress
from lammps_implicit.response.linear_response import LinearResponse
from lammps_implicit.vibrations.constants import vibration_units
from lammps_implicit.vibrations.probes import exact_probes
from lammps_implicit.vibrations.result import Vibrations
from lammps_implicit.vibrations.spectrum import Spectrum, dense_spectrum
from lammps_implicit.vibrations.thermal import mode_functions


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
    """Thermal functions from all modes of a small cell.

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
        Relative tolerance of the solves for the cell.
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
    spectrum = dense_spectrum(response, first)
    units = vibration_units(response.engine.deck.units)
    functions = mode_functions(spectrum.eigenvalues, temperatures, quantum, units)
    values = functions.values.sum(axis=2)
    count = len(temperatures)
    nothing = np.zeros((0, 4, count)), np.zeros((0, 4, count, len(response.potential.theta)))
    gradients = strains = None
    error, method = float("nan"), "exact"
    if gradient:
        probes = exact_probes(spectrum, functions.slopes)
        method = f"exact ({probes.name})"
        changes = CurvatureChanges(
            response.engine, response.hessian, response.mixed if len(response.potential.theta) else None
        )
        if probes.displacements:
            changes.choose_step(probes.displacements[0])
        found = changes.along(probes.displacements, second)
        gradients, strains = _contracted(response, spectrum, found, probes.weights, freedom, tol, held)
        error = changes.error
    modes = len(spectrum.eigenvalues)
    return Vibrations(values, gradients, strains, modes, spectrum.zero_modes, *nothing, method, error)


def _contracted(
    response: LinearResponse,
    spectrum: Spectrum,
    changes: Sequence[CurvatureChange],
    weights: FloatArray,
    freedom: StrainFreedom,
    tol: float,
    held: bool,
) -> tuple[FloatArray, FloatArray]:
    """Derivatives of Σ_p c_p u_pᵀHu_p with respect to Θ, (..., P), and each strain, (..., k), for weights (..., p)."""
    coordinates, engine = spectrum.coordinates, response.engine
    parameters = len(response.potential.theta)
    by_parameters = np.array([change.parameters for change in changes]).reshape(len(changes), parameters)
    forces = np.array([coordinates.of_force(change.positions) for change in changes]).reshape(-1, coordinates.size)
    gradients = weights @ by_parameters
    pulls = weights @ forces
    if parameters:
        mixed = np.stack([coordinates.of_force(column) for column in np.moveaxis(response.mixed.to_array(), 2, 0)])
        gradients = gradients - pulls @ spectrum.solve(mixed.T)
    if freedom.fixed:
        return gradients, np.zeros((*weights.shape[:-1], 0))
    system = response.held_cell_system(freedom, tol) if held else response.cell_system(freedom, tol)
    homogeneous = np.array([change.strain for change in changes]).reshape(-1, 9)
    strains = weights @ homogeneous @ freedom.tensors().reshape(-1, 9).T
    follows = np.array([np.einsum("na,nak->k", change.positions, system.relaxed) for change in changes])
    strains = strains - weights @ np.asarray(engine.sum(follows))
    return (gradients + strains @ system.strain_jacobian.T if held else gradients), strains
