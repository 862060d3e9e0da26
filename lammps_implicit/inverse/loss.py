"""What a kind of loss term is: settings of a configuration that build terms of a loss.

Kinds are found by name among the entry points of the group ``lammps_implicit.losses``: any package may add its own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, SerializeAsAny

from lammps_implicit.arrays import FloatArray
from lammps_implicit.inverse.terms import Term
from lammps_implicit.observables.configuration import Strict, of_registered_kind
from lammps_implicit.observables.kind import Cells, Measure
from lammps_implicit.registry import Registry
from lammps_implicit.stationary.point import StationaryPoint


@dataclass(frozen=True)
class LossContext:
    """What loss terms are built from, with the cells at the start.

    Attributes
    ----------
    cells : mapping of str to StationaryPoint
        Relaxed cells by name.
    measures : mapping of str to callable
        Observables of the configuration by name, as `terms.Number` takes them.
    start : mapping of str to float
        Their values at the start.
    theta : (P,) float array
        Parameters at the start.
    scale : (P,) float array
        Change of size one of each parameter.
    number : int
        Place of the term among those of its kind, from 1: for names that differ.
    """

    cells: Cells
    measures: Mapping[str, Measure]
    start: Mapping[str, float]
    theta: FloatArray
    scale: FloatArray
    number: int = 1

    @property
    def first(self) -> StationaryPoint:
        """One of the cells: all have the same parameters."""
        return next(iter(self.cells.values()))


class LossKind(Strict):
    """Settings of a loss term; subclasses narrow ``kind`` to the name of their entry point.

    Attributes
    ----------
    kind : str
    least_squares : bool
        Whether its terms know their curvature, as sums of squares do; if one does not, the default optimiser is L-BFGS.
    """

    kind: str
    least_squares: ClassVar[bool] = False

    @abstractmethod
    def cells(self) -> list[str]:
        """Names of the cells that it depends on."""

    def observables(self) -> list[str]:
        """Names of the observables of the configuration that it depends on."""
        return []

    def prepare(self) -> None:  # most kinds have nothing to prepare
        """Refuse, before any deck runs, what can be refused without cells: called on all ranks.

        Raises
        ------
        LammpsImplicitError
        """

    def check(self, cells: Cells) -> None:
        """Refuse cells that it cannot be evaluated on, without any evaluation.

        Raises
        ------
        LammpsImplicitError
        """

    @abstractmethod
    def build(self, context: LossContext) -> Term | list[Term]:
        """Build its terms; called once, on all ranks, before the first step."""


LOSSES: Registry[type[LossKind]] = Registry("lammps_implicit.losses", "loss term")
"""Kinds by name."""

RegisteredLoss = Annotated[SerializeAsAny[LossKind], BeforeValidator(partial(of_registered_kind, LOSSES))]
"""Field of a configuration: settings of any registered kind."""
