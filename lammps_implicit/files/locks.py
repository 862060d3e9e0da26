"""Locks of results that one process at a time may work on."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lammps_implicit.errors import OutputError
from lammps_implicit.files.temporary import forget_temporary, remember_temporary


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a file of results against other processes; the lock is released with the process, however it ends.

    A process that is killed leaves an empty file behind, which the next owner of the lock takes over.

    Parameters
    ----------
    path : Path
        The file; its folder is created if needed.

    Raises
    ------
    OutputError
        If another process works on the file, or the folder cannot be created.
    """
    lock, made = path.with_name(f".{path.name}.lock"), not path.parent.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _owned(lock)
    except BlockingIOError:
        raise OutputError(f"another process works on {path}") from None
    except OSError as error:
        raise OutputError(f"cannot write in the folder {path.parent}: {error.strerror}") from None
    with file:
        remember_temporary(lock, watched=False)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
            forget_temporary(lock)
            if made:
                with suppress(OSError):  # where nothing was computed, the folder is as empty as it was made
                    path.parent.rmdir()


def _owned(lock: Path) -> IO[str]:
    """Open the file of a lock and lock it."""
    while True:
        file = open(lock, "w", encoding="utf-8")  # noqa: SIM115
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.close()
                raise BlockingIOError from None
            return file  # the file system has no locks: proceed without
        if _is_at(file, lock):
            return file
        file.close()  # its owner has removed it in the meantime


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
