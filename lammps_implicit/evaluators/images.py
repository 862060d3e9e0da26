"""Nearest periodic images of vectors, in cells of any shape."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from lammps_implicit.arrays import BoolArray, FloatArray, IntArray


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


def images(
    positions: FloatArray, cell: FloatArray, periodic: Sequence[bool], reach: float
) -> tuple[IntArray, IntArray]:
    """Atoms and their images, the atoms first: indices (m,) and cell vectors (m, 3) they are shifted by.

    All images within reach of any atom are there, and others: those in the smallest parallelepiped along the cell
    vectors that holds the atoms, with a margin of `reach` on all its sides.

    Parameters
    ----------
    positions : (n, 3) float array
    cell : (3, 3) float array
    periodic : (3,) sequence of bool
    reach : float
    """
    inverse = np.linalg.inv(cell)
    fractional = positions @ inverse
    margin = reach * np.linalg.norm(inverse, axis=0)  # in units of the distance between faces
    low, high = fractional.min(axis=0) - margin, fractional.max(axis=0) + margin
    counts = [int(np.ceil(margin[k] + np.ptp(fractional[:, k]) - 1e-12)) if periodic[k] else 0 for k in range(3)]
    shifts = sorted(product(*(range(-count, count + 1) for count in counts)), key=lambda shift: any(shift))
    indices, vectors = [], []
    for shift in shifts:
        moved = fractional + shift
        near = np.flatnonzero(np.all((moved >= low) & (moved <= high), axis=1))
        indices.append(near)
        vectors.append(np.broadcast_to(np.array(shift, np.int64), (len(near), 3)))
    return np.concatenate(indices), np.concatenate(vectors)


def shortest_vector(cell: FloatArray, periodic: Sequence[bool] | BoolArray) -> float:
    """Length of the shortest vector of the lattice that the periodic cell vectors span; infinite if there are none."""
    return float(np.linalg.norm(_reduced(cell, periodic), axis=1).min(initial=np.inf)) if np.any(periodic) else np.inf


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
