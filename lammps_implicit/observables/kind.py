"""The interface of a kind of observable: settings in a configuration, and how to measure them on relaxed cells.

Kinds are looked up by name among the entry points of the group ``lammps_implicit.observables``, to which any installed
package may add its own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, ClassVar

import numpy as np
from pydantic import BeforeValidator, SerializeAsAny

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.observables.cache import ObservableCache
from lammps_implicit.observables.configuration import Strict, parse_registered_kind
from lammps_implicit.observables.error_context import errors_about
from lammps_implicit.observables.observable import Observable
from lammps_implicit.registry import Registry
from lammps_implicit.stationary.point import StationaryPoint

Cells = Mapping[str, StationaryPoint]
"""Relaxed cells by name."""

Measure = Callable[[Cells, int], Observable]
"""Function that takes the cells and the order of the derivatives, and returns an observable."""


class ObservableKind(Strict):
    """Base class for the settings of an observable.

    Attributes
    ----------
    kind : str
        Subclasses restrict it to the name of their entry point, such as ``kind: Literal["volume"]``.
    costly : bool
        Class variable: whether even the value needs force evaluations. Costly observables are skipped where a structure
        is relaxed many times, as in a validation.
    """

    kind: str
    costly: ClassVar[bool] = False

    @abstractmethod
    def cells(self) -> list[str]:
        """Names of the cells that the observable depends on."""

    @abstractmethod
    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        """Measure the observable on the cells in their present state; called on all ranks.

        Parameters
        ----------
        cells : mapping of str to StationaryPoint
            Relaxed cells by name.
        order : int
            Order of the derivatives: 0 for the value only, 1 to include the gradient, 2 to include the second
            derivative where it is known.
        tol : float
            Relative tolerance of linear solves.

        Returns
        -------
        Observable
            A scalar: ``value`` of shape (), ``gradient`` of shape (P,).
        """

    def check(self, cells: Cells) -> None:  # most kinds have nothing to check
        """Check, without any evaluation, that the observable can be measured on these cells; called on all ranks.

        Parameters
        ----------
        cells : mapping of str to StationaryPoint

        Raises
        ------
        LammpsImplicitError
            If it cannot.
        """


OBSERVABLES: Registry[type[ObservableKind]] = Registry(
    "lammps_implicit.observables",
    "observable",
    lambda item: isinstance(item, type) and issubclass(item, ObservableKind),
)
"""Registered kinds of observables, by name."""

RegisteredObservable = Annotated[
    SerializeAsAny[ObservableKind], BeforeValidator(partial(parse_registered_kind, OBSERVABLES))
]
"""Type of a configuration field that holds the settings of any registered kind of observable."""


def measures_of(kinds: Mapping[str, ObservableKind], cells: Cells, tol: float) -> dict[str, Measure]:
    """Functions that measure observables, by name; each caches its result until one of its cells changes.

    Parameters
    ----------
    kinds : mapping of str to ObservableKind
    cells : mapping of str to StationaryPoint
    tol : float
        Relative tolerance of linear solves.

    Returns
    -------
    dict of str to callable
        Each takes the cells and the order of the derivatives.

    Raises
    ------
    LammpsImplicitError
        If an observable cannot be measured on its cells.
    """
    for name, kind in kinds.items():
        with errors_about(name):
            kind.check(cells)
    return {name: _cached_measure(name, kind, tol) for name, kind in kinds.items()}


def measure_scalar(name: str, kind: ObservableKind, cells: Cells, order: int, tol: float) -> Observable:
    """Measure an observable and check that it is a scalar with a gradient of shape (P,).

    Parameters
    ----------
    name : str
        Its name, for messages.
    kind : ObservableKind
    cells, order, tol
        See `ObservableKind.measure`.

    Raises
    ------
    LammpsImplicitError
        If value or gradient have another shape.
    """
    found = kind.measure(cells, order, tol)
    parameters = len(next(iter(cells.values())).potential.theta)
    if np.shape(found.value) != () or np.shape(found.gradient) != (parameters,):
        raise LammpsImplicitError(
            f"{name}: '{kind.kind}' gives a value of shape {np.shape(found.value)} and a gradient of shape "
            f"{np.shape(found.gradient)}; () and ({parameters},) are expected"
        )
    return found


def _cached_measure(name: str, kind: ObservableKind, tol: float) -> Measure:
    cache, names = ObservableCache(), kind.cells()

    def measure(cells: Cells, order: int) -> Observable:
        states = [cells[cell].state for cell in names]
        return cache.get(states, order, lambda: measure_scalar(name, kind, cells, order, tol))

    return measure
