"""What a potential and a family of potentials offer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.operators.interface import Hessian, MixedDerivative
from lammps_implicit.potentials.commands import PairCommands


class Potential(Protocol):
    """A potential as minima need it. Everything refers to the *selected* parameters, P of them."""

    @property
    def theta(self) -> FloatArray:
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
        """Prepare the engine for `mixed_derivative` and `install`, once after it was taken over."""
        ...

    def mixed_derivative(self, engine: Any, hessian: Hessian) -> MixedDerivative:
        """C at the engine's reference, which has measured nothing yet."""
        ...

    def install(self, engine: Any, dtheta: FloatArray) -> FloatArray:
        """Install Θ + δΘ and return the forces at the reference, (n, 3). One force evaluation.

        After an error the parameters installed before are in force again, or the engine is void.
        """
        ...

    def changed(self, dtheta: FloatArray) -> Potential:
        """The same potential with Θ + δΘ, to count changes from; nothing is installed."""
        ...

    def write(self, stem: Path, comments: Sequence[str], overwrite: bool) -> list[Path]:
        """Write the files that LAMMPS reads it from, named `stem` with their endings; return them all, the main first.

        Comments stand at the top of the main file.

        Raises
        ------
        OutputError
            If one of the files exists and `overwrite` is false: nothing is written then.
        """
        ...


class SelectablePotential(Potential, Protocol):
    """A potential that can take derivatives with respect to some of its parameters only."""

    def select(self, indices: IntArray) -> SelectablePotential:
        """The same potential with these of its parameters selected."""
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
    """Part of a deck that holds parameters: a file that it names, or numbers of its commands."""

    @property
    def names(self) -> tuple[str, ...]:
        """Labels, unique in the deck."""
        ...

    @property
    def values(self) -> FloatArray:
        """Their values in the deck."""
        ...

    @property
    def linear(self) -> bool:
        """Whether U is linear in all of them."""
        ...

    @property
    def elements(self) -> tuple[str | None, ...]:
        """Chemical element of each atom type, where the source names them; else empty."""
        ...

    def edit(self, commands: PairCommands, values: FloatArray, stem: Path) -> dict[Path, str]:
        """Put other values into the deck's commands.

        Parameters
        ----------
        commands : PairCommands
            Changed in place.
        values : float array
            As many as `names`.
        stem : Path
            Beginning of the names of files that the commands name.

        Returns
        -------
        dict of Path to str
            Text of each of these files, to be written by the caller; empty if there are none.
        """
        ...


@dataclass(frozen=True)
class PotentialFamily:
    """How parameters of one kind are found in a deck.

    Other packages add a family as an entry point of the group ``lammps_implicit.potentials`` that names an object of
    this class; ours are registered the same way.

    Attributes
    ----------
    sources : callable
        Takes the engine, whose deck has run, and the patterns that choose parameters (empty: all); returns the sources
        of parameters in the deck, none if it has none of this family. Called on all ranks, which must get equal
        results: read files within `Engine.on_root`. Raises `PotentialError` if the deck's potential is of this family
        but cannot be differentiated.
    offers : str
        What it supports, for messages: ``eam/alloy, eam/fs``.
    order : int
        Families look at a deck in this order, and their parameters follow one another in it; those of equal order by
        name.
    on_request : bool
        Whether parameters are offered only where a pattern asks for them that matches no parameter before, or where
        the deck has no others: then those of the first such family.
    prefix : str
        If not empty, the family takes all patterns as soon as one begins so: ``var:``.
    whole : callable, optional
        Takes the engine; returns the potential with all parameters of this family alone, with a faster mixed derivative
        than a sweep over parameters, or None if the deck has none. It is taken where it has all that patterns ask for.
    """

    sources: Callable[[Engine, Sequence[str]], Sequence[Source]]
    offers: str
    order: int = 50
    on_request: bool = False
    prefix: str = ""
    whole: Callable[[Engine], SelectablePotential | None] | None = None
