"""Which rank owns an atom, and which global row it has, asked by id without any rank holding an array of size N."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


def first_row(comm: Any, count: int) -> int:
    """Number of atoms owned by the ranks before this one."""
    before = comm.exscan(count)  # undefined on rank 0
    return int(before) if comm.rank else 0


def global_rows(comm: Any, ids: IntArray, wanted: IntArray) -> IntArray:
    """Return the global row of each wanted atom: rows count atoms rank by rank, in each rank's own order.

    Every id has a home rank (id modulo the number of ranks) that its owner reports to and that others ask: two
    all-to-all exchanges of what each rank owns and wants.

    Parameters
    ----------
    comm : mpi4py communicator
    ids : (n,) int array
        Of the atoms this rank owns.
    wanted : (m,) int array
        Ids owned by any rank.

    Returns
    -------
    (m,) int array
    """
    rows = first_row(comm, len(ids)) + np.arange(len(ids), dtype=np.int64)
    told_ids, _, _ = exchange(comm, ids, ids % comm.size)
    told_rows, _, _ = exchange(comm, rows, ids % comm.size)
    order = np.argsort(told_ids)
    unique, inverse = np.unique(wanted, return_inverse=True)
    asked, sent, received = exchange(comm, unique, unique % comm.size)
    answers = told_rows[order[np.searchsorted(told_ids, asked, sorter=order)]]
    returned = np.empty(len(unique), np.int64)
    comm.Alltoallv([answers, received, MPI.INT64_T], [returned, sent, MPI.INT64_T])
    back = np.empty(len(unique), np.int64)
    back[np.argsort(unique % comm.size, kind="stable")] = returned
    return back[inverse]


def exchange(comm: Any, values: IntArray, to: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Send each value to a rank; return what arrived, and how many went to and came from each rank."""
    sent = np.bincount(to, minlength=comm.size).astype(np.int64)
    received = np.empty_like(sent)
    comm.Alltoall([sent, MPI.INT64_T], [received, MPI.INT64_T])
    arrived = np.empty(int(received.sum()), np.int64)
    outgoing = np.ascontiguousarray(values[np.argsort(to, kind="stable")], np.int64)
    comm.Alltoallv([outgoing, sent, MPI.INT64_T], [arrived, received, MPI.INT64_T])
    return arrived, sent, received
