"""CᵀC of a mixed derivative that is held as an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lammps_implicit.arrays import FloatArray


def gram(array: FloatArray, sum_over_ranks: Callable[[FloatArray], Any]) -> FloatArray:
    """CᵀC, (P, P).

    Parameters
    ----------
    array : (n, 3, P) float array
        C of this rank's atoms.
    sum_over_ranks : callable
        Such as `Evaluator.sum`.
    """
    flat = array.reshape(-1, array.shape[2])
    return np.asarray(sum_over_ranks(flat.T @ flat))
