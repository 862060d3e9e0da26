"""What rank 0 does for all, without the others waiting in vain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeVar

from mpi4py import MPI
from mpi4py.util import pkl5

T = TypeVar("T")


def on_root(comm: MPI.Comm, task: Callable[[], T]) -> T:
    """Run a task on rank 0 and give its result, or its error, to every rank."""
    outcome: Any = None
    if comm.rank == 0:
        try:
            outcome = task()
        except Exception as error:  # whatever it is, the other ranks must not wait for it
            outcome = error
    outcome = pkl5.Intracomm(comm).bcast(outcome)  # which sends the arrays in it from their own memory
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@contextmanager
def opened_on_root(comm: MPI.Comm, make: Callable[[], AbstractContextManager[T]]) -> Iterator[T | None]:
    """Enter a context on rank 0; other ranks get None. What fails there on entering or leaving, all ranks raise.

    What is raised inside must be raised on all ranks.
    """
    with ExitStack() as stack:
        opened: list[T] = []
        on_root(comm, lambda: opened.append(stack.enter_context(make())))
        yield opened[0] if opened else None
        on_root(comm, stack.close)
