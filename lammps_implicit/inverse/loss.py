"""The interface of a kind of loss term: settings in a configuration, and how to build terms of the loss from them.

Kinds are looked up by name among the entry points of the group ``lammps_implicit.losses``, to which any installed
package may add its own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, SerializeAsAny

from lammps_implicit.arrays import FloatArray
from lammps_implicit.inverse.terms import Term
from lammps_implicit.observables.configuration import Strict, parse_registered_kind
from lammps_implicit.observables.kind import Cells, Measure
from lammps_implicit.registry import Registry
from lammps_implicit.stationary.point import StationaryPoint


@dataclass(frozen=True)
class LossContext:
    """What loss terms are built from; the cells are in their initial state.

    Attributes
    ----------
    cells : mapping of str to StationaryPoint
        Relaxed cells by name.
    measures : mapping of str to callable
        Functions that measure the observables of the configuration, by name, as `terms.Number` takes them.
    start : mapping of str to float
        Initial values of the observables.
    theta : (P,) float array
        Initial parameters.
    scale : (P,) float array
        Unit of changes of each parameter.
    number : int
        Number of the term among those of its kind, from 1; for unique names.
    """

    cells: Cells
    measures: Mapping[str, Measure]
    start: Mapping[str, float]
    theta: FloatArray
    scale: FloatArray
    number: int = 1

    @property
    def first(self) -> StationaryPoint:
        """The first cell; all cells have the same parameters."""
        return next(iter(self.cells.values()))


class LossKind(Strict):
    """Base class for the settings of a loss term.

    Attributes
    ----------
    kind : str
        Subclasses restrict it to the name of their entry point, such as ``kind: Literal["positions"]``.
    least_squares : bool
        Class variable: whether the terms are sums of squares, which have a Gauss-Newton curvature. If any kind in a
        loss is not, the default optimiser is limited-memory BFGS.
    """

    kind: str
    least_squares: ClassVar[bool] = False

    @abstractmethod
    def cells(self) -> list[str]:
        """Names of the cells that the term depends on."""

    def observables(self) -> list[str]:
        """Names of the observables of the configuration that the term depends on."""
        return []

    def code(self) -> list[Path]:
        """Files of Python code that `prepare` runs; a line says so before."""
        return []

    def prepare(self) -> None:  # most kinds have nothing to prepare
        """Check, before any deck runs, everything that does not need the cells; called on all ranks.

        Raises
        ------
        LammpsImplicitError
            If the settings cannot be used.
        """

    def check(self, cells: Cells) -> None:
        """Check, without any evaluation, that the term can be evaluated on these cells; called on all ranks.

        Parameters
        ----------
        cells : mapping of str to StationaryPoint

        Raises
        ------
        LammpsImplicitError
            If it cannot.
        """

    @abstractmethod
    def build(self, context: LossContext) -> Term | list[Term]:
        """Build the terms; called once, on all ranks, before the first step.

        Parameters
        ----------
        context : LossContext

        Returns
        -------
        Term or list of Term
        """


LOSSES: Registry[type[LossKind]] = Registry(
    "lammps_implicit.losses", "loss term", lambda item: isinstance(item, type) and issubclass(item, LossKind)
)
"""Registered kinds of loss terms, by name."""

RegisteredLoss = Annotated[SerializeAsAny[LossKind], BeforeValidator(partial(parse_registered_kind, LOSSES))]
"""Type of a configuration field that holds the settings of any registered kind of loss term."""
