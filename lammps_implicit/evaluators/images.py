"""Periodic images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray


def nearest_image(vectors: FloatArray, cell: FloatArray, periodic: Sequence[bool] | NDArray[np.bool_]) -> FloatArray:
    """Nearest periodic images of vectors: each shifted by whole cell vectors to be as short as it can be.

    Parameters
    ----------
    vectors : (n, 3) float array
    cell : (3, 3) float array
        Cell vectors as rows, of any shape.
    periodic : (3,) sequence of bool
        Which of them vectors are shifted by.

    Returns
    -------
    (n, 3) float array
        In the units of `vectors`.
    """
    lattice = np.asarray(cell)[np.asarray(periodic, bool)]
    metric = lattice @ lattice.T
    if np.count_nonzero(metric) == len(lattice):  # at right angles: rounding finds the nearest
        return np.asarray(vectors - np.round(vectors @ lattice.T / np.diag(metric)) @ lattice)
    return _nearest(np.array(vectors, float), _reduced(cell, periodic))


def _nearest(vectors: FloatArray, lattice: FloatArray) -> FloatArray:
    """Nearest images for shortest lattice vectors (k, 3), overwriting `vectors`.

    What is shorter than half the shortest lattice vector has no shorter image. The others are rounded and compared
    with the images around: in a reduced lattice the nearest is among them (Nguyen and Stehlé, ACM Trans. Algorithms 5,
    46 (2009)).
    """
    sure = 0.25 * (lattice**2).sum(axis=1).min()
    far = np.flatnonzero((vectors**2).sum(axis=1) > sure)
    rounded = vectors[far] - np.round(vectors[far] @ np.linalg.pinv(lattice)) @ lattice
    vectors[far] = rounded
    unsure = np.flatnonzero((rounded**2).sum(axis=1) > sure)
    far, rounded = far[unsure], rounded[unsure]
    shortest = (rounded**2).sum(axis=1)
    for steps in product((-1, 0, 1), repeat=len(lattice)):
        image = rounded + np.array(steps) @ lattice
        square = (image**2).sum(axis=1)
        closer = square < shortest
        vectors[far[closer]], shortest[closer] = image[closer], square[closer]
    return vectors


def _reduced(cell: FloatArray, periodic: Sequence[bool] | NDArray[np.bool_]) -> FloatArray:
    """Shortest vectors of the lattice that the periodic cell vectors span, (k, 3)."""
    from ase.geometry import minkowski_reduce

    chosen = np.asarray(periodic, bool)
    reduce: Any = minkowski_reduce  # ASE is untyped
    return np.asarray(reduce(np.asarray(cell), chosen)[0][chosen])
