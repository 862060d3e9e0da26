"""Which rank this process is, without loading MPI."""

from __future__ import annotations

import sys


def rank() -> int:
    """Rank of this process in ``MPI.COMM_WORLD``; 0 before MPI is loaded."""
    mpi = sys.modules.get("mpi4py.MPI")
    return int(mpi.COMM_WORLD.rank) if mpi else 0
