"""Hessian as an operator on displacements, by differences of LAMMPS forces.

A difference over a step of h Å makes two errors: the curvature of the forces, a h for one-sided and about 4a² h² for
central ones, and round-off, σ/h, relative to the product. σ comes from positions above all: a coordinate of 300 Å is a
multiple of 6e-14 Å, and forces answer to that with the stiffness of the crystal. In a small cell one-sided products
with 1e-7 Å are good to 5e-7 and central ones with 1e-5 Å to 1e-9; in a million atoms a displacement that is large on a
few atoms only drowns there in the noise of all the others, and steps must be longer.
"""

from __future__ import annotations

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator

ONE_SIDED_STEP = 1e-7
"""Å; the step of `Hessian.one_sided`, and the least that `Hessian.product` takes."""

CENTRAL_STEP = 1e-5
"""Å; the step of `Hessian.central`, and the least that `Hessian.product` takes."""

LONGEST_STEP = 1e-3
"""Å."""

ROUND_OFF_LENGTH = 16.0
"""Å; coordinates below it do not reduce round-off further: that of the forces themselves remains."""


class DifferencedHessian:
    """H = ∂²U/∂X² at the engine's reference, restricted to free components.

    Parameters
    ----------
    engine : Evaluator
    forces : (n, 3) float array
        Forces at the reference. They are subtracted, so they need not vanish.

    Attributes
    ----------
    one_sided_error : float
        Relative error of one-sided products of a random vector, measured by `calibrate`; infinite before.
    excess : float
        Root of the sum of squares of the estimated errors of all products, each in units of what it was allowed.
    """

    def __init__(self, engine: Evaluator, forces: FloatArray) -> None:
        self.engine = engine
        self.reference_forces = forces
        self.one_sided_error = np.inf
        self.excess = 0.0
        self._noise = 0.0  # norm of the error of a force difference, eV/Å

    def product(self, v: FloatArray, accuracy: float = 0.0, size: float | None = None) -> FloatArray:
        """H v to a relative accuracy: one-sided when that suffices, else central, each with its best step.

        Parameters
        ----------
        v : (n, 3) float array
        accuracy : float
            Relative error that may be made.
        size : float, optional
            ‖H v‖ as far as it is known, to weigh round-off by; default that of a random vector as long as v.

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
        """[F(X) - F(X + εv)]/ε with max|εv| = step. One force evaluation."""
        scale = self._scale(v, step)
        return (self.reference_forces - self.engine.forces(scale * v)) / scale

    def central(self, v: FloatArray, step: float = CENTRAL_STEP) -> FloatArray:
        """[F(X - εv) - F(X + εv)]/2ε with max|εv| = step. Two force evaluations."""
        scale = self._scale(v, step)
        return (self.engine.forces(-scale * v) - self.engine.forces(scale * v)) / (2 * scale)

    def calibrate(self, v: FloatArray) -> FloatArray:
        """H v from one-sided products with a single and a doubled step; measures `one_sided_error` and `stiffness`.

        The truncation error of a one-sided product is linear in the step, so the difference of the two estimates it,
        and their extrapolation is free of it. Two force evaluations.
        """
        engine = self.engine
        single, double = self.one_sided(v), self.one_sided(v, 2 * ONE_SIDED_STEP)
        self.one_sided_error = engine.norm(double - single) / engine.norm(single)
        product = 2 * single - double
        self.stiffness = engine.norm(product) / engine.norm(v)
        # Uniform rounding to a multiple of the spacing has a standard deviation of 1/√12 of it.
        spacing = np.spacing(np.maximum(np.abs(engine.positions), ROUND_OFF_LENGTH)) * engine.free
        self._noise = self.stiffness * engine.norm(spacing) / np.sqrt(12)
        return product

    def _scale(self, v: FloatArray, step: float) -> float:
        largest = self.engine.max_abs(v)
        return step / largest if largest > 0 else 1.0
