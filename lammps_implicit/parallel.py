"""What one rank does for all, without the others waiting in vain; and atoms in id order, rank by rank.

Results are written in id order by rank 0, which never holds more than a piece of any per-atom array: ranks exchange
rows so that each has a block of ids, and pass their blocks on piece by piece.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

T = TypeVar("T")

PIECE = 65_536
"""Atoms passed on at a time."""

FORWARDING = 0.5
"""Seconds in which a launcher passes on what was written, before the ranks are ended and it stops listening."""

PATIENCE = 3.0
"""Seconds in which all ranks must have failed before one that has ends them."""


def on_root(comm: Any, task: Callable[[], T]) -> T:
    """Run a task on rank 0 and give its result, or its error, to every rank."""
    outcome: Any = None
    if comm.rank == 0:
        try:
            outcome = task()
        except Exception as error:  # whatever it is, the other ranks must not wait for it
            outcome = error
    outcome = comm.bcast(outcome)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@contextmanager
def opened_on_root(comm: Any, make: Callable[[], AbstractContextManager[T]]) -> Iterator[T | None]:
    """Enter a context on rank 0; other ranks get None. What fails there on entering or leaving, all ranks raise.

    What is raised inside must be raised on all ranks.
    """
    with ExitStack() as stack:
        opened: list[T] = []
        on_root(comm, lambda: opened.append(stack.enter_context(make())))
        yield opened[0] if opened else None
        on_root(comm, stack.close)


def end_together(comm: Any, report: Callable[[], None]) -> None:
    """Report an error once, and see to it that no rank goes on waiting for one that failed.

    Returns when all ranks have failed, which may then exit; otherwise ends them all within seconds.
    """
    if comm.rank == 0:
        report()
    if comm.size == 1:
        return
    # Not on a communicator that the others may be using for something else.
    others, deadline = (_ending or [comm])[0].Ibarrier(), time.monotonic() + PATIENCE
    while not others.Test():
        if time.monotonic() > deadline:
            if comm.rank:  # rank 0 is one of those that wait
                report()
            sys.stderr.flush()
            time.sleep(FORWARDING)
            comm.Abort(1)
            os._exit(1)  # some libraries return from it and let their launcher end the job
        time.sleep(0.01)


_ending: list[Any] = []
"""A communicator of all ranks that only `end_together` uses, once there is one."""


def end_all_on_exceptions(comm: Any) -> None:
    """Have exceptions that nobody catches on some rank of a script end all ranks, as they would a single process.

    Parameters
    ----------
    comm : mpi4py communicator
        Nothing is done unless it holds all ranks.
    """
    previous = sys.excepthook
    if comm.size == MPI.COMM_WORLD.size > 1 and not _ending:
        _ending.append(comm.Dup())

        def end_all_ranks(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            end_together(MPI.COMM_WORLD, lambda: previous(kind, error, trace))

        sys.excepthook = end_all_ranks


class IdOrder:
    """The atoms of all ranks in the order of their ids.

    Parameters
    ----------
    comm : mpi4py communicator
    ids : (n,) int array
        Of the atoms this rank owns; positive, each on one rank.

    Attributes
    ----------
    total : int
        Number of atoms on all ranks.
    """

    def __init__(self, comm: Any, ids: NDArray[np.int64]) -> None:
        self.comm = comm
        highest = max(comm.allgather(int(ids.max(initial=1))))
        width = -(-highest // comm.size)
        to = (ids - 1) // width
        self._order = np.argsort(to, kind="stable")
        self._sent = np.bincount(to, minlength=comm.size)
        self._received = np.array(comm.alltoall(self._sent.tolist()))
        self._sorted = np.argsort(self._exchange(ids))
        self._counts = comm.allgather(len(self._sorted))
        self.total = sum(self._counts)

    def stream(self, array: NDArray[Any], write: Callable[[int, NDArray[Any]], None]) -> None:
        """Pass the rows of a per-atom array to `write` on rank 0, in id order, a piece at a time.

        Parameters
        ----------
        array : (n, ...) array
            One row an atom this rank owns.
        write : callable
            Takes the place of the first row and the rows. What it raises is raised on all ranks, once all is passed on.
        """
        block = np.ascontiguousarray(self._exchange(np.ascontiguousarray(array))[self._sorted])
        failure: Exception | None = None
        place = 0
        for rank, count in enumerate(self._counts):
            for first in range(0, count, PIECE):
                last = min(first + PIECE, count)
                rows = self._passed_on(block, rank, first, last)
                if rows is not None and failure is None:
                    try:
                        write(place + first, rows)
                    except Exception as error:  # the other ranks go on sending
                        failure = error
            place += count
        failure = self.comm.bcast(failure)
        if failure is not None:
            raise failure

    def gather(self, array: NDArray[Any]) -> NDArray[Any] | None:
        """Return the whole array in id order on rank 0, None on others."""
        whole = np.empty((self.total, *array.shape[1:]), array.dtype) if self.comm.rank == 0 else None

        def write(place: int, rows: NDArray[Any]) -> None:
            assert whole is not None
            whole[place : place + len(rows)] = rows

        self.stream(array, write)
        return whole

    def _passed_on(self, block: NDArray[Any], rank: int, first: int, last: int) -> NDArray[Any] | None:
        """Rows of `rank`'s block on rank 0, None on others."""
        if rank == self.comm.rank == 0:
            return block[first:last]
        if self.comm.rank == rank:
            self.comm.Send(block[first:last], dest=0)
        if self.comm.rank == 0:
            rows = np.empty((last - first, *block.shape[1:]), block.dtype)
            self.comm.Recv(rows, source=rank)
            return rows
        return None

    def _exchange(self, array: NDArray[Any]) -> NDArray[Any]:
        """Send each row to the rank that has its id's block."""
        width = int(np.prod(array.shape[1:]))
        arrived = np.empty((int(self._received.sum()), *array.shape[1:]), array.dtype)
        self.comm.Alltoallv([array[self._order], self._sent * width], [arrived, self._received * width])
        return arrived
