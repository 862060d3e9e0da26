"""Hashes of atom ids: equal on all ranks, and evenly distributed for any pattern of ids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import IntArray


def splitmix64(counter: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash integers with a bijection of the 64-bit integers.

    The output function of the generator splitmix64 applied to a counter (G. L. Steele, D. Lea, C. H. Flood, OOPSLA
    2014, doi:10.1145/2660193.2660195); the constants are those of the generator.

    Parameters
    ----------
    counter : uint64 array

    Returns
    -------
    uint64 array
        Of the same shape.
    """
    z: NDArray[np.uint64] = np.multiply(counter, np.uint64(0x9E3779B97F4A7C15), dtype=np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def home_ranks(ids: IntArray, size: int) -> IntArray:
    """Return each atom's home rank, (n,): a hash of its id that puts about equal numbers on each of `size` ranks."""
    return (splitmix64(ids.astype(np.uint64)) % np.uint64(size)).astype(np.int64)
