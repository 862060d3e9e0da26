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

FUNCTIONS = 14
"""Functions φ_b = 1/(λ + s_b) for quantum-mechanical vibrations at any temperature. Measured: fitted to 1e-9 from 50 K
for metals; more are hardly independent."""

_POOR = 1e-6
"""Relative error beyond which a fit is refused."""


@dataclass(frozen=True)
class Probes:
    """Displacements, and how their weights are found.

    Attributes
    ----------
    displacements : list of (n, 3) float arrays
        u_p, in units of one over the square root of mass.
    name : str
        What they are, for reports.
    mirrors : list of (Mirror or None), or None
        For each the symmetry that turns it into its opposite.
    shifts : (b,) float array or None
        s_b; None if the displacements are modes.
    eigenvalues : (m,) float array
    repeats : (r,) float array
        Number of displacements that each of those of single atoms stands for.
    """

    displacements: list[FloatArray]
    name: str
    mirrors: list[Mirror | None] | None
    shifts: FloatArray | None
    eigenvalues: FloatArray
    repeats: FloatArray

    def weights(self, slopes: FloatArray) -> FloatArray:
        """Weights c_p, (..., p), of functions whose derivatives at the eigenvalues are `slopes`, (..., m).

        Raises
        ------
        ValueError
            If they are no linear combinations of the φ_b.
        """
        if self.shifts is None:
            return slopes
        found, missed = combination(self.eigenvalues, slopes.reshape(-1, len(self.eigenvalues)), self.shifts)
        if missed > _POOR:
            raise ValueError(f"thermal functions are fitted to {missed:.1e} only")
        # Displacements of an atom with all functions follow each other.
        whole = self.repeats[:, None] * found.reshape(*slopes.shape[:-1], 1, len(self.shifts))
        return np.asarray(whole.reshape(*slopes.shape[:-1], -1))


def exact_probes(spectrum: Spectrum, quantum: bool) -> Probes:
    """Probes whose sums are exact at any temperature: the modes, or displacements of single atoms if these are fewer.

    Parameters
    ----------
    spectrum : Spectrum
    quantum : bool
    """
    values, moves, coordinates = spectrum.eigenvalues, spectrum.displacements, spectrum.coordinates
    count = FUNCTIONS if quantum else 1
    if moves is not None and len(values) and count * len(moves) < len(values):
        return _of_atoms(spectrum, moves, common_shifts(values, count))
    displacements = [coordinates.displacement(vector) for vector in spectrum.vectors.T]
    return Probes(displacements, "modes", None, None, values, np.ones(0))


def _of_atoms(spectrum: Spectrum, moves: list[Displacement], shifts: FloatArray) -> Probes:
    coordinates = spectrum.coordinates
    displacements = []
    mirrors: list[Mirror | None] = []
    for move in moves:
        unit = np.zeros((coordinates.size, 1))
        unit[coordinates.columns[move.atom], 0] = move.direction
        for shift in shifts:
            root = 1 / np.sqrt(spectrum.eigenvalues + shift)
            displacements.append(coordinates.displacement(spectrum.times(root, unit)[:, 0]))
            mirrors.append(mirror_of(coordinates, move))
    repeats = np.array([float(move.weight) for move in moves])
    return Probes(displacements, "atoms", mirrors, shifts, spectrum.eigenvalues, repeats)


def common_shifts(values: FloatArray, count: int) -> FloatArray:
    """Shifts s_b, (b,), of functions φ_b = 1/(λ + s_b) for eigenvalues λ, ascending and positive.

    The first is zero: the classical function is 1/λ itself. The quantum-mechanical free energy is a sum over Matsubara
    frequencies of such functions.
    """
    return np.append(0.0, np.geomspace(values[0], 10 * values[-1], count - 1))


def combination(values: FloatArray, slopes: FloatArray, shifts: FloatArray) -> tuple[FloatArray, float]:
    """Weights with which functions φ_b sum up to others, and how much is missed, relative to their largest values.

    Parameters
    ----------
    values : (m,) float array
        λ.
    slopes : (f, m) float array
        Functions at these.
    shifts : (b,) float array

    Returns
    -------
    weights : (f, b) float array
    missed : float
    """
    sizes = np.abs(slopes).max(axis=1, keepdims=True)
    scaled = slopes / np.where(sizes > 0, sizes, 1.0)
    functions = (values[0] + shifts[:, None]) / (values + shifts[:, None])
    weights = np.linalg.lstsq(functions.T, scaled.T, 1e-13)[0].T
    missed = float(np.abs(weights @ functions - scaled).max(initial=0.0))
    return weights * sizes * (values[0] + shifts), missed
