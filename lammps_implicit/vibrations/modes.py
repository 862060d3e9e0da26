"""Vibrational modes of a point, with the derivatives of their frequencies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray, IntArray, read_only
from lammps_implicit.cell.freedom import StrainFreedom
from lammps_implicit.progress import Progress, in_two_parts, no_progress
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.vibrations.eigenmodes import Modes, modes_of
from lammps_implicit.vibrations.mode_derivatives import ModeDerivatives, mode_derivatives


@dataclass(frozen=True)
class DifferentiatedModes:
    """Vibrational modes in ascending order of their frequencies, and what these depend on.

    Attributes
    ----------
    modes : Modes
        Vectors, residuals, and how the modes were found.
    frequencies : (k,) float array
        ω/2π, THz; 1/τ in ``units lj``. Negative for imaginary ones.
    participation : (k,) float array
        About 1 if all N atoms move, 1/N if one does.
    frequency_gradient : (k, P) float array or None
        Derivatives with respect to Θ, of the relaxed structure; None if they were not asked for. Modes of one level
        all have the mean of their derivatives.
    gruneisen : (k,) float array or None
        Mode Grüneisen parameters γ = -d(ln ω)/d(ln V); None without derivatives, or if no direction is periodic.
    levels : (k,) int array or None
        Number of the level of each mode: those with equal frequencies.
    accuracy : float
        Estimated relative error of the derivatives; NaN if there are none.
    evaluations : int
        Force and descriptor evaluations.
    """

    modes: Modes
    frequencies: FloatArray
    participation: FloatArray
    frequency_gradient: FloatArray | None
    gruneisen: FloatArray | None
    levels: IntArray | None
    accuracy: float
    evaluations: int


def differentiated_modes(
    point: StationaryPoint,
    count: int | None,
    near: float | None,
    freedom: StrainFreedom,
    gradient: bool,
    tol: float,
    progress: Progress = no_progress,
) -> DifferentiatedModes:
    """Modes of a point and, if asked for, their derivatives: see `modes_of` and `mode_derivatives`.

    Parameters
    ----------
    point : StationaryPoint
    count, near
        See `modes_of`.
    freedom : StrainFreedom
        Strains that the cell takes when Θ changes.
    gradient : bool
        Whether to differentiate.
    tol : float
        Relative tolerance of modes and of linear solves.
    progress : callable, optional
        Callback called with (done, total).

    Raises
    ------
    LammpsImplicitError
        See `modes_of`.
    """
    before = point.engine.evaluations.copy()
    first, second = in_two_parts(progress)
    found = modes_of(point.response, count, near, tol, first)
    known: ModeDerivatives | None = None
    slopes = None
    if gradient:
        known = mode_derivatives(point, found.eigenvalues, found.vectors, freedom, tol, second)
        # ω ∝ √|λ|, with the sign of λ: dω/dΘ = ω/(2λ) dλ/dΘ holds for imaginary frequencies too.
        finite = np.where(found.eigenvalues == 0, 1.0, found.eigenvalues)
        shares = found.frequencies / (2 * finite)
        slopes = read_only(shares[:, None] * known.parameters)
    return DifferentiatedModes(
        found,
        found.frequencies,
        found.participation,
        slopes,
        known.gruneisen if known is not None else None,
        known.levels if known is not None else None,
        known.accuracy if known is not None else float("nan"),
        point.engine.evaluations.since(before).total,
    )
