"""What one rank does for all, without the others waiting in vain; and atoms in id order, rank by rank.

Results are written in id order by rank 0, which never holds more than a piece of any per-atom array: ranks exchange
rows so that each has a block of ids, and pass their blocks on piece by piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


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
