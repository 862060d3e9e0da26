"""Ending all ranks when one of them has failed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType

from mpi4py import MPI

_FORWARDING = 0.5
"""Seconds between the error message and the abort: time for the launcher to forward the message before it stops."""

_PATIENCE = 3.0
"""Seconds that a failed rank waits for the others; chosen longer than the spread of ranks that fail for the same
reason, and short enough for a user to see the error at once."""


def end_together(comm: MPI.Comm, report: Callable[[], None]) -> None:
    """Report an error once, and make sure that no rank keeps waiting for one that has failed.

    Returns if all ranks have failed, so that each may exit by itself; otherwise aborts all of them within seconds.

    Parameters
    ----------
    comm : MPI.Comm
    report : callable
        Writes the error message; called on rank 0, or on the failed ranks if rank 0 is not among them.
    """
    if comm.rank == 0:
        report()
    if comm.size == 1:
        return
    # Not on a communicator that the other ranks may be using for something else.
    if not all_arrive((_ending or [comm])[0]):
        if comm.rank:  # rank 0 has not failed, or has reported already
            report()
        sys.stderr.flush()
        time.sleep(_FORWARDING)
        comm.Abort(1)
        os._exit(1)  # some MPI libraries return from Abort and leave the rest to their launcher


def all_arrive(comm: MPI.Comm, patience: float = _PATIENCE) -> bool:
    """Wait up to `patience` seconds for all ranks to call this function; return whether they did."""
    others, deadline = comm.Ibarrier(), time.monotonic() + patience
    while not others.Test():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


_ending: list[MPI.Comm] = []
"""Holds the communicator of all ranks reserved for `end_together`, once it exists."""


def end_all_on_exceptions(comm: MPI.Comm) -> None:
    """Install an exception hook: an uncaught exception on one rank of a script then ends all ranks.

    Parameters
    ----------
    comm : MPI.Comm
        Nothing is done unless it contains all ranks of ``MPI.COMM_WORLD``, more than one.
    """
    previous = sys.excepthook
    if comm.size == MPI.COMM_WORLD.size > 1 and not _ending:
        _ending.append(comm.Dup())

        def end_all_ranks(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            end_together(MPI.COMM_WORLD, lambda: previous(kind, error, trace))

        sys.excepthook = end_all_ranks
