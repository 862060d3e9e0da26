"""Strains and stresses as six numbers, and as matrices."""

from __future__ import annotations

import numpy as np

from lammps_implicit.arrays import FloatArray

COMPONENTS = ("xx", "yy", "zz", "yz", "xz", "xy")
"""Of strains and stresses, in Voigt's order."""

PLACES = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def tensor(values: FloatArray) -> FloatArray:
    """Upper triangular (3, 3) matrix of six strain components."""
    matrix = np.zeros((3, 3))
    for value, place in zip(values, PLACES, strict=True):
        matrix[place] = value
    return matrix


def components(matrix: FloatArray) -> FloatArray:
    """Return the six components (xx, yy, zz, yz, xz, xy) of a (3, 3) matrix."""
    return np.array([matrix[place] for place in PLACES])
