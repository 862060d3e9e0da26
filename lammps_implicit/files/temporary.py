"""Temporary files and folders: removed with the process that made them, however that ends.

A signal that can be caught removes them at once. A process that is killed (``kill -9``, or by its launcher because
another rank has ended) is outlived by a small watcher, which removes them then. Where the watcher is killed too, as by
some batch systems, the next process does.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from lammps_implicit.errors import OutputError
from lammps_implicit.interrupts import before_ending

_PREFIX = "lammps-implicit-"

_WATCH = 'read -r _ || rm -rf -- "$0"'
"""Shell command of a watcher: a line says that the path is to be left alone, the end of the input that its owner has
ended without saying so."""

_temporary: dict[Path, subprocess.Popen[bytes] | None] = {}
"""Temporary files and folders of this process, and what watches them."""


def remember_temporary(path: Path, *, watched: bool = True) -> None:
    """Register a temporary file or folder for removal when this process is ended by a signal.

    Parameters
    ----------
    path : Path
        Absolute path.
    watched : bool
        Whether it is removed by a watcher after ``kill -9`` too. Not for what another process may take over, as locks.
    """
    _temporary[path] = _watcher(path) if watched else None


def forget_temporary(path: Path) -> None:
    """Undo `remember_temporary`, once the path has been removed or is to be kept."""
    watcher = _temporary.pop(path, None)
    if watcher is not None:
        with contextlib.suppress(BrokenPipeError):
            watcher.communicate(b"\n")


def remove_temporary(path: Path) -> None:
    """Remove a registered temporary file or folder, and forget it."""
    _remove(path)
    forget_temporary(path)


@before_ending
def remove_temporaries() -> None:
    """Remove all registered temporary files and folders; called before the process is killed."""
    for path in list(_temporary):
        _remove(path)


def temporary_folder() -> Path:
    """Make a temporary folder, registered for removal, and remove those of processes that were killed.

    Raises
    ------
    OutputError
        If there is no folder for temporary files that can be written to.
    """
    try:
        parent = Path(tempfile.gettempdir())
        remove_stale(parent.glob(f"{_PREFIX}*"))
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{owner()}-"))
    except OSError as error:
        raise OutputError(
            f"cannot make a temporary folder ({error.strerror or error}): set TMPDIR to a folder with space that can "
            "be written to"
        ) from None
    remember_temporary(folder)
    return folder


@contextlib.contextmanager
def in_temporary_folder() -> Iterator[Path]:
    """Make a `temporary_folder` that is removed after the context.

    Yields
    ------
    Path
    """
    folder = temporary_folder()
    try:
        yield folder
    finally:
        remove_temporary(folder)


def owner() -> str:
    """Return this host and process as part of a file's name, by which `remove_stale` knows whose it is."""
    return f"{socket.gethostname()}.{os.getpid()}"


def remove_stale(paths: Iterable[Path]) -> None:
    """Remove those of some files and folders that `owner` marks as of a process of this host which has ended."""
    # The name of another host may end like that of this one.
    ours = re.compile(rf"(?:^{_PREFIX}|\.){re.escape(socket.gethostname())}\.(\d+)(?:-[^.]*|\.partial)$")
    for path in paths:
        found = ours.search(path.name)
        if found and not _alive(int(found[1])):
            _remove(path)


def _watcher(path: Path) -> subprocess.Popen[bytes] | None:
    """Start a watcher of a path, in a session of its own, so that signals to this one do not reach it."""
    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, os.fspath(path)],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:  # no process to be had: the next run removes what is left
        return None


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            return  # it is somebody else's
