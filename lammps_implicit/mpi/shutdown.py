"""Ending all ranks when one has failed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType

from mpi4py import MPI

FORWARDING = 0.5
"""Seconds in which a launcher passes on what was written, before the ranks are ended and it stops listening."""

PATIENCE = 3.0
"""Seconds that a rank which has failed waits for the others."""


def end_together(comm: MPI.Comm, report: Callable[[], None]) -> None:
    """Report an error once, and see to it that no rank goes on waiting for one that failed.

    Returns when all ranks have failed, which may then exit; otherwise ends them all within seconds.
    """
    if comm.rank == 0:
        report()
    if comm.size == 1:
        return
    # Not on a communicator that the others may be using for something else.
    if not all_arrive((_ending or [comm])[0]):
        if comm.rank:  # rank 0 is one of those that wait
            report()
        sys.stderr.flush()
        time.sleep(FORWARDING)
        comm.Abort(1)
        os._exit(1)  # some libraries return from it and let their launcher end the job


def all_arrive(comm: MPI.Comm) -> bool:
    """Wait for all ranks to get here, at most for `PATIENCE`, and return whether they have."""
    others, deadline = comm.Ibarrier(), time.monotonic() + PATIENCE
    while not others.Test():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


_ending: list[MPI.Comm] = []
"""A communicator of all ranks that only `end_together` uses, once there is one."""


def end_all_on_exceptions(comm: MPI.Comm) -> None:
    """Have exceptions that nobody catches on some rank of a script end all ranks, as they would a single process.

    Parameters
    ----------
    comm : MPI.Comm
        Nothing is done unless it holds all ranks.
    """
    previous = sys.excepthook
    if comm.size == MPI.COMM_WORLD.size > 1 and not _ending:
        _ending.append(comm.Dup())

        def end_all_ranks(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            end_together(MPI.COMM_WORLD, lambda: previous(kind, error, trace))

        sys.excepthook = end_all_ranks
