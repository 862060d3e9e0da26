"""Mixed derivative of potentials without descriptors: C column by column, from installing every parameter."""

from __future__ import annotations

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import Coupling, StrainFreedom
from lammps_implicit.cell.voigt import components
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.operators.coupling import measure_coupling
from lammps_implicit.operators.interface import Hessian, Swept
from lammps_implicit.operators.sweep import Sweep, bare_second_derivative, require_smooth, sweep
from lammps_implicit.progress import Progress, no_progress


class SweptDerivative:
    """C = ∂²U/∂X∂Θ at the engine's reference, with the interface of `operators.MixedDerivative`.

    One sweep over all parameters serves every product, the energy's gradient, and that of the pressure. A product
    along one direction that comes before it takes three evaluations and no sweep, five where it is checked.

    Parameters
    ----------
    engine : Engine
    potential : Swept
    hessian : Hessian
        For the forces at the reference.
    """

    def __init__(self, engine: Engine, potential: Swept, hessian: Hessian) -> None:
        self.engine = engine
        self.potential = potential
        self.hessian = hessian
        self.odd = np.zeros((len(potential.theta), 0))
        self._sweep: Sweep | None = None
        self._bare: FloatArray | None = None

    @property
    def sweep(self) -> Sweep:
        """Derivatives by every parameter."""
        self.prepare()
        assert self._sweep is not None
        return self._sweep

    def prepare(self, progress: Progress = no_progress) -> None:
        """Sweep now: it is cheapest while LAMMPS stands at the reference."""
        if self._sweep is None:
            self._sweep = sweep(self.potential, self.engine, self.hessian.reference_forces, progress)

    @property
    def array(self) -> FloatArray:
        """C as an (n, 3, P) array."""
        return self.sweep.forces

    gradients = array

    def times(self, dtheta: FloatArray) -> FloatArray:
        """C δΘ, (n, 3)."""
        if self._sweep is not None or not dtheta.any():
            return self.sweep.forces @ dtheta if dtheta.any() else np.zeros_like(self.engine.positions)
        # Along the direction itself, as far as no parameter leaves its own step.
        shares = np.abs(dtheta) / self.potential.steps()
        scale = 1.0 / float(shares.max())
        product = self._along(scale * dtheta) / scale
        if not self.potential.linear[dtheta != 0].all():
            require_smooth(self.engine, self._along(2 * scale * dtheta) / (2 * scale), product)
        self.potential.install(self.engine, np.zeros_like(dtheta))
        return product

    def _along(self, step: FloatArray) -> FloatArray:
        """C times a step, by central differences over it; LAMMPS is left with other parameters."""
        up, down = (self.potential.install(self.engine, sign * step) for sign in (1, -1))
        return (down - up) / 2

    def transposed_times(self, vector: FloatArray) -> FloatArray:
        """Cᵀ v, (P,)."""
        product = np.einsum("nap,na->p", self.sweep.forces, vector * self.engine.free)
        return np.asarray(self.engine.sum(product))

    gradients_transposed_times = transposed_times

    def gram(self) -> FloatArray:
        """CᵀC, (P, P)."""
        flat = self.array.reshape(-1, self.array.shape[2])
        return np.asarray(self.engine.sum(flat.T @ flat))

    def energy_gradient(self) -> FloatArray:
        """∂U/∂Θ, (P,)."""
        return self.sweep.energies

    def bare_second_derivative(self) -> FloatArray:
        """∂²U/∂Θ² at fixed positions, (P, P)."""
        if self._bare is None:
            self._bare = bare_second_derivative(self.potential, self.engine)
        return self._bare

    def coupling(self, freedom: StrainFreedom) -> Coupling:
        """Derivatives under strain, by differences."""
        return measure_coupling(self, freedom)

    def collect(self) -> FloatArray:
        """Nothing is needed of strained states: pressures at the reference tell how stresses depend on Θ."""
        return np.zeros(0)

    def under_strain(self, basis: FloatArray, changes: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
        """D = ∂²U/∂e∂Θ, (k, P), twice: of the pressure, and of the energy."""
        measured = np.array([-self.engine.volume * components(change) for change in self.sweep.pressures])
        derivative = basis.T @ measured.T
        return derivative, derivative
