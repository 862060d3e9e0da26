"""Cache of an observable: its last values are kept until one of its cells changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lammps_implicit.observables.observable import Observable


class ObservableCache:
    """The last value of one observable for each order of its derivatives."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[list[int], Observable]] = {}

    def get(self, states: Sequence[int], order: int, measure: Callable[[], Observable]) -> Observable:
        """Return the observable, measuring it unless it is cached for these states to at least this order.

        Parameters
        ----------
        states : sequence of int
            Cache key: `StationaryPoint.state` of each cell the observable depends on.
        order : int
            Order of the derivatives required.
        measure : callable
            Called without arguments; returns the observable to this order.

        Returns
        -------
        Observable
        """
        for known, (key, observable) in sorted(self._entries.items()):
            if known >= order and key == list(states):
                return observable
        found = measure()
        self._entries[order] = list(states), found
        return found
