"""Exact derivatives of a JAX energy U(x, h, Θ), by automatic differentiation; no matrix is formed."""

from __future__ import annotations

from collections.abc import Callable
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
    """Compiled derivatives of an energy U(x, h, Θ, neighbours), each once for each shape of its arguments.

    Positions and cell are those under an upper triangular strain ε: x₀ + (1 + ε)(x - x₀), h(1 + ε)ᵀ.

    Parameters
    ----------
    energy : callable
        (positions (N, 3), cell (3, 3), parameters (P,), neighbours) to a number.
    """

    def __init__(self, energy: Energy) -> None:
        def strained(x: Any, strain: Any, theta: Any, h: Any, origin: Any, neighbours: Any) -> Any:
            deform = (jnp.eye(3) + strain).T
            return energy(origin + (x - origin) @ deform, h @ deform, theta, neighbours)

        slope, pull, drive = jax.grad(strained, (0, 1)), jax.grad(strained, 0), jax.grad(strained, 2)

        def along(x: Any, strain: Any, theta: Any, way: Any, *fixed: Any) -> Any:
            return jax.jvp(lambda *y: slope(*y, *fixed), (x, strain, theta), way)[1]

        def twice(x: Any, strain: Any, theta: Any, first: Any, second: Any, *fixed: Any) -> Any:
            return jax.jvp(lambda *y: along(*y, second, *fixed), (x, strain, theta), first)[1]

        def product(x: Any, strain: Any, theta: Any, v: Any, *fixed: Any) -> Any:
            return jax.jvp(lambda y: pull(y, strain, theta, *fixed), (x,), (v,))[1]

        def mixed(x: Any, strain: Any, theta: Any, dtheta: Any, *fixed: Any) -> Any:
            return jax.jvp(lambda y: pull(x, strain, y, *fixed), (theta,), (dtheta,))[1]

        def transposed(x: Any, strain: Any, theta: Any, v: Any, dstrain: Any, *fixed: Any) -> Any:
            return jax.jvp(lambda *y: drive(*y, theta, *fixed), (x, strain), (v, dstrain))[1]

        self.value_and_slope = jax.jit(jax.value_and_grad(strained, (0, 1)))
        """U, and its gradients by positions and strain."""
        self.along = jax.jit(along)
        """Derivative of those gradients along a way (δx, δε, δΘ)."""
        self.twice = jax.jit(twice)
        """Their second derivative, along two ways."""
        self.product = jax.jit(product)
        """H v."""
        self.mixed = jax.jit(mixed)
        """C δΘ."""
        self.transposed = jax.jit(transposed)
        """Cᵀ v + Dᵀ δε."""
        self.drive = jax.jit(drive)
        """∂U/∂Θ."""
        self.bare = jax.jit(jax.jacfwd(drive, 2))
        """∂²U/∂Θ²."""


class Differentiated(Protocol):
    """What `ExactMixedDerivative` needs of an evaluator, besides what all have."""

    derivatives: Derivatives
    positions: FloatArray
    free: BoolArray

    @property
    def volume(self) -> float:
        """Of the cell."""
        ...

    @property
    def pressure(self) -> FloatArray:
        """(3, 3), energy per volume."""
        ...

    def apply(self, derivative: Callable[..., Any], *way: Any, count: int = 2) -> Any:
        """A derivative at the reference."""
        ...

    def sum(self, value: Any) -> Any:
        """Sum over all ranks."""
        ...


@dataclass
class ExactMixedDerivative:
    """C = ∂²U/∂X∂Θ at the engine's reference: see `operators.MixedDerivative`."""

    engine: Differentiated
    theta: FloatArray

    def __post_init__(self) -> None:
        self.odd = np.zeros((len(self.theta), 0))
        self._array: FloatArray | None = None

    def prepare(self, progress: Progress = no_progress) -> None:
        """Nothing is to be prepared."""

    def to_array(self) -> FloatArray:
        """C as an (n, 3, P) array; two force evaluations a parameter at the first call."""
        if self._array is None:
            self._array = np.stack([self.times(unit) for unit in np.eye(len(self.theta))], axis=2)
        return self._array

    gradients_array = to_array

    def times(self, dtheta: FloatArray) -> FloatArray:
        """C δΘ, (n, 3)."""
        return self.engine.apply(self.engine.derivatives.mixed, dtheta) * self.engine.free

    def transposed_times(self, vector: FloatArray) -> FloatArray:
        """Cᵀ v, (P,)."""
        return self.engine.apply(self.engine.derivatives.transposed, vector * self.engine.free, np.zeros((3, 3)))

    gradients_transposed_times = transposed_times

    def gram(self) -> FloatArray:
        """CᵀC, (P, P)."""
        return gram(self.to_array(), self.engine.sum)

    def energy_gradient(self) -> FloatArray:
        """∂U/∂Θ, (P,)."""
        return self.engine.apply(self.engine.derivatives.drive)

    def bare_second_derivative(self) -> FloatArray:
        """∂²U/∂Θ² at fixed positions, (P, P)."""
        return self.engine.apply(self.engine.derivatives.bare, count=2 * len(self.theta))

    def coupling(self, freedom: StrainFreedom) -> Coupling:
        """Derivatives under strain, exact: see `cell.Coupling`."""
        engine, volume = self.engine, self.engine.volume
        still, nowhere = np.zeros_like(engine.positions), np.zeros_like(self.theta)
        forces, stiffness, mixed = [], [], []
        for strain in freedom.tensors():
            pull, drive = engine.apply(engine.derivatives.along, (still, strain, nowhere))
            forces.append(pull * engine.free)
            stiffness.append(components(drive + curvature_of_volume(strain, freedom.target, volume)))
            mixed.append(engine.apply(engine.derivatives.transposed, still, strain))
        residual = freedom.basis.T @ driving_force(volume, engine.pressure, np.zeros((3, 3)), freedom.target)
        bend = freedom.basis.T @ np.stack(stiffness, axis=1)
        return Coupling(freedom, np.stack(forces, axis=2), bend, np.array(mixed), np.array(mixed), residual)


def curvature_of_volume(strain: FloatArray, target: FloatArray, volume: float) -> FloatArray:
    """Derivative of V T F⁻ᵀ, F = 1 + ε at ε = 0, along a strain, (3, 3): work done against what holds the cell."""
    return volume * target @ (np.trace(strain) * np.eye(3) - strain.T)
