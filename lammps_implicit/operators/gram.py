"""Gram matrix CᵀC of a mixed derivative held as an array."""

from __future__ import annotations

from collections.abc import Callable

from lammps_implicit.arrays import FloatArray


def gram(array: FloatArray, sum_over_ranks: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """CᵀC of all ranks.

    Parameters
    ----------
    array : (n, 3, P) float array
        C of this rank's atoms.
    sum_over_ranks : callable
        Sums an array over all ranks, as `Evaluator.sum` does.

    Returns
    -------
    (P, P) float array
    """
    flat = array.reshape(-1, array.shape[2])
    return sum_over_ranks(flat.T @ flat)
