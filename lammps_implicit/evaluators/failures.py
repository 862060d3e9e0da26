"""LAMMPS' error messages on one line, and decks that end the process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

_FORWARDING = 0.5
"""Seconds that the other ranks leave to the one that reports, before the launcher ends all."""


def lammps_message(text: str) -> str:
    """Condense an error message of LAMMPS to one line, without source positions, markers and links to the manual."""
    lines = [re.sub(r"\(src/\S+?:\d+\)", "", line).strip() for line in text.splitlines()]
    lines = [line for line in lines if line.strip("^ ") and not line.startswith("For more information see")]
    lines = [re.sub(r"^ERROR( on proc \d+)?: ", "", line) for line in lines]
    return "; ".join(re.sub(r"^Last input line: (.*)", r"in the line '\1'", line) for line in lines)


@contextlib.contextmanager
def quit_reported(deck: str, scratch: Path, reports: bool = True) -> Iterator[None]:
    """Exit with an error message if a deck's ``quit`` makes LAMMPS end the process inside the context.

    Parameters
    ----------
    deck : str
        Name of the deck, for the message.
    scratch : Path
        Temporary folder to remove.
    reports : bool
        Whether this rank writes the message; the others leave it time to.
    """
    running = [True]

    def fail(_: object) -> None:
        if running:
            message = (
                f"error: the deck {deck} ends LAMMPS with 'quit', before anything can be computed: remove that line\n"
            )
            if reports:
                os.write(2, message.encode())
            else:
                time.sleep(_FORWARDING)
            shutil.rmtree(scratch, ignore_errors=True)
            os._exit(1)

    # LAMMPS calls C's exit, which does not run Python's exit handlers. This registers one with C, under a handle by
    # which it is removed again: it must not be called after Python has been finalised.
    libc, handle = ctypes.CDLL(None), ctypes.create_string_buffer(1)
    callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(fail)
    libc.__cxa_atexit(callback, None, handle)
    try:
        yield
    finally:
        running.clear()
        libc.__cxa_finalize(handle)
