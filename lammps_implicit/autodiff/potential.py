"""Parameters of a JAX energy, with an exact mixed derivative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lammps_implicit.autodiff.derivatives import ExactMixedDerivative
from lammps_implicit.operators.interface import Hessian, MixedDerivative
from lammps_implicit.potentials.plain import PlainPotential


@dataclass(frozen=True)
class AutodiffPotential(PlainPotential):
    """Parameters of a JAX energy, all of them selected."""

    def mixed_derivative(self, engine: Any, hessian: Hessian) -> MixedDerivative:
        """C at the engine's reference, exact."""
        return ExactMixedDerivative(engine, self.theta)
