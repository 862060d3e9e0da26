"""How the frequencies of single modes change with the parameters and with the volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.cell.freedom import StrainFreedom
from lammps_implicit.operators.curvature_changes import CurvatureChange, CurvatureChanges
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.vibrations.masses import atom_masses

DEGENERATE = 1e-5
"""Relative distance of eigenvalues up to which modes count as one level. Chosen: products with H are accurate to 1e-9,
and symmetry is kept to 1e-6 by relaxed structures."""


@dataclass(frozen=True)
class ModeDerivatives:
    """Derivatives of eigenvalues λ = ω² of k modes.

    Attributes
    ----------
    parameters : (k, P) float array
        dλ/dΘ of the relaxed structure.
    gruneisen : (k,) float array or None
        Mode Grüneisen parameters γ = -d(ln ω)/d(ln V), positions relaxed in every cell; None if the cell is not
        periodic.
    levels : (k,) int array
        Number of the level of each mode. All modes of a level have the mean of their derivatives: those of the single
        modes depend on which vectors were chosen among them.
    accuracy : float
        Estimated relative error of second differences of the forces.
    """

    parameters: FloatArray
    gruneisen: FloatArray | None
    levels: IntArray
    accuracy: float


def mode_derivatives(
    point: StationaryPoint,
    eigenvalues: FloatArray,
    vectors: FloatArray,
    freedom: StrainFreedom,
    tol: float,
    progress: Progress = no_progress,
) -> ModeDerivatives:
    """Differentiate the eigenvalues of modes.

    Costs two force evaluations for each mode and what its derivatives with respect to Θ take, see
    `CurvatureChanges.along`; and a solve for each mode, or a Jacobian if there are fewer parameters.

    Parameters
    ----------
    point : StationaryPoint
    eigenvalues : (k,) float array
        Ascending, without zeros.
    vectors : (k, n, 3) float array
        This rank's part of the mass-weighted modes, orthonormal.
    freedom : StrainFreedom
        Strains that the cell takes when Θ changes.
    tol : float
        Relative tolerance of solves.
    progress : callable, optional
        Callback called with (modes done, modes expected).
    """
    engine, response = point.engine, point.response
    count, size = len(eigenvalues), len(point.potential.theta)
    roots = np.sqrt(atom_masses(engine))[:, None]
    changes = CurvatureChanges(engine, response.hessian, response.mixed if size else None)
    displacements = [vector / roots for vector in vectors]
    if displacements:
        changes.choose_step(displacements[0])
    found = changes.along(displacements, progress)
    by_parameters = np.array([change.parameters for change in found]).reshape(count, size)
    pulls = [change.positions for change in found]
    by_parameters = by_parameters + _of_positions(point, pulls, tol)
    levels = np.cumsum(np.append(0, np.diff(eigenvalues) > DEGENERATE * np.abs(eigenvalues[1:])))[:count]
    gruneisen = None
    dimensions = sum(engine.strainable)
    if count and dimensions and not engine.follows_atoms:
        by_volume = _of_strains(point, found, point.strain("iso"), tol)[:, 0] / dimensions
        gruneisen = _by_level(-by_volume / (2 * eigenvalues), levels)
    if count and not freedom.fixed and size:
        system = response.held_cell_system(freedom, tol)
        by_parameters = by_parameters + _of_strains(point, found, freedom, tol) @ system.strain_jacobian.T
    return ModeDerivatives(_by_level(by_parameters, levels), gruneisen, levels, changes.error)


def _of_positions(point: StationaryPoint, pulls: list[FloatArray], tol: float) -> FloatArray:
    """Σ ∂λ/∂X · dX*/dΘ at fixed cell, (k, P)."""
    size = len(point.potential.theta)
    if not size or not pulls:
        return np.zeros((len(pulls), size))
    if size < len(pulls):
        jacobian = point.response.jacobian(tol, point.strain("none"))
        work = [point.engine.sum(np.einsum("rna,na->r", jacobian.left, pull)) for pull in pulls]
        return np.asarray(np.array(work) @ jacobian.right.T)
    rows = []
    for pull in pulls:
        answer = point.response.checked_solve(point.engine.constrain(pull), tol)
        rows.append(-point.response.checked_transposed_times(answer, tol))
    return np.array(rows)


def _of_strains(
    point: StationaryPoint, changes: list[CurvatureChange], freedom: StrainFreedom, tol: float
) -> FloatArray:
    """dλ/dε with positions relaxed, (k, s)."""
    system = point.response.cell_system(freedom, tol)
    homogeneous = np.array([change.strain for change in changes]).reshape(-1, 9) @ freedom.tensors().reshape(-1, 9).T
    follows = np.array([np.einsum("na,nas->s", change.positions, system.relaxed) for change in changes])
    return np.asarray(homogeneous - np.asarray(point.engine.sum(follows)))


def _by_level(values: FloatArray, levels: IntArray) -> FloatArray:
    """Means over the modes of each level, for all of them, (k, ...)."""
    means = np.array([values[levels == level].mean(axis=0) for level in range(levels.max(initial=-1) + 1)])
    return means[levels] if len(levels) else values
