"""Progress of long work on rank 0: a bar on a terminal, plain lines elsewhere, both with the time that remains."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_EVERY = 10.0
"""Seconds between plain lines."""


@contextmanager
def progress(title: str, root: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Give a callback that takes steps done and in all; silent where `root` is false."""
    if not root:
        yield lambda done, total: None
    elif sys.stderr.isatty():
        with _bar(title) as update:
            yield update
    else:
        yield _lines(title)


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(title: str) -> Callable[[int, int], None]:
    start = last = time.monotonic()

    def update(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _EVERY and done:
            remaining = (now - start) / done * (total - done)
            print(f"{title}: {done} of {total}, about {remaining:.0f} s remain", file=sys.stderr, flush=True)
            last = now

    return update


Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


def in_two_parts(progress: Progress) -> tuple[Progress, Progress]:
    """What tells of one thing after another, as if they were one."""
    before = 0

    def first(done: int, total: int) -> None:
        nonlocal before
        before = done
        progress(done, total)

    return first, lambda done, total: progress(before + done, before + total)
