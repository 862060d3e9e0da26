"""Per-atom values and global row numbers looked up by atom id, without any array of size N on any rank."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from lammps_implicit.arrays import IntArray
from lammps_implicit.mpi.hashing import home_ranks


def first_row(comm: MPI.Comm, count: int) -> int:
    """Return the number of rows on all ranks before this one; this rank has `count` rows."""
    counts = np.empty(comm.size, np.int64)
    comm.Allgather(np.array([count], np.int64), counts)
    return int(counts[: comm.rank].sum())


def global_rows(comm: MPI.Comm, ids: IntArray, wanted: IntArray) -> IntArray:
    """Return the global row of each wanted atom; rows number the atoms rank by rank, in each rank's own order.

    Parameters
    ----------
    comm : MPI.Comm
    ids : (n,) int array
        Ids of the atoms this rank owns.
    wanted : (m,) int array
        Ids of atoms owned by any rank.

    Returns
    -------
    (m,) int array
    """
    return fetch(comm, ids, first_row(comm, len(ids)) + np.arange(len(ids), dtype=np.int64), wanted)


def fetch(
    comm: MPI.Comm, ids: IntArray, values: NDArray[Any], wanted: IntArray, missing: float | None = None
) -> NDArray[Any]:
    """Return the values of wanted atoms, whichever ranks hold them.

    Every id has a home rank (a hash of the id). Holders send their values there, and other ranks ask there: two
    all-to-all exchanges, each of the size of what a rank holds or wants.

    Parameters
    ----------
    comm : MPI.Comm
    ids : (n,) int array
        Ids of the atoms whose values this rank holds; each id on exactly one rank.
    values : (n, ...) array
        Integers or floats, one row per id.
    wanted : (m,) int array
        Ids of the atoms whose values are returned.
    missing : float, optional
        Value of atoms that no rank holds. By default every wanted atom must be held by some rank.

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
        found = sent_values[order[places]]
    else:
        found = np.full((len(asked), *values.shape[1:]), missing, values.dtype)
        held = places < len(sent_ids)
        held[held] = sent_ids[order[places[held]]] == asked[held]
        found[held] = sent_values[order[places[held]]]
    back = np.empty((len(unique), *values.shape[1:]), values.dtype)
    back[np.argsort(home, kind="stable")] = _all_to_all(comm, found, received, sent)
    return back[inverse]


def exchange(comm: MPI.Comm, values: NDArray[Any], to: IntArray) -> tuple[NDArray[Any], IntArray, IntArray]:
    """Send each value to a given rank.

    Parameters
    ----------
    comm : MPI.Comm
    values : (n, ...) array
        Integers or floats, one number or row per value.
    to : (n,) int array
        Destination rank of each value.

    Returns
    -------
    arrived : (m, ...) array
        Values sent to this rank, in order of sender.
    sent, received : (size,) int arrays
        Number of values sent to, and received from, each rank.
    """
    sent = np.bincount(to, minlength=comm.size).astype(np.int64)
    received = np.empty_like(sent)
    comm.Alltoall([sent, MPI.INT64_T], [received, MPI.INT64_T])
    return _all_to_all(comm, values[np.argsort(to, kind="stable")], sent, received), sent, received


def _all_to_all(comm: MPI.Comm, values: NDArray[Any], sent: IntArray, received: IntArray) -> NDArray[Any]:
    """Exchange rows sorted by destination rank."""
    kind, datatype = (np.float64, MPI.DOUBLE) if values.dtype.kind == "f" else (np.int64, MPI.INT64_T)
    width = int(np.prod(values.shape[1:], dtype=int))
    arrived = np.empty((int(received.sum()), *values.shape[1:]), kind)
    outgoing = np.ascontiguousarray(values, kind)
    comm.Alltoallv([outgoing, sent * width, datatype], [arrived, received * width, datatype])
    return arrived
