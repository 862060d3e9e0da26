"""Periodic images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray


def nearest_image(vectors: FloatArray, cell: FloatArray, periodic: Sequence[bool] | NDArray[np.bool_]) -> FloatArray:
    """Shift vectors (n, 3) by cell vectors (rows) along periodic directions to less than half a cell in each."""
    fractional = np.linalg.solve(cell.T, vectors.T).T
    return np.asarray(vectors - (np.round(fractional) * np.asarray(periodic)) @ cell)
