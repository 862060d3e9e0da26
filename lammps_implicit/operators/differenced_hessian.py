"""Hessian as an operator on displacements, by differences of forces.

A difference with a step of h Å has two errors, here relative to the product: truncation, due to the curvature of the
forces, a h for one-sided and about 4a² h² for central differences; and round-off, σ/h. σ is mainly due to the
positions: a coordinate of 300 Å is rounded to a multiple of 6e-14 Å, and the forces change by that times the stiffness
of the crystal. In a small cell one-sided products with 1e-7 Å are accurate to 5e-7 and central ones with 1e-5 Å to 1e-9
(measured). In a cell of a million atoms a displacement that is large on a few atoms only would drown in the noise of
all the others, so the steps must be longer.
"""

from __future__ import annotations

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator

ONE_SIDED_STEP = 1e-7
"""Å; step of `DifferencedHessian.one_sided`, and the shortest that `product` uses. Round-off and truncation leave 5e-7
in a small cell (measured)."""

CENTRAL_STEP = 1e-5
"""Å; step of `DifferencedHessian.central`, and the shortest that `product` uses. Round-off and truncation leave 1e-9 in
a small cell (measured)."""

LONGEST_STEP = 1e-3
"""Å; longest step that `product` uses. Beyond it the error model, truncation linear or quadratic in the step, is not
trusted."""

ROUND_OFF_LENGTH = 16.0
"""Å; smaller coordinates do not reduce round-off further, as that of the forces themselves remains."""


class DifferencedHessian:
    """H = ∂²U/∂X² at the engine's reference, restricted to free components.

    Parameters
    ----------
    engine : Evaluator
        At its reference.
    forces : (n, 3) float array
        Forces at the reference, eV/Å. They are subtracted, so they need not vanish.

    Attributes
    ----------
    one_sided_error : float
        Relative error of the one-sided product of a random vector, measured by `calibrate`; infinite before that.
    stiffness : float
        ‖Hw‖/‖w‖ of a random w, eV/Å², measured by `calibrate`.
    excess : float
        Root of the sum of squares of the estimated errors of all products, each divided by its allowed error.
    """

    def __init__(self, engine: Evaluator, forces: FloatArray) -> None:
        self.engine = engine
        self.reference_forces = forces
        self.one_sided_error = np.inf
        self.excess = 0.0
        self._noise = 0.0  # norm of the error of a force difference, eV/Å

    def product(self, v: FloatArray, accuracy: float = 0.0, size: float | None = None) -> FloatArray:
        """H v to a given relative accuracy: one-sided if that suffices, else central, each with its optimal step.

        Parameters
        ----------
        v : (n, 3) float array
        accuracy : float
            Allowed relative error; zero for the most accurate product.
        size : float, optional
            Estimate of ‖H v‖, to which round-off is compared. Default: that of a random vector as long as v.

        Returns
        -------
        (n, 3) float array
            eV/Å² times the unit of `v`; zero at frozen components.
        """
        largest = self.engine.max_abs(v)
        if not np.isfinite(self.one_sided_error) or largest == 0:
            return self.central(v)
        size = self.stiffness * self.engine.norm(v) if size is None else size
        noise = self._noise * largest / size
        curvature = self.one_sided_error / ONE_SIDED_STEP
        step = float(np.clip(np.sqrt(noise / curvature), ONE_SIDED_STEP, LONGEST_STEP))
        error = curvature * step + noise / step
        if error <= accuracy:
            product = self.one_sided(v, step)
        else:
            step = float(np.clip(np.cbrt(noise / (8 * curvature**2)), CENTRAL_STEP, LONGEST_STEP))
            error = (2 * curvature * step) ** 2 + noise / step
            product = self.central(v, step)
        if accuracy > 0:
            self.excess = float(np.hypot(self.excess, error / accuracy))
        return product

    def one_sided(self, v: FloatArray, step: float = ONE_SIDED_STEP) -> FloatArray:
        """H v ≈ [F(X) - F(X + εv)]/ε, (n, 3), with max|εv| = step in Å. One force evaluation."""
        scale = self._scale(v, step)
        return (self.reference_forces - self.engine.forces(scale * v)) / scale

    def central(self, v: FloatArray, step: float = CENTRAL_STEP) -> FloatArray:
        """H v ≈ [F(X - εv) - F(X + εv)]/2ε, (n, 3), with max|εv| = step in Å. Two force evaluations."""
        scale = self._scale(v, step)
        return (self.engine.forces(-scale * v) - self.engine.forces(scale * v)) / (2 * scale)

    def calibrate(self, v: FloatArray) -> FloatArray:
        """H v of a random v, (n, 3); measures `one_sided_error` and `stiffness`. Two force evaluations.

        The truncation error of a one-sided product is linear in the step: products with a single and a doubled step
        give an estimate of it by their difference, and H v without it by extrapolation.
        """
        engine = self.engine
        single, double = self.one_sided(v), self.one_sided(v, 2 * ONE_SIDED_STEP)
        self.one_sided_error = engine.norm(double - single) / engine.norm(single)
        product = 2 * single - double
        self.stiffness = engine.norm(product) / engine.norm(v)
        # Rounding to multiples of the spacing has a standard deviation of 1/√12 of it (uniform distribution).
        spacing = np.spacing(np.maximum(np.abs(engine.positions), ROUND_OFF_LENGTH)) * engine.free
        self._noise = self.stiffness * engine.norm(spacing) / np.sqrt(12)
        return product

    def _scale(self, v: FloatArray, step: float) -> float:
        largest = self.engine.max_abs(v)
        return step / largest if largest > 0 else 1.0
