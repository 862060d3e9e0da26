"""Parameters of a `SerialEvaluator`, which takes them as an array."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import Self

from lammps_implicit.arrays import BoolArray, FloatArray, IntArray
from lammps_implicit.evaluators.serial import SerialEvaluator
from lammps_implicit.operators.interface import Hessian, MixedDerivative
from lammps_implicit.operators.sweep import steps_of
from lammps_implicit.operators.swept_derivative import SweptDerivative
from lammps_implicit.potentials.labels import select
from lammps_implicit.potentials.output import write_together


@dataclass(frozen=True)
class PlainPotential:
    """Parameters of a `SerialEvaluator`, differentiated by installing them one at a time. Create it with `of`.

    Attributes
    ----------
    values : (Q,) float array
        Values of all parameters, ``theta`` of the evaluator.
    labels : tuple of str
        Their labels.
    linear_in : (Q,) bool array
        Whether U is linear in each.
    selected : (P,) int array
        Indices of the parameters that derivatives are taken with respect to.
    elements : tuple of str or None
        Element of each atom type.
    fixed : mapping of str to str
        Further settings of the potential, by name.
    """

    values: FloatArray
    labels: tuple[str, ...]
    linear_in: BoolArray
    selected: IntArray
    elements: tuple[str | None, ...]
    fixed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        parameters: Mapping[str, float],
        elements: Sequence[str | None],
        *,
        linear: Sequence[str] = (),
        patterns: str | Sequence[str] | None = None,
        fixed: Mapping[str, str] | None = None,
    ) -> Self:
        """Create a potential from a mapping of labels to values.

        Parameters
        ----------
        parameters : mapping of str to float
            In the order in which the evaluator takes them.
        elements : sequence of str or None
            Element of each atom type.
        linear : sequence of str
            Labels of parameters in which, jointly, U is linear: their derivatives take one evaluation instead of two.
        patterns : str or sequence of str, optional
            Shell patterns of the labels to differentiate with respect to; default: all.
        fixed : mapping of str to str, optional
            Further settings of the potential, by name.

        Raises
        ------
        PotentialError
            If a pattern matches no label.
        """
        labels = tuple(parameters)
        return cls(
            values=np.array([float(value) for value in parameters.values()]),
            labels=labels,
            linear_in=np.isin(labels, list(linear)),
            selected=np.arange(len(labels)) if patterns is None else select(labels, patterns),
            elements=tuple(elements),
            fixed=dict(fixed or {}),
        )

    @property
    def theta(self) -> FloatArray:
        """Selected parameters, (P,)."""
        return self.values[self.selected]

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of the selected parameters."""
        return tuple(self.labels[index] for index in self.selected)

    @property
    def linear(self) -> BoolArray:
        """Whether U is linear in each selected parameter, (P,)."""
        return np.asarray(self.linear_in[self.selected])

    @property
    def text(self) -> str:
        """All labels and values, as JSON."""
        return json.dumps(dict(zip(self.labels, self.values.tolist(), strict=True)), indent=0)

    def steps(self) -> FloatArray:
        """Steps of the parameters, (P,): see `operators.sweep.steps_of`."""
        return steps_of(self.theta, self.linear, self.names)

    def define(self, engine: SerialEvaluator) -> None:
        """Nothing needs to be defined."""

    def mixed_derivative(self, engine: Any, hessian: Hessian) -> MixedDerivative:
        """C at the reference, from a sweep over the parameters."""
        return SweptDerivative(engine, self, hessian)

    def install(self, engine: SerialEvaluator, dtheta: FloatArray) -> FloatArray:
        """Install Θ + δΘ and return the forces at the reference, (n, 3). One force evaluation.

        After an error the parameters installed before are in force again, or the engine is void.
        """
        return engine.install(self.changed(dtheta).values)

    def changed(self, dtheta: FloatArray) -> Self:
        """The same potential with Θ + δΘ."""
        values = self.values.copy()
        values[self.selected] += dtheta
        return replace(self, values=values)

    def write(self, stem: Path, comments: Sequence[str], overwrite: bool) -> list[Path]:
        """Write labels and values, and comments beside them, as ``.json``; return its path.

        Raises
        ------
        OutputError
            If the file exists and `overwrite` is false.
        """
        content = {"comments": list(comments), "theta": json.loads(self.text)}
        text = json.dumps(content, indent=1) + "\n"
        return write_together({stem.with_name(f"{stem.name}.json"): text}, overwrite)
