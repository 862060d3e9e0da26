"""Printing from commands, on rank 0 only."""

from __future__ import annotations

from collections.abc import Sequence

from lammps_implicit.mpi.ranks import rank


def say(line: str) -> None:
    """Print a line, on rank 0 only."""
    if rank() == 0:
        print(line, flush=True)


def columns(rows: Sequence[Sequence[str]]) -> None:
    """Print rows as aligned columns, on rank 0 only.

    Parameters
    ----------
    rows : sequence of sequences of str
        All of the same length.
    """
    if rows:
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            say("  " + "  ".join(f"{word:<{width}}" for word, width in zip(row, widths, strict=True)).rstrip())
