"""Hessian and mixed derivative as operators on displacements, by differences of LAMMPS forces.

A difference over a step of h Å makes two errors: the curvature of the forces, a h for one-sided and about 4a² h² for
central ones, and round-off, σ/h, relative to the product. σ comes from positions above all: a coordinate of 300 Å is a
multiple of 6e-14 Å, and forces answer to that with the stiffness of the crystal. In a small cell one-sided products
with 1e-7 Å are good to 5e-7 and central ones with 1e-5 Å to 1e-9; in a million atoms a displacement that is large on a
few atoms only drowns there in the noise of all the others, and steps must be longer.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.engine import Engine
from lammps_implicit.potentials import DescriptorPotential
from lammps_implicit.voigt import components

FloatArray = NDArray[np.float64]

ONE_SIDED_STEP = 1e-7
"""Å; the step of `Hessian.one_sided`, and the least that `Hessian.product` takes."""

CENTRAL_STEP = 1e-5
"""Å; the step of `Hessian.central`, and the least that `Hessian.product` takes."""

LONGEST_STEP = 1e-3
"""Å."""

ROUND_OFF_LENGTH = 16.0
"""Å; coordinates below it do not reduce round-off further: that of the forces themselves remains."""

MIXED_MEMORY = 2**30
"""Bytes a rank may spend on ∂B/∂X; above, products with C = ∂²U/∂X∂Θ are differenced."""


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
        Relative error of one-sided products of a random vector, measured by `calibrate`; infinite before.
    excess : float
        Root of the sum of squares of the estimated errors of all products, each in units of what it was allowed.
    """

    def __init__(self, engine: Engine, forces: FloatArray) -> None:
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


