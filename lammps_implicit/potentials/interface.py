"""What a potential has to offer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.operators.interface import Hessian, MixedDerivative
from lammps_implicit.potentials.commands import PairCommands


class Potential(Protocol):
    """A potential as minima need it. Everything refers to the *selected* parameters, P of them."""

    @property
    def theta(self) -> NDArray[np.float64]:
        """Values of the selected parameters, (P,)."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of the selected parameters."""
        ...

    @property
    def text(self) -> str:
        """The parameter file as read: what a result needs to name its potential."""
        ...

    @property
    def fixed(self) -> Mapping[str, str]:
        """What the potential has besides Θ, by name: settings, and pair styles beside it for each pair of elements."""
        ...

    @property
    def elements(self) -> tuple[str | None, ...]:
        """Chemical element of each atom type, None where the potential does not act on it."""
        ...

    def define(self, engine: Any) -> None:
        """Define in the engine what `mixed_derivative` needs there, once after it was taken over."""
        ...

    def mixed_derivative(self, engine: Any, hessian: Hessian) -> MixedDerivative:
        """C at the engine's reference, which has measured nothing yet."""
        ...

    def install(self, engine: Any, dtheta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Install Θ + δΘ and return the forces at the reference, (n, 3). One force evaluation."""
        ...

    def changed(self, dtheta: NDArray[np.float64]) -> Potential:
        """The same potential with Θ + δΘ, to count changes from; LAMMPS is told nothing."""
        ...

    def write(self, stem: Path, comments: Sequence[str], overwrite: bool) -> list[Path]:
        """Write the files that LAMMPS reads it from, comments at their top, named `stem` with their endings."""
        ...


@dataclass(frozen=True)
class Parameters:
    """What an ensemble has to fit.

    Attributes
    ----------
    names : tuple of str
        Labels of the parameters.
    theta : (P,) float array
    text : str
        Of the whole coefficient file.
    """

    names: tuple[str, ...]
    theta: FloatArray
    text: str

    @property
    def digest(self) -> str:
        """SHA-256 of the coefficient file, hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class Source(Protocol):
    """Part of a deck that holds parameters."""

    @property
    def names(self) -> tuple[str, ...]:
        """Labels, each its own."""
        ...

    @property
    def values(self) -> FloatArray:
        """As the deck has them."""
        ...

    @property
    def linear(self) -> bool:
        """Whether U is linear in all of them."""
        ...

    @property
    def elements(self) -> tuple[str | None, ...]:
        """Chemical element of each atom type, where the source names them; else empty."""
        ...

    def edit(self, commands: PairCommands, values: FloatArray, stem: Path) -> None:
        """Write values into the deck's commands; files that these name are written with the beginning `stem`."""
        ...
