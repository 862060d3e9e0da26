"""Hessian as an operator on displacements, by differences of forces.

A difference with a step of h Å has two errors, here relative to the product: truncation, due to the curvature of the
forces, a h for one-sided and about 4a² h² for central differences; and round-off, σ/h. σ is mainly due to the
positions: a coordinate of 300 Å is rounded to a multiple of 6e-14 Å, and the forces change by that times the stiffness
of the crystal. In a small cell one-sided products with 1e-7 Å are accurate to 5e-7 and central ones with 1e-5 Å to 1e-9
(measured). In a cell of a million atoms a displacement that is large on a few atoms only would drown in the noise of
all the others, so the steps must be longer.

This model holds where forces are smooth, and round-off is all that disturbs them. A pair within the step of a cutoff or
of a switching radius, tabulated forces, and forces from a mesh break it. So the longest step used is compared once with
the short one of `calibrate`. Where both disagree, or the model promises less than was asked for, `measure` compares
steps over four decades and takes the one that agrees best with the next; their difference is reported as the error.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

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


MEASURED_STEPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
"""Å; steps that `DifferencedHessian.measure` compares: from `LONGEST_STEP` to `ONE_SIDED_STEP`."""

_DISAGREEMENT = 10.0
"""Factor by which products with two steps may disagree beyond the error model before steps are measured. Chosen: the
model is good to a factor of two or three where forces are smooth; a kink within the step exceeds it by far."""

_NEARLY = 2.0
"""Factor by which a step may exceed one that was found to agree before it is compared too. Chosen: steps of successive
products differ by less, and each comparison costs two evaluations."""

_LEAST_CURVATURE = 1e-15
"""Least relative error of one-sided products that the model reckons with."""

_OUT_OF_REACH = 10.0
"""Factor by which the error that the model promises may exceed what was asked for before steps are measured."""


_SECOND = 3.0
"""Factor between the step of products and that of `DifferencedHessian.second`. Chosen: apart enough to notice
truncation and kinks, near enough that round-off stays small."""


@dataclass(frozen=True)
class Measured:
    """A step found by comparing steps.

    Attributes
    ----------
    step : float
        Å.
    error : float
        Difference of the products with this step and with the next shorter one, relative to that of a random vector.
    """

    step: float
    error: float


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
    measured : Measured or None
        Step found by `measure`, which all products use from then on.
    """

    def __init__(self, engine: Evaluator, forces: FloatArray) -> None:
        self.engine = engine
        self.reference_forces = forces
        self.one_sided_error = np.inf
        self.excess = 0.0
        self.measured: Measured | None = None
        self._noise = 0.0  # norm of the error of a force difference, eV/Å
        self._agreed = 2 * ONE_SIDED_STEP  # Å; longest step found to agree with that of the calibration

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
        if largest == 0:
            return np.zeros_like(v)
        if not np.isfinite(self.one_sided_error):
            return self.central(v)
        size = self.stiffness * self.engine.norm(v) if size is None else size
        one_sided, step, error = self._chosen(self._noise * largest / size, accuracy)
        if self.measured is None and self._doubtful(step, error, accuracy):
            self.measure(self._probe)
            one_sided, step, error = self._chosen(self._noise * largest / size, accuracy)
        if accuracy > 0:
            self.excess = float(np.hypot(self.excess, error / accuracy))
        return self.one_sided(v, step) if one_sided else self.central(v, step)

    def _chosen(self, noise: float, accuracy: float) -> tuple[bool, float, float]:
        """Whether a one-sided product suffices, the step in Å, and the relative error, for round-off `noise`/step."""
        curvature = max(self.one_sided_error, _LEAST_CURVATURE) / ONE_SIDED_STEP  # zero in a harmonic crystal
        step = float(np.clip(np.sqrt(noise / curvature), ONE_SIDED_STEP, LONGEST_STEP))
        if self.measured is not None:  # a longer one was found to disagree
            step = min(step, self._agreed)
        error = curvature * step + noise / step
        if error <= accuracy:
            return True, step, error
        if self.measured is not None:
            return False, self.measured.step, max(self.measured.error, noise / self.measured.step)
        step = float(np.clip(np.cbrt(noise / (8 * curvature**2)), CENTRAL_STEP, LONGEST_STEP))
        return False, step, (2 * curvature * step) ** 2 + noise / step

    def _doubtful(self, step: float, error: float, accuracy: float) -> bool:
        """Whether the error model is not to be trusted for a step. Two force evaluations for each longer step."""
        if 0 < accuracy * _OUT_OF_REACH < error:
            return True
        if step <= _NEARLY * self._agreed:
            return False
        engine, size = self.engine, self.engine.norm(self._probe_product)
        noise = self._noise * engine.max_abs(self._probe) / size
        expected = 3 * noise / ONE_SIDED_STEP + noise / step + (2 * self.one_sided_error * step / ONE_SIDED_STEP) ** 2
        missed = engine.norm(self.central(self._probe, step) - self._probe_product) / size
        if missed > _DISAGREEMENT * expected:
            return True
        self._agreed = step
        return False

    def measure(self, v: FloatArray) -> FloatArray:
        """Find the best step of central products by comparing steps along v; return H v with it, (n, 3).

        Of `MEASURED_STEPS` the longer one of the two neighbours whose products agree best is taken for all later
        products; the difference is its error. Ten force evaluations.

        Parameters
        ----------
        v : (n, 3) float array
        """
        products = [self.central(v, step) for step in MEASURED_STEPS]
        missed = [self.engine.norm(long - short) for long, short in pairwise(products)]
        best = int(np.argmin(missed))
        size = self.stiffness * self.engine.norm(v)
        step = MEASURED_STEPS[best] if self.measured is None else min(MEASURED_STEPS[best], self.measured.step)
        error = missed[best] / size if size > 0 else 0.0
        self.measured = Measured(step, error if self.measured is None else max(error, self.measured.error))
        return products[best]

    def second(self, v: FloatArray) -> FloatArray:
        """H v, (n, 3), by a central difference whose step differs from those of `product`. Two force evaluations."""
        if self.measured is not None:
            return self.central(v, self.measured.step / _SECOND)
        return self.central(v, max(self._agreed, CENTRAL_STEP) / _SECOND)

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
        size = engine.norm(single)
        self.one_sided_error = engine.norm(double - single) / size if size > 0 else 0.0  # atoms out of reach
        product = 2 * single - double
        self.stiffness = engine.norm(product) / engine.norm(v)
        # Rounding to multiples of the spacing has a standard deviation of 1/√12 of it (uniform distribution).
        spacing = np.spacing(np.maximum(np.abs(engine.positions), ROUND_OFF_LENGTH)) * engine.free
        self._noise = self.stiffness * engine.norm(spacing) / np.sqrt(12)
        self._probe, self._probe_product = v, product
        return product

    def _scale(self, v: FloatArray, step: float) -> float:
        largest = self.engine.max_abs(v)
        return step / largest if largest > 0 else 1.0
