"""Nearest periodic images of vectors, in cells of any shape."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from lammps_implicit.arrays import BoolArray, FloatArray


def nearest_image(vectors: FloatArray, cell: FloatArray, periodic: Sequence[bool] | BoolArray) -> FloatArray:
    """Return the shortest periodic image of each vector.

    Parameters
    ----------
    vectors : (n, 3) float array
        In any unit of length.
    cell : (3, 3) float array
        Cell vectors as rows, in the same unit; any shape, also strongly skewed.
    periodic : (3,) sequence of bool
        Periodic directions.

    Returns
    -------
    (n, 3) float array
        Each vector shifted by an integer combination of the periodic cell vectors.
    """
    lattice = np.asarray(cell)[np.asarray(periodic, bool)]
    metric = lattice @ lattice.T
    if np.count_nonzero(metric) == len(lattice):  # orthogonal: rounding finds the nearest image
        return np.asarray(vectors - np.round(vectors @ lattice.T / np.diag(metric)) @ lattice)
    return _nearest(np.array(vectors, float), _reduced(cell, periodic))


def _nearest(vectors: FloatArray, lattice: FloatArray) -> FloatArray:
    """Nearest images in a Minkowski-reduced lattice of vectors (k, 3); overwrites `vectors`.

    A vector shorter than half the shortest lattice vector is its own nearest image. The others are rounded and compared
    with the neighbouring images, which in a reduced lattice include the nearest (P. Q. Nguyen, D. Stehlé, ACM Trans.
    Algorithms 5, 46 (2009)).
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


def _reduced(cell: FloatArray, periodic: Sequence[bool] | BoolArray) -> FloatArray:
    """Minkowski-reduced basis of the lattice spanned by the periodic cell vectors, (k, 3)."""
    from ase.geometry import minkowski_reduce

    chosen = np.asarray(periodic, bool)
    reduce: Any = minkowski_reduce  # ASE is untyped
    return np.asarray(reduce(np.asarray(cell), chosen)[0][chosen])
