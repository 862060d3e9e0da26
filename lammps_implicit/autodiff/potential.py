"""Parameters of a JAX energy: `potentials.Potential` without LAMMPS."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lammps_implicit.arrays import FloatArray
from lammps_implicit.autodiff.derivatives import ExactMixedDerivative
from lammps_implicit.autodiff.evaluator import AutodiffEvaluator
from lammps_implicit.files import written_whole
from lammps_implicit.operators.interface import Hessian


@dataclass(frozen=True)
class AutodiffPotential:
    """Parameters, all of them differentiated.

    Attributes
    ----------
    theta : (P,) float array
    names : tuple of str
    elements : tuple of str or None
        Of each atom type.
    fixed : dict of str to str
    """

    theta: FloatArray
    names: tuple[str, ...]
    elements: tuple[str | None, ...]
    fixed: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All labels and values."""
        return json.dumps(dict(zip(self.names, self.theta.tolist(), strict=True)), indent=0)

    def define(self, engine: AutodiffEvaluator) -> None:
        """There is nothing to define."""

    def mixed_derivative(self, engine: AutodiffEvaluator, hessian: Hessian) -> ExactMixedDerivative:
        """C at the engine's reference."""
        return ExactMixedDerivative(engine, self.theta)

    def install(self, engine: AutodiffEvaluator, dtheta: FloatArray) -> FloatArray:
        """Install Θ + δΘ and return the forces at the reference, (n, 3)."""
        return engine.install(self.theta + dtheta)

    def changed(self, dtheta: FloatArray) -> AutodiffPotential:
        """The same potential with Θ + δΘ."""
        return replace(self, theta=self.theta + dtheta)

    def write(self, stem: Path, comments: Sequence[str], overwrite: bool) -> list[Path]:
        """Write labels and values as ``.json``."""
        path = stem.with_name(f"{stem.name}.json")
        with written_whole(path, overwrite) as temporary:
            told = {"comments": list(comments), "theta": json.loads(self.text)}
            temporary.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        return [path]
