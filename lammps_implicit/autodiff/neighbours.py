"""Pairs of atoms in cells of any shape and size, smaller than the cutoff included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray, IntArray


class Pairs(NamedTuple):
    """Pairs of atoms, each once, padded to a length that seldom changes: what JAX compiles for stays valid.

    Attributes
    ----------
    first, second : (M,) int32 arrays
    shift : (M, 3) float array
        Cell vectors between them: the vector from one to the other is x[second] + shift @ h - x[first].
    kind : (M,) int32 array
        Number of the pair of types.
    real : (M,) bool array
        False for padding.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    shift: FloatArray
    kind: NDArray[np.int32]
    real: NDArray[np.bool_]


def pairs(
    positions: FloatArray, cell: FloatArray, periodic: Sequence[bool], kinds: IntArray, types: IntArray, reach: float
) -> Pairs:
    """All pairs closer than `reach`, (M,).

    Parameters
    ----------
    positions : (n, 3) float array
    cell : (3, 3) float array
    periodic : (3,) sequence of bool
    kinds : (n_types + 1, n_types + 1) int array
        Number of each pair of types; negative where they do not interact.
    types : (n,) int array
    reach : float
    """
    first, second, shift = _bonds(positions, cell, periodic, reach)
    # Of a pair and its mirror image one counts: the one that points ahead.
    ahead = np.sign(shift) @ np.array([9, 3, 1])
    once = (ahead > 0) | ((ahead == 0) & (first < second))
    once &= kinds[types[first], types[second]] >= 0
    first, second, shift = first[once].astype(np.int32), second[once].astype(np.int32), shift[once].astype(float)
    padding = padded(len(first)) - len(first)
    # Padding has a length too, so that nothing is divided by zero on its way to being masked.
    return Pairs(
        np.pad(first, (0, padding)),
        np.pad(second, (0, padding)),
        np.pad(shift, ((0, padding), (0, 0)), constant_values=1.0),
        np.pad(kinds[types[first], types[second]].astype(np.int32), (0, padding)),
        np.arange(len(first) + padding) < len(first),
    )


def table(positions: FloatArray, cell: FloatArray, periodic: Sequence[bool], reach: float) -> IntArray:
    """Neighbours of each atom, (n, K), filled up with n."""
    first, second, _ = _bonds(positions, cell, periodic, reach)
    counts = np.bincount(first, minlength=len(positions))
    width = padded(int(counts.max(initial=1)), 4)
    neighbours = np.full((len(positions), width), len(positions), np.int64)
    order = np.argsort(first, kind="stable")
    place = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    neighbours[first[order], place] = second[order]
    return neighbours


def padded(count: int, step: int = 1024) -> int:
    """Round up, to twelve and a half per cent at most or the next multiple of `step`."""
    unit = max(step, 2 ** max(count.bit_length() - 4, 0))
    return -(-max(count, 1) // unit) * unit


def _bonds(
    positions: FloatArray, cell: FloatArray, periodic: Sequence[bool], reach: float
) -> tuple[IntArray, IntArray, IntArray]:
    """All pairs closer than `reach`, from both ends: indices (m,), (m,), and cell vectors between them (m, 3)."""
    first, second, shift = neighbour_list("ijS", positions=positions, cell=cell, pbc=np.array(periodic), cutoff=reach)
    return first, second, shift
