"""Directions in which searches for saddles leave a minimum: one atom is pushed, of those that are bound unlike others.

Around defects and at surfaces these are where barriers are low. Random numbers are hashes of atom ids: the same on any
number of ranks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from lammps_implicit.arrays import BoolArray, FloatArray, IntArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import REACH, Evaluator
from lammps_implicit.mpi.hashing import splitmix64
from lammps_implicit.solvers.bonds import find_bonds

Push = tuple[int, Sequence[float]]
"""Id of an atom, and the vector along which it is pushed, of any length."""

_NEIGHBOURS = 64
"""Numbers of neighbours that are told apart."""


@dataclass(frozen=True)
class Start:
    """Where a search starts.

    Attributes
    ----------
    direction : (n, 3) float array
        Zero but for the atoms that are pushed.
    signs : tuple of float
        Factors of it, of which the softer is to be taken.
    """

    direction: FloatArray
    signs: tuple[float, ...]


class Starts:
    """Starts of searches from the reference of an evaluator; rows are those of its atoms when this is made.

    Parameters
    ----------
    engine : Evaluator

    Attributes
    ----------
    spacing : float
        Mean distance of nearest neighbours, Å.
    """

    def __init__(self, engine: Evaluator) -> None:
        self.engine, self._ids = engine, engine.ids.copy()
        self._constrain, self._free = engine.constraint(), engine.free.any(axis=1)
        bonds, self.spacing = find_bonds(engine, engine.neighbourhood(), REACH)
        neighbours = np.bincount(bonds.start, minlength=len(self._ids))[: len(self._ids)]
        odd = self._free & _uncommon(engine, np.minimum(neighbours, _NEIGHBOURS))
        self._candidates = odd if engine.any(bool(odd.any())) else self._free

    def random(self, seed: int, number: int) -> Start:
        """A random atom, of those with another number of neighbours than most of their type, in a random direction.

        Of both its signs the softer is taken. If all atoms are alike, it is any of them.
        """
        noise = _noise(self._ids, seed, number, 4)
        # The least of these numbers is that of any candidate with equal probability.
        draws = np.where(self._candidates, noise[:, 3], np.inf)
        chosen = draws == -self.engine.max(-float(draws.min(initial=np.inf)))
        direction = self._constrain(ndtri(noise[:, :3]) * chosen[:, None])
        return Start(direction, (1.0, -1.0))

    def along(self, push: Push) -> Start:
        """An atom pushed along a vector.

        Raises
        ------
        LammpsImplicitError
            If there is no such atom, the vector is none or zero, or the atom is held.
        """
        atom, vector = push
        values = np.asarray(vector, float) if np.ndim(vector) == 1 else np.zeros(0)
        if values.shape != (3,) or not np.isfinite(values).all() or not values.any():
            raise LammpsImplicitError(f"atom {atom} cannot be pushed along {vector}: give three numbers, not all zero")
        here = self._ids == atom
        if not self.engine.any(bool(here.any())):
            raise LammpsImplicitError(f"there is no atom {atom} to push: ids are those of the deck's structure")
        direction = self._constrain(here[:, None] * (values / np.abs(values).max()))
        if self.engine.max_abs(direction) == 0:
            raise LammpsImplicitError(f"atom {atom} is held in the deck and cannot be pushed: push one that is free")
        return Start(direction, (1.0,))


def _uncommon(engine: Evaluator, neighbours: IntArray) -> BoolArray:
    """Atoms with another number of neighbours than most of their type."""
    counts = np.zeros((engine.n_types + 1, _NEIGHBOURS + 1), np.int64)
    np.add.at(counts, (engine.types, neighbours), 1)
    return np.asarray(neighbours != np.asarray(engine.sum(counts)).argmax(axis=1)[engine.types])


def _noise(ids: IntArray, seed: int, number: int, columns: int) -> FloatArray:
    """Random numbers in (0, 1), (n, columns), which depend on ids, a seed and a number only."""
    key = splitmix64(np.array([(seed << 32) + number], np.uint64))
    keys = splitmix64(np.add(key, np.arange(columns, dtype=np.uint64), dtype=np.uint64))
    counter = np.bitwise_xor(splitmix64(ids.astype(np.uint64))[:, None], keys, dtype=np.uint64)
    return np.asarray((splitmix64(counter) >> np.uint64(11)).astype(np.float64) * 2.0**-53 + 2.0**-54)


def check_whole(value: int, name: str, least: int, below: float = math.inf) -> None:
    """Check a whole number.

    Raises
    ------
    LammpsImplicitError
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not least <= value < below:
        limits = f"from {least} on" if below == math.inf else f"from {least} to {below - 1:.0f}"
        raise LammpsImplicitError(f"{name} = {value!r} is not a whole number {limits}")
