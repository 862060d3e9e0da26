"""Mixed derivative of potentials that are linear in descriptors which LAMMPS can compute."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import Coupling, StrainFreedom
from lammps_implicit.cell.voigt import components
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.operators.coupling import STRAIN_STEPS, measure_coupling
from lammps_implicit.operators.differenced_hessian import CENTRAL_STEP
from lammps_implicit.operators.gram import gram
from lammps_implicit.operators.interface import Descriptors, Hessian
from lammps_implicit.operators.sweep import sweep_curvatures
from lammps_implicit.operators.trial_parameters import trial_parameters
from lammps_implicit.progress import Progress, no_progress

MIXED_MEMORY = 2**30
"""Bytes that ∂B/∂X may take on each rank; beyond it products with C are formed from differences. Chosen: memory against
a few evaluations per product."""


class DescriptorDerivative:
    """C = -∂F/∂Θ at the engine's reference, (3N, P), restricted to free components.

    C equals the gradient of the descriptors, ∂B/∂X = ∂²U/∂X∂Θ, wherever LAMMPS' forces are minus the gradient of its
    energy. Along the few directions of Θ where they are not (`SnapPotential.inconsistent_directions`) C is measured
    instead, at the cost of one force evaluation per direction.

    If ∂B/∂X takes at most `MIXED_MEMORY` on every rank, it is used where LAMMPS stores it. Otherwise products are
    formed by installing Θ + δΘ and from differences of descriptors.

    Parameters
    ----------
    engine : Engine
        At its reference.
    potential : Descriptors
        The potential, linear in its parameters.
    hessian : Hessian
        Holds the forces at the reference.

    Attributes
    ----------
    odd : (P, m) float array
        Orthonormal directions of Θ along which forces are not minus the gradient of the energy; usually m = 0.
    fits : bool
        Whether ∂B/∂X fits into `MIXED_MEMORY` on every rank.
    """

    def __init__(self, engine: Engine, potential: Descriptors, hessian: Hessian) -> None:
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

    @property
    def differenced(self) -> bool:
        """Whether Cᵀ v is a difference of descriptors along v: if ∂B/∂X does not fit."""
        return not self.fits

    def prepare(self, progress: Progress = no_progress) -> None:
        """Evaluate now what `transposed_times` needs: cheapest while LAMMPS is at the reference."""
        if self.fits:
            self._evaluate()
            if self.odd.size:
                self._odd_differences()

    def gradients_array(self) -> FloatArray:
        """∂B/∂X as an (n, 3, P) array, however large. The first call costs one descriptor evaluation."""
        if self._gradient_array is None:
            self._gradient_array = self.engine.constrain(self.potential.gradients_array(self._evaluate()))
        return self._gradient_array

    def to_array(self) -> FloatArray:
        """C as an (n, 3, P) array, however large. Costs `gradients_array` and one evaluation per `odd` direction."""
        if self._array is None:
            self._array = self.gradients_array()
            if self.odd.size:
                self._array = self._array + self._odd_differences() @ self.odd.T
        return self._array

    def times(self, dtheta: FloatArray) -> FloatArray:
        """C δΘ, (n, 3), eV/Å."""
        parts = self.odd.T @ dtheta
        if self.fits and (self._odd_products is not None or not parts.any()):
            product = self.engine.constrain(self.potential.gradients_times(self._evaluate(), dtheta))
            return product + self._odd_differences() @ parts if parts.any() else product
        # Exact for any length of δΘ, as the potential is linear in Θ; its fixed part cancels.
        with trial_parameters(self.potential, self.engine) as install:
            return self.hessian.reference_forces - install(dtheta)

    def transposed_times(self, vector: FloatArray) -> FloatArray:
        """Cᵀ v, (P,), for v of shape (n, 3)."""
        if self.fits:
            vector = self.engine.constrain(vector)
            product = self.potential.gradients_transposed_times(self._evaluate(), vector)
            if self.odd.size:
                product = product + self.odd @ np.einsum("nam,na->m", self._odd_differences(), vector)
            return np.asarray(self.engine.sum(product))
        product = self._transposed_differences(vector)
        if self.odd.size:
            forces = self.hessian.reference_forces
            with trial_parameters(self.potential, self.engine) as install:
                measured = [self.engine.dot(forces - install(direction), vector) for direction in self.odd.T]
            product = product + self.odd @ (np.array(measured) - self.odd.T @ product)
        return product

    def gradients_transposed_times(self, vector: FloatArray) -> FloatArray:
        """(∂B/∂X)ᵀ v, (P,), from the energy; it differs from Cᵀ v along the `odd` directions."""
        product = self.potential.gradients_transposed_times(self._evaluate(), self.engine.constrain(vector))
        return np.asarray(self.engine.sum(product))

    def gram(self) -> FloatArray:
        """CᵀC, (P, P)."""
        return gram(self.to_array(), self.engine.sum)

    def energy_gradient(self) -> FloatArray:
        """∂U/∂Θ = B, (P,): sums of descriptors; for a constant term, the number of atoms it applies to."""
        self.engine.return_to_reference()
        atoms = self.potential.atom_descriptors(self.engine)
        return self.potential.sum_descriptors(self.engine, atoms) + self.potential.counts(self.engine)

    def bare_second_derivative(self) -> FloatArray:
        """∂²U/∂Θ² at fixed positions, (P, P): zero, as U is linear in Θ."""
        return np.zeros((len(self.potential.theta),) * 2)

    def coupling(self, freedom: StrainFreedom, steps: Sequence[float] = STRAIN_STEPS) -> Coupling:
        """Derivatives with respect to strain: see `measure_coupling`."""
        return measure_coupling(self, freedom, steps)

    collects = True

    def collect(self) -> FloatArray:
        """Per-atom descriptors of the displaced or strained state that LAMMPS is in, (n, K)."""
        return self.potential.atom_descriptors(self.engine)

    def summed(self, collected: FloatArray) -> FloatArray:
        """Sums of descriptors, (P,)."""
        return self.potential.sum_descriptors(self.engine, collected)

    def curvatures(self, steps: Sequence[FloatArray]) -> FloatArray:
        """∂(sᵀHs)/∂Θ along the `odd` directions, (p, m), from forces: see `sweep_curvatures`."""
        linear = np.ones(self.odd.shape[1], bool)
        return sweep_curvatures(self.potential, self.engine, steps, self.odd.T, linear)

    def under_strain(self, basis: FloatArray, changes: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
        """D = ∂²U/∂e∂Θ, from LAMMPS' pressure and from its energy.

        Parameters
        ----------
        basis : (6, k) float array
            Components (xx, yy, zz, yz, xz, xy) of each strain.
        changes : list of (n, K) float arrays
            Derivative of the per-atom descriptors with respect to each strain. They are differenced before they are
            summed because the sums are large and cancel.

        Returns
        -------
        derivative, energetic : (k, P) float arrays
            From the pressure, and from the energy; they differ along the `odd` directions only.
        """
        derivative = energetic = np.array([self.potential.sum_descriptors(self.engine, change) for change in changes])
        if self.odd.size:
            # Along these directions the cell follows LAMMPS' pressure, which is not the derivative of its energy.
            measured = np.array([-self.engine.volume * components(change) for change in self.odd_pressures()])
            derivative = derivative + (basis.T @ measured.T - derivative @ self.odd) @ self.odd.T
        return derivative, energetic

    def _evaluate(self) -> FloatArray:
        """∂B/∂X at the reference, in LAMMPS' own memory and layout."""
        self.engine.require_valid()  # after it has been closed, this memory is no longer there
        computed = dict(self.engine.computed)
        if self._gradients is None or any(computed[id] != count for id, count in self._computed.items()):
            self.engine.return_to_reference()
            self._gradients = self.potential.gradients(self.engine)
            # This is LAMMPS' own memory: invalid as soon as one of the computes it came from runs again.
            changed = {id: count for id, count in self.engine.computed.items() if count != computed.get(id)}
            self._computed = changed
        return self._gradients

    def _odd_differences(self) -> FloatArray:
        """(C - ∂B/∂X) times each `odd` direction, (n, 3, m); the first call costs one evaluation per direction."""
        if self._odd_products is None:
            gradients = self._evaluate()
            measured = [np.zeros((*self.engine.positions.shape, 0))]
            pressures = []
            with trial_parameters(self.potential, self.engine) as install:
                for direction in self.odd.T:
                    change = self.hessian.reference_forces - install(direction)
                    pressures.append(self.engine.pressure)
                    expected = self.engine.constrain(self.potential.gradients_times(gradients, direction))
                    measured.append((change - expected)[:, :, None])
            self._odd_pressures = np.array(pressures).reshape(-1, 3, 3) - self.engine.pressure
            self._odd_products = np.concatenate(measured, axis=2)
        return self._odd_products

    def odd_pressures(self) -> FloatArray:
        """Derivative of the pressure tensor along each `odd` direction, (m, 3, 3), eV/Å³ per unit of Θ."""
        self._odd_differences()
        return self._odd_pressures

    def _transposed_differences(self, vector: FloatArray) -> FloatArray:
        """(∂B/∂X)ᵀ v, (P,), from central differences of the descriptors along v."""
        largest = self.engine.max_abs(vector)
        if largest == 0:
            return np.zeros(len(self.potential.theta))
        scale = CENTRAL_STEP / largest
        self.engine.forces(scale * vector)
        ahead = self.potential.atom_descriptors(self.engine)
        self.engine.forces(-scale * vector)
        # Differences before sums: the sums are large and cancel.
        difference = (ahead - self.potential.atom_descriptors(self.engine)) / (2 * scale)
        return self.potential.sum_descriptors(self.engine, difference)
