"""Temporary files and folders: removed with the process that made them, or by the next one if that was killed."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path

from lammps_implicit.errors import OutputError

_PREFIX = "lammps-implicit-"

_temporary: set[Path] = set()


def remember_temporary(path: Path) -> None:
    """Register a temporary file or folder for removal by `remove_temporaries`."""
    _temporary.add(path)


def forget_temporary(path: Path) -> None:
    """Undo `remember_temporary`, once the path has been removed or is to be kept."""
    _temporary.discard(path)


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


def owner() -> str:
    """Return this host and process as part of a file's name, by which `remove_stale` knows whose it is."""
    return f"{socket.gethostname()}.{os.getpid()}"


def remove_stale(paths: Iterable[Path]) -> None:
    """Remove those of some files and folders that `owner` marks as of a process of this host which has ended."""
    host = socket.gethostname()
    for path in paths:
        marked = path.name.partition(f"{host}.")[2]
        digits = marked[: len(marked) - len(marked.lstrip("0123456789"))]
        if digits and not _alive(int(digits)):
            _remove(path)


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
