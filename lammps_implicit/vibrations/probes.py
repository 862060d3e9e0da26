"""Displacements along which curvatures are differentiated, and their weights in the derivatives of thermal functions.

A thermal function q = Σ_i q(λ_i) = Tr q(D) has dq = Tr[q'(D) dD] = Σ_p c_p u_pᵀ dH u_p with displacements u_p and
weights c_p. They are the modes, u_i = M⁻¹ᐟ² e_i with c_i = q'(λ_i), or, where symmetry leaves few displacements e_r of
single atoms, u = M⁻¹ᐟ² φ_b(D)¹ᐟ² e_r for a few functions φ_b of which all q' are linear combinations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.operators.curvature_changes import Mirror
from lammps_implicit.vibrations.spectrum import Spectrum, mirror_of
from lammps_implicit.vibrations.symmetry import Displacement

_MOST_FUNCTIONS = 14
"""Functions φ_b at most. Chosen: more do not fit better, as they are hardly independent."""

_FITTED = 1e-9
"""Relative error of a fit that is good enough."""

_POOR = 1e-6
"""Relative error of a fit beyond which modes are used."""


@dataclass(frozen=True)
class Probes:
    """Displacements and weights.

    Attributes
    ----------
    displacements : list of (n, 3) float arrays
        u_p, in units of one over the square root of mass.
    weights : (..., p) float array
        c_p of each thermal function.
    name : str
        What they are, for reports.
    mirrors : list of (Mirror or None), or None
        For each the symmetry that turns it into its opposite.
    """

    displacements: list[FloatArray]
    weights: FloatArray
    name: str
    mirrors: list[Mirror | None] | None = None


def exact_probes(spectrum: Spectrum, slopes: FloatArray) -> Probes:
    """Probes whose sums are exact: the modes, or displacements of single atoms, whichever are fewer.

    Parameters
    ----------
    spectrum : Spectrum
    slopes : (..., m) float array
        q'(λ_i) of each thermal function.
    """
    values, moves = spectrum.eigenvalues, spectrum.displacements
    if moves is not None and len(values):
        shifts, weights = common_functions(values, slopes.reshape(-1, len(values)), (len(values) - 1) // len(moves))
        if shifts is not None:
            return _of_atoms(spectrum, moves, shifts, weights.reshape(*slopes.shape[:-1], -1))
    coordinates = spectrum.coordinates
    return Probes([coordinates.displacement(vector) for vector in spectrum.vectors.T], slopes, "modes")


def _of_atoms(spectrum: Spectrum, moves: list[Displacement], shifts: FloatArray, weights: FloatArray) -> Probes:
    coordinates = spectrum.coordinates
    displacements, shares = [], []
    mirrors: list[Mirror | None] = []
    for move in moves:
        unit = np.zeros((coordinates.size, 1))
        unit[coordinates.columns[move.atom], 0] = move.direction
        for shift in shifts:
            root = 1 / np.sqrt(spectrum.eigenvalues + shift)
            displacements.append(coordinates.displacement(spectrum.times(root, unit)[:, 0]))
            shares.append(float(move.weight))
            mirrors.append(mirror_of(coordinates, move))
    repeated = np.tile(weights, len(moves)) * np.array(shares)
    return Probes(displacements, repeated, "atoms", mirrors)


def common_functions(
    values: FloatArray, slopes: FloatArray, most: int, good: float = _FITTED, poor: float = _POOR
) -> tuple[FloatArray | None, FloatArray]:
    """Shifts s_b of positive functions φ_b = 1/(λ + s_b), and weights with which they sum up to functions of λ.

    The classical function is 1/λ itself, and the quantum-mechanical free energy is a sum over Matsubara frequencies of
    such functions.

    Parameters
    ----------
    values : (m,) float array
        λ, ascending and positive.
    slopes : (f, m) float array
        Functions at these.
    most : int
        Limit on the number of functions φ_b.
    good, poor : float
        Errors, relative to the largest value of a function, of a fit that is good enough, and of one that is too poor.

    Returns
    -------
    shifts : (b,) float array, or None if there is no fit
    weights : (f, b) float array
    """
    sizes = np.abs(slopes).max(axis=1, keepdims=True)
    scaled = slopes / np.where(sizes > 0, sizes, 1.0)
    best: tuple[FloatArray | None, FloatArray] = None, np.zeros((len(slopes), 0))
    for count in range(1, min(_MOST_FUNCTIONS, most) + 1):
        shifts = np.append(0.0, np.geomspace(values[0], 10 * values[-1], count - 1))
        functions = (values[0] + shifts[:, None]) / (values + shifts[:, None])
        weights = np.linalg.lstsq(functions.T, scaled.T, 1e-13)[0].T
        missed = float(np.abs(weights @ functions - scaled).max(initial=0.0))
        if missed <= poor:
            best = shifts, weights * sizes * (values[0] + shifts)
        if missed <= good:
            break
    return best
