"""Observables measured last, kept until a cell changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lammps_implicit.observables.observable import Observable


class Memory:
    """The last value of one observable for each order of derivatives."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[list[int], Observable]] = {}

    def recall(self, states: Sequence[int], order: int, measure: Callable[[], Observable]) -> Observable:
        """The observable at these states of its cells, measured if it is not known to this order or a higher one.

        Parameters
        ----------
        states : sequence of int
            `StationaryPoint.state` of each cell.
        order : int
            Of derivatives.
        measure : callable
        """
        for known in sorted(self._last):
            if known >= order and self._last[known][0] == list(states):
                return self._last[known][1]
        found = measure()
        self._last[order] = list(states), found
        return found
