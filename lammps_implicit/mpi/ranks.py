"""The number of this process."""

from __future__ import annotations

from mpi4py import MPI


def rank() -> int:
    """Return the rank of this process in ``MPI.COMM_WORLD``."""
    return MPI.COMM_WORLD.rank
