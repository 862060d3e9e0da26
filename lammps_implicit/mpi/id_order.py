"""Per-atom arrays in the order of atom ids.

Rank 0 writes results in id order without ever holding more than a piece of a per-atom array: the ranks exchange rows
such that each holds a contiguous block of ids, and send their blocks to rank 0 piece by piece.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from lammps_implicit.arrays import IntArray

PIECE = 65_536
"""Atoms sent to rank 0 at a time: 1.5 MB of coordinates, small beside a rank's other arrays."""


class IdOrder:
    """Redistribution of per-atom arrays into id order, with equal numbers of atoms per rank (to within one).

    Collective: created and used on all ranks together.

    Parameters
    ----------
    comm : MPI.Comm
    ids : (n,) int array
        Ids of the atoms this rank owns; each id on exactly one rank.

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
        """Pass the rows of a per-atom array to `write` on rank 0, in id order, one piece at a time.

        Parameters
        ----------
        array : (n, ...) array
            One row per atom this rank owns, in the order of its `ids`.
        write : callable
            Called on rank 0 with (index of the first row, rows).

        Raises
        ------
        Exception
            Whatever `write` raises on rank 0, on all ranks, after all rows have been sent.
        """
        block = np.ascontiguousarray(self._exchange(np.ascontiguousarray(array))[self._sorted])
        failure: Exception | None = None
        place = 0
        for rank, count in enumerate(self._counts.tolist()):
            for first in range(0, count, PIECE):
                last = min(first + PIECE, count)
                rows = self._to_root(block, rank, first, last)
                if rows is not None and failure is None:
                    try:
                        write(place + first, rows)
                    except Exception as error:  # the other ranks still send their rows
                        failure = error
            place += count
        failure = self.comm.bcast(failure)
        if failure is not None:
            raise failure

    def gather(self, array: NDArray[Any]) -> NDArray[Any] | None:
        """Return the complete array in id order on rank 0, (total, ...), and None on the other ranks."""
        whole = np.empty((self.total, *array.shape[1:]), array.dtype) if self.comm.rank == 0 else None

        def write(place: int, rows: NDArray[Any]) -> None:
            assert whole is not None
            whole[place : place + len(rows)] = rows

        self.stream(array, write)
        return whole

    def _to_root(self, block: NDArray[Any], rank: int, first: int, last: int) -> NDArray[Any] | None:
        """Send rows of `rank`'s block to rank 0; return them there, and None on the other ranks."""
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
        """Send each row to the rank whose block contains its id."""
        width = int(np.prod(array.shape[1:]))
        arrived = np.empty((int(self._received.sum()), *array.shape[1:]), array.dtype)
        self.comm.Alltoallv([array[self._order], self._sent * width], [arrived, self._received * width])
        return arrived


def _last_ids(comm: MPI.Comm, ids: IntArray) -> IntArray:
    """Highest id of each rank's block except the last rank's, (size - 1,).

    Found by bisection as the smallest id up to which there are at least as many atoms as all ranks so far should hold.
    The result depends on the ids only, not on their owners; the number of reductions is the number of binary digits of
    the range of ids.

    Parameters
    ----------
    comm : MPI.Comm
    ids : (n,) int array
        Sorted ids of the atoms this rank owns.
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
