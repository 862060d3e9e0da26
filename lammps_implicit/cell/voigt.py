"""Conversion of strains and stresses between six components and matrices."""

from __future__ import annotations

import numpy as np

from lammps_implicit.arrays import FloatArray

COMPONENTS = ("xx", "yy", "zz", "yz", "xz", "xy")
"""Names of the components of strains and stresses, in Voigt order."""

PLACES = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Row and column of each component in the (3, 3) matrix."""


def tensor(values: FloatArray) -> FloatArray:
    """Return the upper triangular (3, 3) matrix of strain components, (6,); shears are engineering strains."""
    matrix = np.zeros((3, 3))
    for value, place in zip(values, PLACES, strict=True):
        matrix[place] = value
    return matrix


def components(matrix: FloatArray) -> FloatArray:
    """Return the components (xx, yy, zz, yz, xz, xy) of a (3, 3) matrix, (6,), from its upper triangle."""
    return np.array([matrix[place] for place in PLACES])
