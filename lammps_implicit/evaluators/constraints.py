"""Which components of atoms a deck's fixes hold, and which they have move together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import BoolArray, IntArray
from lammps_implicit.evaluators.deck import Fix
from lammps_implicit.evaluators.fixes import frozen_components, joined_components

Members = Callable[[str], BoolArray]
"""Maps the name of a group to the mask of its members among some atoms, (n,)."""


@dataclass(frozen=True)
class Constraints:
    """Groups of atoms, and the Cartesian components (0, 1, 2) along which they are held, or move together.

    Attributes
    ----------
    held, joined : tuple of (str, list of int)
    plane : bool
        Whether no atom leaves its plane: decks in two dimensions.
    """

    held: tuple[tuple[str, list[int]], ...] = ()
    joined: tuple[tuple[str, list[int]], ...] = ()
    plane: bool = False

    @classmethod
    def of(cls, fixes: Sequence[Fix], plane: bool) -> Constraints:
        """Constraints of fixes.

        Raises
        ------
        DeckError
            If a fix moves atoms, acts on atoms without a potential energy, or is unknown.
        """
        held = tuple((fix.group, frozen_components(fix)) for fix in fixes)
        return cls(held, tuple((fix.group, joined_components(fix)) for fix in fixes), plane)

    def free(self, members: Members, count: int) -> BoolArray:
        """Mask of the components that no fix holds fixed, (count, 3), of so many atoms."""
        free = np.ones((count, 3), bool)
        for group, axes in self.held:
            free[np.ix_(np.flatnonzero(members(group)), np.array(axes, int))] = False
        if self.plane:
            free[:, 2] = False
        return free

    def together(self, members: Members, count: int) -> IntArray:
        """Number of the group that each component moves with, from 1, or 0, (count, 3)."""
        together = np.zeros((count, 3), np.int64)
        for number, (group, axis) in enumerate(self._groups, 1):
            together[members(group), axis] = number
        if self.plane:
            together[:, 2] = 0
        return together

    def alone(self, members: Members, count: int) -> BoolArray:
        """Mask of the components that are free and move with no others, (count, 3)."""
        return self.free(members, count) & (self.together(members, count) == 0)

    def counts(self, together: IntArray) -> IntArray:
        """Number of atoms of each group, for an array as `together` returns it."""
        return np.bincount(together.ravel(), minlength=1 + len(self._groups))[1:].astype(np.int64)

    def fault(self, members: Members, count: int) -> str:
        """Why LAMMPS averages other forces than those on atoms that move together; empty if it does not."""
        taken, free = np.zeros((count, 3), bool), self.free(members, count)
        for group, axis in self._groups:
            mine = members(group)
            if taken[mine, axis].any():
                return "the groups of two 'fix aveforce' share atoms: name groups that do not"
            if not (free[mine, axis].all() or (self.plane and axis == 2)):
                return (
                    "atoms of a 'fix aveforce' are frozen by another fix, and forces on them move the rest: leave "
                    "frozen atoms out of its group"
                )
            taken[mine, axis] = True
        return ""

    @property
    def _groups(self) -> list[tuple[str, int]]:
        return [(group, axis) for group, axes in self.joined for axis in axes]
