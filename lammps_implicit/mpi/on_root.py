"""Tasks that rank 0 does for all ranks; its errors are raised on every rank, so that none waits forever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeVar

from mpi4py import MPI
from mpi4py.util import pkl5

T = TypeVar("T")


def on_root(comm: MPI.Comm, task: Callable[[], T]) -> T:
    """Run a task on rank 0 and broadcast its result.

    Parameters
    ----------
    comm : MPI.Comm
    task : callable
        Called without arguments on rank 0. Its result is pickled, except for the memory of arrays in it.

    Returns
    -------
    object
        The result of the task, on every rank.

    Raises
    ------
    Exception
        Whatever the task raises, on every rank.
    """
    outcome: Any = None
    if comm.rank == 0:
        try:
            outcome = task()
        except Exception as error:  # of any kind: the other ranks must not wait for a result
            outcome = error
    outcome = pkl5.Intracomm(comm).bcast(outcome)  # sends arrays from their own memory (pickle protocol 5)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@contextmanager
def opened_on_root(comm: MPI.Comm, make: Callable[[], AbstractContextManager[T]]) -> Iterator[T | None]:
    """Enter a context on rank 0, for example an open file.

    Parameters
    ----------
    comm : MPI.Comm
    make : callable
        Returns the context manager; called on rank 0.

    Yields
    ------
    object or None
        What the context manager yields on rank 0, None on the other ranks.

    Raises
    ------
    Exception
        On all ranks, whatever entering or leaving the context raises on rank 0. Errors inside the context must be
        raised on all ranks by the caller.
    """
    with ExitStack() as stack:
        opened: list[T] = []
        on_root(comm, lambda: opened.append(stack.enter_context(make())))
        yield opened[0] if opened else None
        on_root(comm, stack.close)