class MixedDerivative:
    """C = -∂F/∂Θ at the engine's reference, (3N, P), restricted to free components.

    C equals the descriptors' gradients ∂B/∂X = ∂²U/∂X∂Θ wherever LAMMPS' forces are the gradient of its energy. Along
    the potential's few inconsistent directions, if any, it is measured: one force evaluation a direction.

    ∂B/∂X stays in the memory that LAMMPS evaluates it into, where that is at most `MIXED_MEMORY`; otherwise products
    are formed by installing Θ + δΘ, and by differences of descriptor sums.
    """

    def __init__(self, engine: Engine, potential: DescriptorPotential, hessian: Hessian) -> None:
        self.engine = engine
        self.potential = potential
        self.hessian = hessian
        self.odd = potential.inconsistent_directions()
        self._gradients: FloatArray | None = None
        self._computed: dict[str, int] = {}
        self._odd_products: FloatArray | None = None
        self._odd_pressures = np.zeros((0, 3, 3))
        self._gradient_array: FloatArray | None = None
        self._array: FloatArray | None = None
        self.fits = engine.max(float(potential.gradient_bytes(len(engine.ids)))) <= MIXED_MEMORY

    def prepare(self) -> None:
        """Evaluate what `transposed_times` will need now: cheapest while LAMMPS stands at the reference."""
        if self.fits:
            self._evaluate()
            if self.odd.size:
                _ = self._odd_differences

    @property
    def gradients(self) -> FloatArray:
        """∂B/∂X as an (n, 3, P) array, whatever its size. One descriptor evaluation."""
        if self._gradient_array is None:
            self._gradient_array = self.potential.gradients_array(self._evaluate()) * self.engine.free[:, :, None]
        return self._gradient_array

    @property
    def array(self) -> FloatArray:
        """C as an (n, 3, P) array, whatever its size."""
        if self._array is None:
            self._array = self.gradients
            if self.odd.size:
                self._array = self._array + self._odd_differences @ self.odd.T
        return self._array

    def times(self, dtheta: FloatArray) -> FloatArray:
        """C δΘ, (n, 3)."""
        parts = self.odd.T @ dtheta
        if self.fits and (self._odd_products is not None or not parts.any()):
            product = self.potential.gradients_times(self._evaluate(), dtheta) * self.engine.free
            return product + self._odd_differences @ parts if parts.any() else product
        # Exact for a linear potential at any length of δΘ; the fixed part of the potential cancels.
        [product] = self._installed_products(dtheta[None])
        return product

    def transposed_times(self, vector: FloatArray) -> FloatArray:
        """Cᵀ v, (P,)."""
        if self.fits:
            vector = vector * self.engine.free
            product = self.potential.gradients_transposed_times(self._evaluate(), vector)
            if self.odd.size:
                product = product + self.odd @ np.einsum("nam,na->m", self._odd_differences, vector)
            return np.asarray(self.engine.sum(product))
        product = self._transposed_differences(vector)
        if self.odd.size:
            measured = [self.engine.dot(change, vector) for change in self._installed_products(self.odd.T)]
            product = product + self.odd @ (np.array(measured) - self.odd.T @ product)
        return product

    def gradients_transposed_times(self, vector: FloatArray) -> FloatArray:
        """(∂B/∂X)ᵀ v, (P,): that of the energy, which differs from Cᵀ v along inconsistent directions."""
        product = self.potential.gradients_transposed_times(self._evaluate(), vector * self.engine.free)
        return np.asarray(self.engine.sum(product))

    def gram(self) -> FloatArray:
        """CᵀC, (P, P)."""
        flat = self.array.reshape(-1, self.array.shape[2])
        return np.asarray(self.engine.sum(flat.T @ flat))

    def energy_gradient(self) -> FloatArray:
        """∂U/∂Θ = B, (P,): descriptor sums, numbers of atoms at the constant terms."""
        self.engine.return_to_reference()
        atoms = self.potential.atom_descriptors(self.engine)
        return self.potential.sum_descriptors(self.engine, atoms) + self.potential.counts(self.engine)

    def bare_second_derivative(self) -> FloatArray:
        """∂²U/∂Θ² at fixed positions: U is linear in Θ."""
        return np.zeros((len(self.potential.theta),) * 2)

    def collect(self) -> FloatArray:
        """Descriptors of each atom at the strained state where LAMMPS stands, for `under_strain`."""
        return self.potential.atom_descriptors(self.engine).copy()

    def under_strain(self, basis: FloatArray, changes: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
        """D = ∂²U/∂e∂Θ, (k, P): that of LAMMPS' pressure, and that of its energy.

        Parameters
        ----------
        basis : (6, k) float array
            Strains.
        changes : list of arrays
            Of what `collect` gave, by a unit of each strain: atom by atom, as the sums are large and cancel.
        """
        derivative = energetic = np.array([self.potential.sum_descriptors(self.engine, change) for change in changes])
        if self.odd.size:
            # Along these the cell follows LAMMPS' pressure, which is not the derivative of its energy.
            measured = np.array([-self.engine.volume * components(change) for change in self.odd_pressures])
            derivative = derivative + (basis.T @ measured.T - derivative @ self.odd) @ self.odd.T
        return derivative, energetic

    def _evaluate(self) -> FloatArray:
        """∂B/∂X at the reference as LAMMPS holds it."""
        computed = dict(self.engine.computed)
        if self._gradients is None or any(computed[id] != count for id, count in self._computed.items()):
            self.engine.return_to_reference()
            self._gradients = self.potential.gradients(self.engine)
            # It is LAMMPS' own memory: void once whatever was evaluated for it is evaluated again.
            changed = {id: count for id, count in self.engine.computed.items() if count != computed.get(id)}
            self._computed = changed
        return self._gradients

    @property
    def _odd_differences(self) -> FloatArray:
        """(C - ∂B/∂X) along the inconsistent directions, (n, 3, m)."""
        if self._odd_products is None:
            gradients = self._evaluate()
            measured = [np.zeros((*self.engine.positions.shape, 0))]
            pressures = []
            for direction, change in zip(self.odd.T, self._installed_products(self.odd.T), strict=True):
                pressures.append(self.engine.pressure)
                expected = self.potential.gradients_times(gradients, direction) * self.engine.free
                measured.append((change - expected)[:, :, None])
            self._odd_products = np.concatenate(measured, axis=2)
            self._odd_pressures = np.array(pressures).reshape(-1, 3, 3) - self.engine.pressure
        return self._odd_products

    @property
    def odd_pressures(self) -> FloatArray:
        """Change of the pressure tensor for a unit along each inconsistent direction, (m, 3, 3), eV/Å³."""
        _ = self._odd_differences
        return self._odd_pressures

    def _transposed_differences(self, vector: FloatArray) -> FloatArray:
        """(∂B/∂X)ᵀ v, (P,), by central differences of descriptors along v."""
        largest = self.engine.max_abs(vector)
        if largest == 0:
            return np.zeros(len(self.potential.theta))
        scale = CENTRAL_STEP / largest
        self.engine.forces(scale * vector)
        ahead = self.potential.atom_descriptors(self.engine).copy()
        self.engine.forces(-scale * vector)
        # Atom by atom before summing: the sums are large and cancel.
        difference = (ahead - self.potential.atom_descriptors(self.engine)) / (2 * scale)
        return self.potential.sum_descriptors(self.engine, difference)

    def _installed_products(self, directions: FloatArray) -> Iterator[FloatArray]:
        """C δΘ for each row of `directions`, by installing Θ + δΘ; one force evaluation each, one to come back."""
        for direction in directions:
            yield self.hessian.reference_forces - self.potential.install(self.engine, direction)
        self.potential.install(self.engine, np.zeros(len(self.potential.theta)))
