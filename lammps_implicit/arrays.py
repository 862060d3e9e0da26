"""Array types used in annotations throughout the package."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
"""Double precision array; docstrings give its shape."""

IntArray = NDArray[np.int64]
"""Array of 64-bit integers, such as atom ids."""

BoolArray = NDArray[np.bool_]
"""Boolean mask."""


def read_only(array: FloatArray) -> FloatArray:
    """Return the array itself, which can no longer be changed in place: what is kept is handed out without a copy."""
    array.setflags(write=False)
    return array
