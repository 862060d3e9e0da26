"""Potentials of which no parameter is known: they relax and vibrate like others, and are not differentiated by Θ."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import Coupling, StrainFreedom
from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.operators.coupling import STRAIN_STEPS, measure_coupling
from lammps_implicit.operators.interface import Hessian
from lammps_implicit.potentials.commands import elements_after
from lammps_implicit.progress import Progress, no_progress


@dataclass(frozen=True)
class WithoutParameters:
    """A deck's potential without parameters, P = 0; a `Potential`.

    Attributes
    ----------
    reason : str
        Why there are none, and what to do to have some.
    elements : tuple of (str or None)
        Chemical element of each atom type, where the deck's ``pair_coeff`` lines name it.
    pair_style : str
    """

    reason: str
    elements: tuple[str | None, ...]
    pair_style: str

    @classmethod
    def of(cls, engine: Engine, reason: str) -> WithoutParameters:
        """The potential of an engine whose deck has run."""
        return cls(reason, _elements(engine), engine.pair_style)

    @property
    def theta(self) -> FloatArray:
        """No parameters, (0,)."""
        return np.zeros(0)

    @property
    def names(self) -> tuple[str, ...]:
        """No labels."""
        return ()

    @property
    def text(self) -> str:
        """The pair style, which identifies the potential as well as can be."""
        return f"pair_style {self.pair_style}"

    @property
    def fixed(self) -> dict[str, str]:
        """The pair style."""
        return {"pair_style": self.pair_style}

    def define(self, engine: Engine) -> None:
        """Nothing is ever installed."""

    def mixed_derivative(self, engine: Engine, hessian: Hessian) -> NoMixedDerivative:
        """C without columns."""
        return NoMixedDerivative(engine)

    def install(self, engine: Engine, dtheta: FloatArray) -> FloatArray:
        """The forces at the reference, (n, 3). One force evaluation."""
        return engine.forces()

    def changed(self, dtheta: FloatArray) -> WithoutParameters:
        """The same potential."""
        return self

    def write(self, stem: Path, comments: Sequence[str], overwrite: bool) -> list[Path]:
        """Refuse: there are no parameters to write.

        Raises
        ------
        PotentialError
        """
        self.refuse()

    def refuse(self) -> NoReturn:
        """Say why there is nothing to differentiate by.

        Raises
        ------
        PotentialError
        """
        raise PotentialError(self.reason)


class NoMixedDerivative:
    """C = ∂²U/∂X∂Θ of no parameters, (3N, 0): see `operators.interface.MixedDerivative`.

    Parameters
    ----------
    engine : Evaluator
        At its reference.

    Attributes
    ----------
    odd : (0, 0) float array
    differenced : bool
        False.
    """

    differenced = False

    def __init__(self, engine: Evaluator) -> None:
        self.engine = engine
        self.odd = np.zeros((0, 0))

    def prepare(self, progress: Progress = no_progress) -> None:
        """Nothing is needed."""

    def to_array(self) -> FloatArray:
        """An (n, 3, 0) array."""
        return np.zeros((*self.engine.positions.shape, 0))

    gradients_array = to_array

    def times(self, dtheta: FloatArray) -> FloatArray:
        """Zeros, (n, 3)."""
        return np.zeros_like(self.engine.positions)

    def transposed_times(self, vector: FloatArray) -> FloatArray:
        """An empty array, (0,)."""
        return np.zeros(0)

    gradients_transposed_times = transposed_times

    def gram(self) -> FloatArray:
        """A (0, 0) array."""
        return np.zeros((0, 0))

    def energy_gradient(self) -> FloatArray:
        """An empty array, (0,)."""
        return np.zeros(0)

    bare_second_derivative = gram

    def coupling(self, freedom: StrainFreedom, steps: Sequence[float] = STRAIN_STEPS) -> Coupling:
        """Derivatives with respect to strain: see `measure_coupling`."""
        return measure_coupling(self, freedom, steps)

    collects = False

    def collect(self) -> FloatArray:
        """An empty array."""
        return np.zeros(0)

    def summed(self, collected: FloatArray) -> FloatArray:
        """An empty array."""
        return np.zeros(0)

    def curvatures(self, steps: Sequence[FloatArray]) -> FloatArray:
        """(p, 0): there are no parameters."""
        return np.zeros((len(steps), 0))

    def under_strain(self, basis: FloatArray, changes: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
        """Two (k, 0) arrays."""
        nothing = np.zeros((basis.shape[1], 0))
        return nothing, nothing


def require_parameters(potential: Any) -> None:
    """Check that a potential has parameters.

    Parameters
    ----------
    potential : Potential

    Raises
    ------
    PotentialError
        If it is one without; the message says what to do.
    """
    if isinstance(potential, WithoutParameters):
        potential.refuse()


def _elements(engine: Engine) -> tuple[str | None, ...]:
    """Element of each atom type, from the last words of ``pair_coeff * *`` lines; None where none names it."""
    named: tuple[str | None, ...] = (None,) * engine.n_types
    for line in engine.deck.pair_coeffs:
        if line.args[:2] == ("*", "*") and len(line.args) > engine.n_types + 2:
            words = line.args[len(line.args) - engine.n_types :]
            if not all(re.fullmatch("NULL|[A-Z][a-z]?", word) for word in words):
                continue
            found = elements_after(words)
            named = tuple(known or new for known, new in zip(named, found, strict=True))
    return named
