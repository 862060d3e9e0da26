"""What a kind of observable is: settings of a configuration that measure a number of its cells.

Kinds are found by name among the entry points of the group ``lammps_implicit.observables``: any package may add some.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, ClassVar

import numpy as np
from pydantic import BeforeValidator, SerializeAsAny

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.observables.configuration import Strict, of_registered_kind
from lammps_implicit.observables.memory import Memory
from lammps_implicit.observables.observable import Observable
from lammps_implicit.registry import Registry
from lammps_implicit.stationary.point import StationaryPoint

Cells = Mapping[str, StationaryPoint]
"""Relaxed cells by name."""

Measure = Callable[[Cells, int], Observable]
"""Cells and the order of derivatives to an observable of them."""


class ObservableKind(Strict):
    """Settings of an observable; subclasses narrow ``kind`` to the name of their entry point.

    Attributes
    ----------
    kind : str
    costly : bool
        Whether the value alone takes force evaluations: it is then left out where a structure is relaxed many times.
    """

    kind: str
    costly: ClassVar[bool] = False

    @abstractmethod
    def cells(self) -> list[str]:
        """Names of the cells that it is measured on."""

    @abstractmethod
    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        """Measure it where the cells stand; called on all ranks.

        Parameters
        ----------
        cells : mapping of str to StationaryPoint
        order : int
            Of derivatives: 0 for the value alone, 1 for the gradient, 2 for the second derivative where it is known.
        tol : float
            Relative tolerance of solves.

        Returns
        -------
        Observable
            A number: ``value`` of shape (), ``gradient`` (P,).
        """

    def check(self, cells: Cells) -> None:  # most kinds have nothing to check
        """Refuse cells that it cannot be measured on, without any evaluation.

        Raises
        ------
        LammpsImplicitError
        """


OBSERVABLES: Registry[type[ObservableKind]] = Registry("lammps_implicit.observables", "observable")
"""Kinds by name."""

RegisteredObservable = Annotated[
    SerializeAsAny[ObservableKind], BeforeValidator(partial(of_registered_kind, OBSERVABLES))
]
"""Field of a configuration: settings of any registered kind."""


def measures_of(kinds: Mapping[str, ObservableKind], cells: Cells, tol: float) -> dict[str, Measure]:
    """Functions that measure observables by name; each keeps what it found until one of its cells changes.

    Parameters
    ----------
    kinds : mapping of str to ObservableKind
    cells : mapping of str to StationaryPoint
    tol : float
        Relative tolerance of solves.

    Raises
    ------
    LammpsImplicitError
        If one cannot be measured on its cells.
    """
    for name, kind in kinds.items():
        try:
            kind.check(cells)
        except LammpsImplicitError as error:
            raise type(error)(f"{name}: {error}") from None
    return {name: _remembering(name, kind, tol) for name, kind in kinds.items()}


def measured(name: str, kind: ObservableKind, cells: Cells, order: int, tol: float) -> Observable:
    """Measure an observable, and check that it is a number with a gradient.

    Raises
    ------
    LammpsImplicitError
    """
    found = kind.measure(cells, order, tol)
    parameters = len(next(iter(cells.values())).potential.theta)
    if np.shape(found.value) != () or np.shape(found.gradient) != (parameters,):
        raise LammpsImplicitError(
            f"{name}: '{kind.kind}' gives a value of shape {np.shape(found.value)} and a gradient of shape "
            f"{np.shape(found.gradient)}; () and ({parameters},) are expected"
        )
    return found


def _remembering(name: str, kind: ObservableKind, tol: float) -> Measure:
    memory, names = Memory(), kind.cells()

    def measure(cells: Cells, order: int) -> Observable:
        states = [cells[cell].state for cell in names]
        return memory.recall(states, order, lambda: measured(name, kind, cells, order, tol))

    return measure
