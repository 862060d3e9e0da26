"""What commands print, on rank 0 alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def rank() -> int:
    """Rank of this process; 0 before MPI is loaded."""
    mpi = sys.modules.get("mpi4py.MPI")
    return int(mpi.COMM_WORLD.rank) if mpi else 0


def say(line: str) -> None:
    """Print a line."""
    if rank() == 0:
        print(line, flush=True)


def columns(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of equal length, their words below each other."""
    if rows:
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            say("  " + "  ".join(f"{word:<{width}}" for word, width in zip(row, widths, strict=True)).rstrip())
