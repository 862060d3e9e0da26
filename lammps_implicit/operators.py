"""Hessian and mixed derivative as operators on displacements, by differences of LAMMPS forces.

Forces are good to about 1e-14 eV/Å, so one-sided products with steps of 1e-7 Å are good to about 5e-7 at one force
evaluation each, central ones with 1e-5 Å to about 1e-9 at two.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.engine import Engine
from lammps_implicit.potentials import Potential

FloatArray = NDArray[np.float64]

ONE_SIDED_STEP = 1e-7
CENTRAL_STEP = 1e-5
"""Largest displacement of any atom, Å."""

MIXED_MEMORY = 512 * 2**20
"""Bytes a rank may spend on keeping C = ∂²U/∂X∂Θ; above, its products are differenced."""


class Hessian:
    """H = ∂²U/∂X² at the engine's reference, restricted to free components.

    Parameters
    ----------
    engine : Engine
    forces : (n, 3) float array
        Forces at the reference. They are subtracted, so they need not vanish.

    Attributes
    ----------
    one_sided_error : float
        Relative error of one-sided products, measured by `calibrate`; infinite before.
    """

    def __init__(self, engine: Engine, forces: FloatArray) -> None:
        self.engine = engine
        self.reference_forces = forces
        self.one_sided_error = np.inf

    def product(self, v: FloatArray, accuracy: float = 0.0) -> FloatArray:
        """H v to a relative accuracy: one-sided when that suffices, else central.

        Parameters
        ----------
        v : (n, 3) float array
        accuracy : float
            Relative error that may be made.

        Returns
        -------
        (n, 3) float array
            eV/Å² times the unit of `v`; zero at frozen components.
        """
        return self.one_sided(v) if self.one_sided_error <= accuracy else self.central(v)

    def one_sided(self, v: FloatArray, step: float = ONE_SIDED_STEP) -> FloatArray:
        """[F(X) - F(X + εv)]/ε with max|εv| = step. One force evaluation."""
        scale = self._scale(v, step)
        return (self.reference_forces - self.engine.forces(scale * v)) / scale

    def central(self, v: FloatArray, step: float = CENTRAL_STEP) -> FloatArray:
        """[F(X - εv) - F(X + εv)]/2ε with max|εv| = step. Two force evaluations."""
        scale = self._scale(v, step)
        return (self.engine.forces(-scale * v) - self.engine.forces(scale * v)) / (2 * scale)

    def calibrate(self, v: FloatArray) -> FloatArray:
        """H v from one-sided products with a single and a doubled step; measures `one_sided_error`.

        The truncation error of a one-sided product is linear in the step, so the difference of the two estimates it,
        and their extrapolation is free of it. Two force evaluations.
        """
        single, double = self.one_sided(v), self.one_sided(v, 2 * ONE_SIDED_STEP)
        self.one_sided_error = self.engine.norm(double - single) / self.engine.norm(single)
        return 2 * single - double

    def _scale(self, v: FloatArray, step: float) -> float:
        largest = self.engine.max_abs(v)
        return step / largest if largest > 0 else 1.0


class MixedDerivative:
    """C = -∂F/∂Θ at the engine's reference, (3N, P), restricted to free components.

    C equals the descriptors' gradients ∂B/∂X = ∂²U/∂X∂Θ wherever LAMMPS' forces are the gradient of its energy. Along
    the potential's few inconsistent directions, if any, it is measured: one force evaluation a direction.

    Kept as an array where it fits `MIXED_MEMORY`, exact; otherwise its products are formed by installing Θ + δΘ, and by
    differences of descriptor sums.
    """

    def __init__(self, engine: Engine, potential: Potential, hessian: Hessian) -> None:
        self.engine = engine
        self.potential = potential
        self.hessian = hessian
        self.odd = potential.inconsistent_directions()
        self._array: FloatArray | None = None
        self._gradients: FloatArray | None = None
        bytes_needed = engine.max(8.0 * 3 * len(engine.ids) * len(potential.theta))
        self.fits = bytes_needed <= MIXED_MEMORY

    @property
    def gradients(self) -> FloatArray:
        """∂B/∂X as an (n, 3, P) array, whatever its size. One descriptor evaluation."""
        if self._gradients is None:
            self.engine.return_to_reference()
            self._gradients = self.potential.descriptor_gradients(self.engine) * self.engine.free[:, :, None]
        return self._gradients

    @property
    def array(self) -> FloatArray:
        """C as an (n, 3, P) array, whatever its size."""
        if self._array is None:
            array = self.gradients
            if self.odd.size:
                measured = np.stack(list(self._installed_products(self.odd.T)), axis=2)
                array = array + (measured - array @ self.odd) @ self.odd.T
            self._array = array
        return self._array

    def prepare(self) -> None:
        """Evaluate what `transposed_times` will need now: cheapest while LAMMPS stands at the reference."""
        if self.fits:
            _ = self.array

    def times(self, dtheta: FloatArray) -> FloatArray:
        """C δΘ, (n, 3)."""
        if self._array is not None or (self.fits and not (self.odd.T @ dtheta).any()):
            return (self.gradients if self._array is None else self._array) @ dtheta
        # Exact for a linear potential at any length of δΘ; the fixed part of the potential cancels.
        [product] = self._installed_products(dtheta[None])
        return product

    def transposed_times(self, vector: FloatArray) -> FloatArray:
        """Cᵀ v, (P,)."""
        if self.fits:
            return np.asarray(self.engine.sum(np.einsum("nap,na->p", self.array, vector)))
        product = self._transposed_gradients(vector)
        if self.odd.size:
            measured = [self.engine.dot(change, vector) for change in self._installed_products(self.odd.T)]
            product = product + self.odd @ (np.array(measured) - self.odd.T @ product)
        return product

    def _transposed_gradients(self, vector: FloatArray) -> FloatArray:
        """(∂B/∂X)ᵀ v, (P,), by central differences of descriptors along v."""
        largest = self.engine.max_abs(vector)
        if largest == 0:
            return np.zeros(len(self.potential.theta))
        scale = CENTRAL_STEP / largest
        ahead = self._descriptors(scale * vector)
        # Atom by atom before summing: the sums are large and cancel.
        difference = (ahead - self._descriptors(-scale * vector)) / (2 * scale)
        return self.potential.sum_descriptors(self.engine, difference)

    def _installed_products(self, directions: FloatArray) -> Iterator[FloatArray]:
        """C δΘ for each row of `directions`, by installing Θ + δΘ; one force evaluation each, one to come back."""
        for direction in directions:
            yield self.hessian.reference_forces - self.potential.install(self.engine, direction)
        self.potential.install(self.engine, np.zeros(len(self.potential.theta)))

    def gram(self) -> FloatArray:
        """CᵀC, (P, P)."""
        flat = self.array.reshape(-1, self.array.shape[2])
        return np.asarray(self.engine.sum(flat.T @ flat))

    def _descriptors(self, displacement: FloatArray) -> FloatArray:
        self.engine.forces(displacement)
        return self.potential.atom_descriptors(self.engine)
