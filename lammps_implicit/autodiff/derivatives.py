"""Exact, matrix-free derivatives of a JAX energy U(x, h, Θ) by automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lammps_implicit.arrays import BoolArray, FloatArray
from lammps_implicit.cell.freedom import Coupling, StrainFreedom, driving_force
from lammps_implicit.cell.voigt import components
from lammps_implicit.operators.gram import gram
from lammps_implicit.progress import Progress, no_progress

Energy = Callable[..., Any]


class Derivatives:
    """Compiled derivatives of an energy U(x, h, Θ, neighbours).

    Positions and cell are taken under an upper triangular strain ε: x₀ + (1 + ε)(x - x₀) and h(1 + ε)ᵀ. Each derivative
    is compiled once for every shape of its arguments, at its first call.

    Parameters
    ----------
    energy : callable
        U(positions (N, 3), cell (3, 3), parameters (P,), neighbours), a scalar.
    """

    def __init__(self, energy: Energy) -> None:
        def strained(x: Any, strain: Any, theta: Any, h: Any, origin: Any, neighbours: Any) -> Any:
            deformation = (jnp.eye(3) + strain).T
            return energy(origin + (x - origin) @ deformation, h @ deformation, theta, neighbours)

        gradients, by_positions, by_theta = jax.grad(strained, (0, 1)), jax.grad(strained, 0), jax.grad(strained, 2)

        def tangent(x: Any, strain: Any, theta: Any, change: Any, *fixed: Any) -> Any:
            return jax.jvp(lambda *y: gradients(*y, *fixed), (x, strain, theta), change)[1]

        def second_tangent(x: Any, strain: Any, theta: Any, first: Any, second: Any, *fixed: Any) -> Any:
            return jax.jvp(lambda *y: tangent(*y, second, *fixed), (x, strain, theta), first)[1]

        def product(x: Any, strain: Any, theta: Any, v: Any, *fixed: Any) -> Any:
            return jax.jvp(lambda y: by_positions(y, strain, theta, *fixed), (x,), (v,))[1]

        def mixed(x: Any, strain: Any, theta: Any, dtheta: Any, *fixed: Any) -> Any:
            return jax.jvp(lambda y: by_positions(x, strain, y, *fixed), (theta,), (dtheta,))[1]

        def mixed_transposed(x: Any, strain: Any, theta: Any, v: Any, dstrain: Any, *fixed: Any) -> Any:
            return jax.jvp(lambda *y: by_theta(*y, theta, *fixed), (x, strain), (v, dstrain))[1]

        def theta_curvature(x: Any, strain: Any, theta: Any, v: Any, *fixed: Any) -> Any:
            def slope(y: Any) -> Any:
                return jax.jvp(lambda z: by_theta(z, strain, theta, *fixed), (y,), (v,))[1]

            return jax.jvp(slope, (x,), (v,))[1]

        self.value_and_slope = jax.jit(jax.value_and_grad(strained, (0, 1)))
        """U, and its gradients with respect to positions and strain."""
        self.tangent = jax.jit(tangent)
        """Derivative of these two gradients along (δx, δε, δΘ)."""
        self.second_tangent = jax.jit(second_tangent)
        """Second derivative of these two gradients, along two such changes."""
        self.product = jax.jit(product)
        """H v."""
        self.mixed = jax.jit(mixed)
        """C δΘ."""
        self.mixed_transposed = jax.jit(mixed_transposed)
        """Cᵀ v + Dᵀ δε, with D = ∂²U/∂ε∂Θ."""
        self.theta_gradient = jax.jit(by_theta)
        """∂U/∂Θ."""
        self.theta_curvature = jax.jit(theta_curvature)
        """Second derivative of ∂U/∂Θ along v: ∂(vᵀHv)/∂Θ."""
        self.theta_hessian = jax.jit(jax.jacfwd(by_theta, 2))
        """∂²U/∂Θ² at fixed positions."""


class DifferentiableEvaluator(Protocol):
    """What `ExactMixedDerivative` needs of an evaluator."""

    derivatives: Derivatives
    positions: FloatArray
    free: BoolArray

    @property
    def volume(self) -> float:
        """Volume of the cell."""
        ...

    @property
    def pressure(self) -> FloatArray:
        """Pressure tensor, (3, 3), energy per volume."""
        ...

    def apply(self, derivative: Callable[..., Any], *arguments: Any, count: int = 2) -> Any:
        """Evaluate a derivative at the reference, counted as `count` force evaluations."""
        ...

    def sum(self, value: Any) -> Any:
        """Sum over all ranks."""
        ...


@dataclass
class ExactMixedDerivative:
    """Exact C = ∂²U/∂X∂Θ at the evaluator's reference; implements `operators.interface.MixedDerivative`.

    Attributes
    ----------
    engine : DifferentiableEvaluator
    theta : (P,) float array
        Parameters at the reference.
    """

    engine: DifferentiableEvaluator
    theta: FloatArray

    def __post_init__(self) -> None:
        self.odd = np.zeros((len(self.theta), 0))
        self.differenced = False
        self._array: FloatArray | None = None

    def prepare(self, progress: Progress = no_progress) -> None:
        """Do nothing: no product needs preparation."""

    def to_array(self) -> FloatArray:
        """C as an (n, 3, P) array; the first call costs two force evaluations per parameter."""
        if self._array is None:
            self._array = np.stack([self.times(unit) for unit in np.eye(len(self.theta))], axis=2)
        return self._array

    gradients_array = to_array

    def times(self, dtheta: FloatArray) -> FloatArray:
        """C δΘ, (n, 3)."""
        return self.engine.apply(self.engine.derivatives.mixed, dtheta) * self.engine.free

    def transposed_times(self, vector: FloatArray) -> FloatArray:
        """Cᵀ v, (P,)."""
        return self.engine.apply(self.engine.derivatives.mixed_transposed, vector * self.engine.free, np.zeros((3, 3)))

    gradients_transposed_times = transposed_times

    def gram(self) -> FloatArray:
        """CᵀC, (P, P)."""
        return gram(self.to_array(), self.engine.sum)

    def energy_gradient(self) -> FloatArray:
        """∂U/∂Θ, (P,)."""
        return self.engine.apply(self.engine.derivatives.theta_gradient)

    def bare_second_derivative(self) -> FloatArray:
        """∂²U/∂Θ² at fixed positions, (P, P)."""
        return self.engine.apply(self.engine.derivatives.theta_hessian, count=2 * len(self.theta))

    collects = False

    def collect(self) -> FloatArray:
        """An empty array: see `curvatures`."""
        return np.zeros(0)

    def summed(self, collected: FloatArray) -> FloatArray:
        """Nothing: see `curvatures`."""
        return np.zeros(len(self.theta))

    def curvatures(self, steps: Sequence[FloatArray]) -> FloatArray:
        """Exact ∂(sᵀHs)/∂Θ, (p, P); four force evaluations each."""
        derivative = self.engine.derivatives.theta_curvature
        found = [self.engine.apply(derivative, step * self.engine.free, count=4) for step in steps]
        return np.array(found).reshape(-1, len(self.theta))

    def coupling(self, freedom: StrainFreedom, steps: Sequence[float] = ()) -> Coupling:
        """Exact strain derivatives at the reference: see `cell.freedom.Coupling`."""
        engine, volume = self.engine, self.engine.volume
        no_displacement, no_change = np.zeros_like(engine.positions), np.zeros_like(self.theta)
        forces, stiffness, mixed = [], [], []
        for strain in freedom.tensors():
            by_positions, by_strain = engine.apply(engine.derivatives.tangent, (no_displacement, strain, no_change))
            forces.append(by_positions * engine.free)
            stiffness.append(components(by_strain + _work_curvature(strain, freedom.target, volume)))
            mixed.append(engine.apply(engine.derivatives.mixed_transposed, no_displacement, strain))
        residual = freedom.basis.T @ driving_force(volume, engine.pressure, np.zeros((3, 3)), freedom.target)
        curvature = freedom.basis.T @ np.stack(stiffness, axis=1)
        return Coupling(freedom, np.stack(forces, axis=2), curvature, np.array(mixed), np.array(mixed), residual, 0.0)


def _work_curvature(strain: FloatArray, target: FloatArray, volume: float) -> FloatArray:
    """Derivative of V T F⁻ᵀ, F = 1 + ε, at ε = 0 along a strain, (3, 3), where T is the applied pressure tensor."""
    return volume * target @ (np.trace(strain) * np.eye(3) - strain.T)
