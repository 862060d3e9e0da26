"""Rows read on rank 0 and distributed over the ranks, so that no rank ever holds all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from mpi4py import MPI

from lammps_implicit.arrays import FloatArray

_END, _FAILED = -1, -2


def deal(comm: MPI.Comm, pieces: Callable[[], Iterator[FloatArray]], width: int) -> FloatArray:
    """Read rows on rank 0 piece by piece, and send the pieces to the ranks in turn (round robin).

    Parameters
    ----------
    comm : MPI.Comm
    pieces : callable
        Returns an iterator over (m, width) float arrays; called on rank 0 only.
    width : int
        Number of columns.

    Returns
    -------
    (n, width) float array
        The rows sent to this rank. No rank holds more than its own rows and one piece at any time.

    Raises
    ------
    Exception
        Whatever `pieces` raises on rank 0, on all ranks.
    """
    mine = [np.empty((0, width))]
    failure: Exception | None = None
    source = _caught(pieces) if comm.rank == 0 else None
    turn, count = 0, np.zeros(1, np.int64)
    while True:
        piece: FloatArray | None = None
        if source is not None:
            piece, failure = next(source)
            count[0] = len(piece) if piece is not None else _END if failure is None else _FAILED
        comm.Bcast(count)
        if count[0] < 0:
            break
        if turn == 0 and piece is not None:
            mine.append(piece)
        elif piece is not None:
            comm.Send(np.ascontiguousarray(piece, np.float64), dest=turn)
        elif turn == comm.rank:
            mine.append(np.empty((int(count[0]), width)))
            comm.Recv(mine[-1], source=0)
        turn = (turn + 1) % comm.size
    if count[0] == _FAILED:
        failure = comm.bcast(failure)
        assert failure is not None
        raise failure
    return np.concatenate(mine)


def _caught(pieces: Callable[[], Iterator[FloatArray]]) -> Iterator[tuple[FloatArray | None, Exception | None]]:
    """Yield (piece, None) for every piece, then (None, error), or (None, None) at a regular end."""
    try:
        for piece in pieces():
            yield piece, None
    except Exception as error:  # of any kind: the other ranks must not wait for further pieces
        yield None, error
    yield None, None
