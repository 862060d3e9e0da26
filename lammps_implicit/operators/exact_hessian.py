"""Hessian of evaluators with exact products, such as JAX by forward-over-reverse differentiation."""

from __future__ import annotations

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator


class ExactHessian:
    """H = ∂²U/∂X² at the engine's reference, restricted to free components: see `operators.Hessian`.

    Parameters
    ----------
    engine : Evaluator
        One that is ``exact``, so that it has `Evaluator.hessian_product`.
    forces : (n, 3) float array
        Forces at the reference, eV/Å.
    """

    def __init__(self, engine: Evaluator, forces: FloatArray) -> None:
        self.engine = engine
        self.reference_forces = forces
        self.stiffness = 0.0
        self.excess = 0.0

    def product(self, v: FloatArray, accuracy: float = 0.0, size: float | None = None) -> FloatArray:
        """H v, (n, 3), to round-off whatever accuracy is requested."""
        return self.engine.hessian_product(v * self.engine.free) * self.engine.free

    one_sided = central = measure = second = product

    def calibrate(self, v: FloatArray) -> FloatArray:
        """H v of a random v, (n, 3); measures `stiffness`."""
        product = self.product(v)
        self.stiffness = self.engine.norm(product) / self.engine.norm(v)
        return product
