"""Atoms in the order of their ids, rank by rank.

Results are written in id order by rank 0, which never holds more than a piece of any per-atom array: ranks exchange
rows so that each has a block of ids, and pass their blocks on piece by piece.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from lammps_implicit.arrays import IntArray

PIECE = 65_536
"""Atoms passed on at a time."""


class IdOrder:
    """The atoms of all ranks in the order of their ids; every rank gets the same number of them, to within one.

    Parameters
    ----------
    comm : MPI.Comm
    ids : (n,) int array
        Of the atoms this rank owns; each on one rank.

    Attributes
    ----------
    total : int
        Number of atoms on all ranks.
    """

    def __init__(self, comm: MPI.Comm, ids: IntArray) -> None:
        self.comm = comm
        to = np.searchsorted(_last_ids(comm, np.sort(ids)), ids)
        self._order = np.argsort(to, kind="stable")
        self._sent = np.bincount(to, minlength=comm.size).astype(np.int64)
        self._received = np.empty_like(self._sent)
        comm.Alltoall(self._sent, self._received)
        self._sorted = np.argsort(self._exchange(ids))
        self._counts = np.empty(comm.size, np.int64)
        comm.Allgather(np.array([len(self._sorted)], np.int64), self._counts)
        self.total = int(self._counts.sum())

    def stream(self, array: NDArray[Any], write: Callable[[int, NDArray[Any]], None]) -> None:
        """Pass the rows of a per-atom array to `write` on rank 0, in id order, a piece at a time.

        Parameters
        ----------
        array : (n, ...) array
            One row an atom this rank owns.
        write : callable
            Called with the index of the first row and the rows. What it raises is raised on all ranks, once all rows
            are passed on.
        """
        block = np.ascontiguousarray(self._exchange(np.ascontiguousarray(array))[self._sorted])
        failure: Exception | None = None
        place = 0
        for rank, count in enumerate(self._counts.tolist()):
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


def _last_ids(comm: MPI.Comm, ids: IntArray) -> IntArray:
    """Highest id of each rank's block, (size - 1,), the last rank's left out.

    Bisection: the smallest id up to which at least as many atoms lie as the ranks so far are to have. It depends on
    the ids alone, not on where they are, and takes as many reductions as the highest id has binary digits.

    Parameters
    ----------
    comm : MPI.Comm
    ids : (n,) int array
        Of the atoms this rank owns, sorted.
    """
    total = np.array([len(ids)], np.int64)
    comm.Allreduce(MPI.IN_PLACE, total)
    ends = np.array((-ids[0], ids[-1]) if len(ids) else (-np.iinfo(np.int64).max,) * 2, np.int64)
    comm.Allreduce(MPI.IN_PLACE, ends, op=MPI.MAX)
    wanted = total[0] * np.arange(1, comm.size) // comm.size
    low, high = np.full(comm.size - 1, -ends[0]), np.full(comm.size - 1, ends[1])
    while np.any(low < high):
        middle = low + (high - low) // 2
        counts = np.searchsorted(ids, middle, side="right").astype(np.int64)
        comm.Allreduce(MPI.IN_PLACE, counts)
        enough = counts >= wanted
        low, high = np.where(enough, low, middle + 1), np.where(enough, middle, high)
    return high
