"""Mixed derivative of potentials without descriptors: C column by column, from a sweep over the parameters."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import Coupling, StrainFreedom
from lammps_implicit.cell.voigt import components
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.operators.coupling import STRAIN_STEPS, measure_coupling
from lammps_implicit.operators.gram import gram
from lammps_implicit.operators.interface import Hessian, Swept
from lammps_implicit.operators.sweep import (
    MANY,
    Install,
    Sweep,
    bare_evaluations,
    bare_second_derivative,
    require_smooth,
    sweep_curvatures,
    sweep_parameters,
)
from lammps_implicit.operators.trial_parameters import trial_parameters
from lammps_implicit.progress import Progress, no_progress


class SweptDerivative:
    """C = ∂²U/∂X∂Θ at the engine's reference: see `operators.interface.MixedDerivative`.

    One sweep over all parameters serves every product and the gradients of energy and pressure. Before it, a product C
    δΘ costs three force evaluations and no sweep, or five if U is not linear in the parameters and the step is checked.

    Parameters
    ----------
    engine : Evaluator
        At its reference.
    potential : Swept
    hessian : Hessian
        Holds the forces at the reference.

    Attributes
    ----------
    odd : (P, 0) float array
        No direction is inconsistent: C comes from the forces themselves.
    differenced : bool
        False: Cᵀ v is a product with the C that was swept.
    """

    differenced = False

    def __init__(self, engine: Evaluator, potential: Swept, hessian: Hessian) -> None:
        self.engine = engine
        self.potential = potential
        self.hessian = hessian
        self.odd = np.zeros((len(potential.theta), 0))
        self._sweep: Sweep | None = None
        self._bare: FloatArray | None = None

    def sweep(self, progress: Progress = no_progress) -> Sweep:
        """Derivatives with respect to every parameter, measured at the first call: see `sweep_parameters`."""
        if self._sweep is None:
            self._sweep = sweep_parameters(self.potential, self.engine, self.hessian.reference_forces, progress)
        return self._sweep

    def prepare(self, progress: Progress = no_progress) -> None:
        """Sweep now: cheapest while LAMMPS is at the reference."""
        self.sweep(progress)

    def to_array(self) -> FloatArray:
        """C as an (n, 3, P) array, eV/Å per unit of each parameter."""
        return self.sweep().forces

    gradients_array = to_array

    def times(self, dtheta: FloatArray) -> FloatArray:
        """C δΘ, (n, 3), eV/Å."""
        if not dtheta.any():
            return np.zeros_like(self.engine.positions)
        if self._sweep is not None:
            return self._sweep.forces @ dtheta
        # Along δΘ itself, scaled so that no parameter changes by more than its own step.
        scale = 1.0 / float((np.abs(dtheta) / self.potential.steps()).max())
        with trial_parameters(self.potential, self.engine) as install:
            change = _along(install, scale * dtheta)
            if not self.potential.linear[dtheta != 0].all():
                require_smooth(self.engine, _along(install, 2 * scale * dtheta) / 2, change)
        return change / scale

    def transposed_times(self, vector: FloatArray) -> FloatArray:
        """Cᵀ v, (P,), for v of shape (n, 3)."""
        product = np.einsum("nap,na->p", self.sweep().forces, self.engine.constrain(vector))
        return np.asarray(self.engine.sum(product))

    gradients_transposed_times = transposed_times

    def gram(self) -> FloatArray:
        """CᵀC, (P, P)."""
        return gram(self.to_array(), self.engine.sum)

    def energy_gradient(self) -> FloatArray:
        """∂U/∂Θ, (P,), eV per unit of each parameter."""
        return self.sweep().energies

    @property
    def bare_evaluations(self) -> int:
        """Force evaluations that `bare_second_derivative` will cost."""
        return 0 if self._bare is not None else bare_evaluations(self.potential.linear)

    def bare_second_derivative(self) -> FloatArray:
        """∂²U/∂Θ² at fixed positions, (P, P), measured at the first call: see `sweep.bare_second_derivative`."""
        if self._bare is None:
            expected = self.bare_evaluations
            if expected > MANY and self.engine.comm.rank == 0:
                warnings.warn(
                    f"second derivatives of the energy by {len(self.potential.theta)} parameters take {expected:,} "
                    "force evaluations; '--parameters' chooses fewer",
                    stacklevel=3,
                )
            self._bare = bare_second_derivative(self.potential, self.engine)
        return self._bare

    def coupling(self, freedom: StrainFreedom, steps: Sequence[float] = STRAIN_STEPS) -> Coupling:
        """Derivatives with respect to strain: see `measure_coupling`."""
        return measure_coupling(self, freedom, steps)

    collects = False

    def collect(self) -> FloatArray:
        """An empty array: `under_strain` uses ∂P/∂Θ at the reference, and nothing of strained states."""
        return np.zeros(0)

    def summed(self, collected: FloatArray) -> FloatArray:
        """Nothing: see `curvatures`."""
        return np.zeros(len(self.potential.theta))

    def curvatures(self, steps: Sequence[FloatArray]) -> FloatArray:
        """∂(sᵀHs)/∂Θ, (p, P), from forces: see `sweep_curvatures`."""
        directions = np.diag(self.potential.steps())
        return sweep_curvatures(self.potential, self.engine, steps, directions, self.potential.linear) / (
            self.potential.steps()
        )

    def under_strain(self, basis: FloatArray, changes: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
        """D = ∂²U/∂e∂Θ = -V bᵀ ∂P/∂Θ, (k, P), twice: from the pressure and from the energy it is the same."""
        measured = np.array([-self.engine.volume * components(change) for change in self.sweep().pressures])
        derivative = basis.T @ measured.T
        return derivative, derivative


def _along(install: Install, step: FloatArray) -> FloatArray:
    """C times a step, (n, 3), from the central difference over it."""
    up, down = (install(sign * step) for sign in (1, -1))
    return (down - up) / 2
