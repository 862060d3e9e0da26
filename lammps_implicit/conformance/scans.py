"""Forces and energies along a line, and where they are not smooth on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d

from lammps_implicit.arrays import FloatArray
from lammps_implicit.conformance.directions import line
from lammps_implicit.evaluators.interface import Evaluator

PROBES = 3
"""Number of random vectors, besides the line itself, that forces are projected on. The mean square of the projections
of a vector of forces is a third of its square, so that what acts on two atoms only is not lost among all."""

ENERGY_ROUND_OFF = 1e-12
"""Jumps of the energy smaller than this share of it are not looked for."""

_KEPT = 6.0
"""Residuals beyond this many times the median are left out of a smooth fit."""


@dataclass(frozen=True)
class Scan:
    """Forces projected on a line and on probe vectors, and energies, at equally spaced points of the line.

    Attributes
    ----------
    number : int
        Of the line, see `directions.line`.
    t : (m,) float array
        Distance from the reference, as the largest component of the displacement, in the deck's unit of length.
    projections : (m, 1 + PROBES) float array
        Forces times the line's direction, and times each probe.
    energies : (m,) float array
    """

    number: int
    t: FloatArray
    projections: FloatArray
    energies: FloatArray

    @property
    def spacing(self) -> float:
        """Distance of neighbouring points."""
        return float(self.t[1] - self.t[0])

    @property
    def slopes(self) -> FloatArray:
        """Slopes of the projections between the points, (m - 1, 1 + PROBES)."""
        return np.diff(self.projections, axis=0) / self.spacing

    @property
    def size(self) -> float:
        """Root mean square of the typical slopes, which changes of slope are relative to."""
        return float(np.sqrt(np.mean(np.median(self.slopes, axis=0) ** 2)))

    def deviations(self) -> FloatArray:
        """Changes of slope at the inner points that a smooth curve does not explain, relative to `size`, (m - 2,)."""
        return _deviations(np.diff(self.slopes, axis=0)) / max(self.size, np.finfo(float).tiny)

    def roughness(self) -> FloatArray:
        """Slopes between the points less those of a smooth curve, relative to `size`, (m - 1,)."""
        return _deviations(self.slopes, degree=3) / max(self.size, np.finfo(float).tiny)

    def energy_jumps(self) -> tuple[FloatArray, FloatArray]:
        """Energy differences of neighbouring points less the work of the forces, and what may be error, (m - 1,) each.

        The work is the trapezoidal rule with its end correction; a jump of the force or of its slope between two points
        makes an error of at most h times the jump, or h² times.
        """
        h, g = self.spacing, self.projections[:, 0]
        slope = np.gradient(g, h, edge_order=2)
        work = h * (g[1:] + g[:-1]) / 2 - h**2 / 12 * np.diff(slope)
        bends = np.pad(np.abs(np.diff(g, 2)), 1, mode="edge")
        nearby = maximum_filter1d(np.maximum(bends[1:], bends[:-1]), 5)
        allowed = 2 * h * nearby + ENERGY_ROUND_OFF * np.abs(self.energies).max()
        return np.diff(self.energies) + work, allowed


def scan(engine: Evaluator, number: int, t: FloatArray) -> Scan:
    """Evaluate forces and energies along a line; the engine stays at the last point. As many evaluations as points.

    Parameters
    ----------
    engine : Evaluator
    number : int
        Of the line.
    t : (m,) float array
        Equally spaced, in the deck's unit of length; small compared with the neighbour skin.
    """
    v = line(engine, number)
    probes = [v, *(line(engine, 500 + k) for k in range(PROBES))]
    rows, energies = np.empty((len(t), len(probes))), np.empty(len(t))
    for k, distance in enumerate(t):
        forces = engine.forces(distance * v)
        rows[k] = engine.sum(np.array([float(np.vdot(probe, forces)) for probe in probes]))
        energies[k] = engine.energy
    return Scan(number, np.array(t), rows, energies)


def _deviations(curves: FloatArray, degree: int = 2) -> FloatArray:
    """Root mean square over curves (m, k) of their deviations from polynomials, fitted without outliers, (m,)."""
    x = np.linspace(-1, 1, len(curves))
    design = np.polynomial.chebyshev.chebvander(x, degree)
    found = np.sqrt(np.mean((curves - np.median(curves, axis=0)) ** 2, axis=1))
    for _ in range(5):
        kept = found <= max(_KEPT * float(np.median(found)), np.finfo(float).tiny)
        if np.count_nonzero(kept) <= degree + 1:
            break
        coefficients = np.linalg.lstsq(design[kept], curves[kept], rcond=None)[0]
        found = np.sqrt(np.mean((curves - design @ coefficients) ** 2, axis=1))
    return np.asarray(found)
