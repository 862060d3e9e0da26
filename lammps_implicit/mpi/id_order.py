"""Atoms in the order of their ids, rank by rank."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIECE = 65_536
"""Atoms passed on at a time."""


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
