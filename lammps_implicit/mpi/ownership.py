"""Which rank owns an atom, and which global row it has, asked by id without any rank holding an array of size N."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from lammps_implicit.arrays import IntArray
from lammps_implicit.mpi.hashing import home_ranks


def first_row(comm: MPI.Comm, count: int) -> int:
    """Return the number of atoms owned by the ranks before this one, of which this rank owns `count`."""
    counts = np.empty(comm.size, np.int64)
    comm.Allgather(np.array([count], np.int64), counts)
    return int(counts[: comm.rank].sum())


def global_rows(comm: MPI.Comm, ids: IntArray, wanted: IntArray) -> IntArray:
    """Return the global row of each wanted atom: rows count atoms rank by rank, in each rank's own order.

    Parameters
    ----------
    comm : MPI.Comm
    ids : (n,) int array
        Of the atoms this rank owns.
    wanted : (m,) int array
        Ids owned by any rank.

    Returns
    -------
    (m,) int array
    """
    return fetch(comm, ids, first_row(comm, len(ids)) + np.arange(len(ids), dtype=np.int64), wanted)


def fetch(
    comm: MPI.Comm, ids: IntArray, values: NDArray[Any], wanted: IntArray, missing: float | None = None
) -> NDArray[Any]:
    """Return the values of wanted atoms, whichever rank holds them.

    Every id has a home rank (a hash of the id) that its owner sends the value to and that others ask for it: two
    all-to-all exchanges of what each rank owns and wants.

    Parameters
    ----------
    comm : MPI.Comm
    ids : (n,) int array
        Of the atoms this rank holds values of.
    values : (n, ...) array
        Integers or floats.
    wanted : (m,) int array
        Ids held by any rank.
    missing : float, optional
        Value of atoms that no rank holds; default: there are none.

    Returns
    -------
    (m, ...) array
    """
    owners_home = home_ranks(ids, comm.size)
    sent_ids, _, _ = exchange(comm, ids, owners_home)
    sent_values, _, _ = exchange(comm, values, owners_home)
    order = np.argsort(sent_ids)
    unique, inverse = np.unique(wanted, return_inverse=True)
    home = home_ranks(unique, comm.size)
    asked, sent, received = exchange(comm, unique, home)
    places = np.searchsorted(sent_ids, asked, sorter=order)
    if missing is None:
        answers = sent_values[order[places]]
    else:
        answers = np.full((len(asked), *values.shape[1:]), missing, values.dtype)
        held = places < len(sent_ids)
        held[held] = sent_ids[order[places[held]]] == asked[held]
        answers[held] = sent_values[order[places[held]]]
    back = np.empty((len(unique), *values.shape[1:]), values.dtype)
    back[np.argsort(home, kind="stable")] = _all_to_all(comm, answers, received, sent)
    return back[inverse]


def exchange(comm: MPI.Comm, values: NDArray[Any], to: IntArray) -> tuple[NDArray[Any], IntArray, IntArray]:
    """Send each value (a number or a row) to a rank; return what arrived, and how many went to and came from each."""
    sent = np.bincount(to, minlength=comm.size).astype(np.int64)
    received = np.empty_like(sent)
    comm.Alltoall([sent, MPI.INT64_T], [received, MPI.INT64_T])
    return _all_to_all(comm, values[np.argsort(to, kind="stable")], sent, received), sent, received


def _all_to_all(comm: MPI.Comm, values: NDArray[Any], sent: IntArray, received: IntArray) -> NDArray[Any]:
    """Send rows that stand rank by rank."""
    kind, datatype = (np.float64, MPI.DOUBLE) if values.dtype.kind == "f" else (np.int64, MPI.INT64_T)
    width = int(np.prod(values.shape[1:], dtype=int))
    arrived = np.empty((int(received.sum()), *values.shape[1:]), kind)
    outgoing = np.ascontiguousarray(values, kind)
    comm.Alltoallv([outgoing, sent * width, datatype], [arrived, received * width, datatype])
    return arrived
