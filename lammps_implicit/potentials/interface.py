"""Protocols of potentials and of their sources of parameters; families of potentials."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.operators.interface import Hessian, MixedDerivative
from lammps_implicit.potentials.commands import PotentialCommands


class Potential(Protocol):
    """A potential whose minima can be differentiated, with respect to its P *selected* parameters."""

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
        """Text of the parameter file as read, which identifies the potential in results."""
        ...

    @property
    def fixed(self) -> Mapping[str, str]:
        """Everything of the potential besides Θ, by name: settings, and other pair styles for each pair of elements."""
        ...

    @property
    def elements(self) -> tuple[str | None, ...]:
        """Chemical element of each atom type; None for types on which the potential does not act."""
        ...

    def define(self, engine: Any) -> None:
        """Prepare the engine for `mixed_derivative` and `install`, once after it is taken over."""
        ...

    def mixed_derivative(self, engine: Any, hessian: Hessian) -> MixedDerivative:
        """C at the engine's reference; nothing is evaluated yet."""
        ...

    def install(self, engine: Any, dtheta: FloatArray) -> FloatArray:
        """Install Θ + δΘ and return the forces at the reference, (n, 3). One force evaluation.

        After an error the previous parameters are in force again, or the engine is void.
        """
        ...

    def changed(self, dtheta: FloatArray) -> Potential:
        """The same potential with Θ + δΘ as its parameters; nothing is installed."""
        ...

    def write(self, stem: Path, comments: Sequence[str], overwrite: bool) -> list[Path]:
        """Write the files from which LAMMPS reads the potential.

        Parameters
        ----------
        stem : Path
            Beginning of the file names; their endings are added.
        comments : sequence of str
            Comment lines at the top of the main file.
        overwrite : bool
            Whether to replace existing files.

        Returns
        -------
        list of Path
            The files, the main one first.

        Raises
        ------
        OutputError
            If one of the files exists and `overwrite` is false: nothing is written then.
        """
        ...


class SelectablePotential(Potential, Protocol):
    """A potential of which some parameters can be selected for derivatives."""

    def select(self, indices: IntArray) -> SelectablePotential:
        """The same potential with these of its parameters selected."""
        ...


@dataclass(frozen=True)
class Parameters:
    """Parameters of a potential, to which an ensemble must belong.

    Attributes
    ----------
    names : tuple of str
        Labels of the selected parameters.
    theta : (P,) float array
        Their values.
    text : str
        Text of the complete coefficient file.
    """

    names: tuple[str, ...]
    theta: FloatArray
    text: str

    @property
    def digest(self) -> str:
        """SHA-256 of the coefficient file, hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class Source(Protocol):
    """Part of a deck that contains parameters: a file that it names, or numbers in its commands."""

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
        """Chemical element of each atom type; empty if the source does not name them."""
        ...

    def edit(self, commands: PotentialCommands, values: FloatArray, stem: Path) -> dict[Path, str]:
        """Put other values into the deck's commands.

        Parameters
        ----------
        commands : PotentialCommands
            Changed in place.
        values : float array
            As many as `names`.
        stem : Path
            Beginning of the names of new files that the commands then name.

        Returns
        -------
        dict of Path to str
            Text of each of these files, which the caller writes; empty if there are none.
        """
        ...


@runtime_checkable
class Prepared(Protocol):
    """A source that prepares the engine before its parameters are changed."""

    def define(self, engine: Engine) -> None:
        """Prepare the engine, once after it is taken over. Collective."""
        ...


@dataclass(frozen=True)
class PotentialFamily:
    """A family of potentials: how its parameters are found in a deck.

    Other packages add a family by an entry point of the group ``lammps_implicit.potentials`` that names an object of
    this class. The families of this package are registered in the same way.

    Attributes
    ----------
    sources : callable
        Called with the engine, whose deck has run, and the patterns that select parameters (none: all); returns the
        sources of parameters of this family in the deck, possibly none. Called on all ranks, and must return the same
        on each: read files within `Engine.on_root`. Raises `PotentialError` if the potential is of this family but
        cannot be differentiated.
    offers : str
        Supported styles, for messages: ``eam/alloy, eam/fs``.
    order : int
        Families are asked in this order, and parameters are listed in it; families of equal order by name.
    on_request : bool
        Whether parameters are offered only if a pattern that matches no other parameter asks for them, or if the deck
        has no other parameters; of several such families the first is then taken.
    fallback : bool
        Whether a family that is ``on_request`` is taken if the deck has no other parameters.
    prefix : str
        If not empty, the family gets all patterns as soon as one starts with it, as ``var:`` does.
    whole : callable, optional
        Called with the engine; returns a potential with the parameters of this family alone, whose mixed derivative is
        faster than a sweep over the parameters, or None if the deck has none. It is used if it has all parameters that
        the patterns ask for.
    """

    sources: Callable[[Engine, Sequence[str]], Sequence[Source]]
    offers: str
    order: int = 50
    on_request: bool = False
    fallback: bool = True
    prefix: str = ""
    whole: Callable[[Engine], SelectablePotential | None] | None = None
