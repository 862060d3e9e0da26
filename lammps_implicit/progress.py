"""Progress of long calculations on rank 0: a bar on a terminal, plain lines elsewhere, with the time remaining."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]
"""Callback called with (steps done, total number of steps)."""

_INTERVAL = 10.0
"""Seconds between two plain lines; chosen to keep log files short."""


@contextmanager
def progress(title: str, root: bool = True) -> Iterator[Progress]:
    """Show progress on standard error.

    Parameters
    ----------
    title : str
        Text in front of the bar or of each line.
    root : bool
        Whether this process shows anything; true on rank 0 only.

    Yields
    ------
    callable
        Callback to be called with (done, total).
    """
    if not root:
        yield no_progress
    elif sys.stderr.isatty():
        with _bar(title) as update:
            yield update
    else:
        yield _lines(title)


@contextmanager
def _bar(title: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(title: str) -> Progress:
    start = last = time.monotonic()

    def update(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _INTERVAL and done:
            remaining = (now - start) / done * (total - done)
            print(f"{title}: {done} of {total}, about {remaining:.0f} s remaining", file=sys.stderr, flush=True)
            last = now

    return update


def no_progress(done: int, total: int) -> None:
    """Ignore progress: the default callback."""


def in_two_parts(progress: Progress) -> tuple[Progress, Progress]:
    """Split a callback into two for consecutive calculations, so that together they report one count.

    Parameters
    ----------
    progress : callable
        Called with (done, total); the count of the second calculation continues that of the first.

    Returns
    -------
    first, second : callable
        Callbacks of the two calculations, to be used in this order.
    """
    before = 0

    def first(done: int, total: int) -> None:
        nonlocal before
        before = done
        progress(done, total)

    return first, lambda done, total: progress(before + done, before + total)
