"""Output files appear whole or not at all, and never replace one silently."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from lammps_implicit.errors import OutputError


def refuse_to_overwrite(path: str | os.PathLike[str], overwrite: bool) -> None:
    """Check an output path before work starts.

    Raises
    ------
    OutputError
        If the file exists and `overwrite` is false, it is a folder, or its folder does not exist or cannot be written.
    """
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"{target} is a folder, not a file to write")
    if target.exists() and not overwrite:
        raise OutputError(f"{target} exists already: choose another name or pass --overwrite")
    folder = target.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"cannot write {target}: the folder {folder} does not exist")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"cannot write {target}: no permission to write in {folder}")


@contextlib.contextmanager
def written_whole(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` when the context ends well, else remove it.

    Raises
    ------
    OutputError
        As `refuse_to_overwrite`, or if writing fails: no space, no permission.
    """
    refuse_to_overwrite(path, overwrite)
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except (OSError, RuntimeError) as error:  # h5py reports a full disk as either
        raise OutputError(f"cannot write {target}: {_first_line(error)}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).splitlines()[0] if str(error) else type(error).__name__
