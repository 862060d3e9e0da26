"""What commands print, on rank 0 alone."""

from __future__ import annotations

from collections.abc import Sequence

from lammps_implicit.mpi.ranks import rank


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
