"""LAMMPS' failures as one message."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path


def lammps_message(text: str) -> str:
    """LAMMPS' message on one line, without its source positions, markers and pointers to the manual."""
    lines = [re.sub(r"\(src/\S+?:\d+\)", "", line).strip() for line in text.splitlines()]
    lines = [line for line in lines if line.strip("^ ") and not line.startswith("For more information see")]
    lines = [re.sub(r"^ERROR( on proc \d+)?: ", "", line) for line in lines]
    return "; ".join(re.sub(r"^Last input line: (.*)", r"in the line '\1'", line) for line in lines)


@contextlib.contextmanager
def quit_reported(deck: str, scratch: Path) -> Iterator[None]:
    """Say so, and fail, where a deck's ``quit`` makes LAMMPS end the whole process."""
    running = [True]

    def fail(_: object) -> None:
        if running:
            message = (
                f"error: the deck {deck} ends this process with 'quit': remove that line, so that we can take over\n"
            )
            os.write(2, message.encode())
            shutil.rmtree(scratch, ignore_errors=True)
            os._exit(1)

    # LAMMPS calls C's exit, which knows nothing of Python's handlers. One of C's own, under a handle of ours that takes
    # it away again: it must not be called once Python is gone.
    libc, handle = ctypes.CDLL(None), ctypes.create_string_buffer(1)
    callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(fail)
    libc.__cxa_atexit(callback, None, handle)
    try:
        yield
    finally:
        running.clear()
        libc.__cxa_finalize(handle)
