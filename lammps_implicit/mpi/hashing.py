"""Hashes of atom ids: the same on any rank, whatever pattern the ids have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import IntArray


def splitmix64(counter: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scatter integers over all 64-bit ones, each to one of its own.

    The generator splitmix64 (Steele, Lea, Flood, OOPSLA 2014), called by its counter.
    """
    z: NDArray[np.uint64] = np.multiply(counter, np.uint64(0x9E3779B97F4A7C15), dtype=np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def home_ranks(ids: IntArray, size: int) -> IntArray:
    """Rank that each atom is registered with, (n,): about as many on each of `size` ranks, whatever the ids."""
    return (splitmix64(ids.astype(np.uint64)) % np.uint64(size)).astype(np.int64)
