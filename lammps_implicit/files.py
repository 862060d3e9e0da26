"""Output files: written completely or not at all, and never overwritten silently."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lammps_implicit.errors import OutputError

FORMAT_VERSION = 1
"""Version of HDF5 files, their attribute ``format_version``; files without it are of version 0, and are readable."""

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
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 digest of a file as a hexadecimal string."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def refuse_to_overwrite(path: str | os.PathLike[str], overwrite: bool) -> None:
    """Check that an output file can be written, before any work is done.

    Raises
    ------
    OutputError
        If the file exists and `overwrite` is false, the path is a folder, or the containing folder does not exist or is
        not writable.
    """
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"cannot write {target}: it is a folder; give the name of a file")
    if target.exists() and not overwrite:
        raise OutputError(f"{target} exists already: choose another name, or pass --overwrite")
    folder = target.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"cannot write {target}: the folder {folder} does not exist")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"cannot write {target}: no permission to write in {folder}")


def refuse_inputs(output: str | os.PathLike[str], *inputs: str | os.PathLike[str]) -> None:
    """Check that an output file is not one of its own input files.

    Raises
    ------
    OutputError
        If it is.
    """
    for path in inputs:
        if Path(path).resolve() == Path(output).resolve():
            raise OutputError(f"{output} is also an input file: choose another name for the output")


def beside(path: str | os.PathLike[str], *endings: str) -> list[Path]:
    """Return the paths of files written beside an HDF5 file: its name with other suffixes.

    Parameters
    ----------
    path : path
        The HDF5 file.
    *endings : str
        Suffixes of the other files, for example ``.xyz``.

    Raises
    ------
    OutputError
        If the HDF5 file itself has one of these suffixes.
    """
    target = Path(path)
    others = [target.with_suffix(ending) for ending in endings]
    if target in others:
        suffixes = ", ".join(endings)
        raise OutputError(
            f"{target} would be an HDF5 file, written together with {suffixes} of the same name: name it .h5"
        )
    return others


@contextlib.contextmanager
def hdf5_opened(path: str | os.PathLike[str], kinds: Sequence[str], what: str) -> Iterator[Any]:
    """Open an HDF5 file of this package for reading.

    Parameters
    ----------
    path : path
    kinds : sequence of str
        Accepted values of the file's attribute ``kind``.
    what : str
        Description of such a file in the error message, for example ``a sensitivity result``.

    Yields
    ------
    h5py.File

    Raises
    ------
    OutputError
        If the file does not exist, is damaged or of another kind, was written by a later version, or lacks data that
        are read inside the context.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            if file.attrs.get("kind") not in kinds:
                raise OutputError(f"{path} is not {what}")
            if int(file.attrs.get("format_version", 0)) > FORMAT_VERSION:
                raise OutputError(
                    f"{path} was written by a later version of lammps-implicit: update this installation to read it"
                )
            yield file
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split()) if Path(path).exists() else "no such file"
        raise OutputError(f"cannot read {path}: {reason}") from None


@contextlib.contextmanager
def written_whole(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Write a file atomically: yield a temporary name beside it, which replaces `path` if the context succeeds.

    After an error the temporary file is removed.

    Yields
    ------
    Path
        Temporary file to write to.

    Raises
    ------
    OutputError
        As `refuse_to_overwrite`, or if writing fails (disk full, no permission).
    """
    refuse_to_overwrite(path, overwrite)
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{socket.gethostname()}.{os.getpid()}.partial")
    remember_temporary(temporary)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
        forget_temporary(temporary)


@contextlib.contextmanager
def hdf5_written_whole(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Any]:
    """Write an HDF5 file atomically, see `written_whole`.

    Yields
    ------
    h5py.File

    Raises
    ------
    OutputError
        As `written_whole`.
    """
    import h5py

    with written_whole(path, overwrite) as temporary, open(temporary, "w+b", buffering=0) as raw:
        guarded = _Guarded(raw)
        with h5py.File(guarded, "w") as file:
            file.attrs["format_version"] = FORMAT_VERSION
            yield file
        if guarded.failure is not None:
            raise guarded.failure


def write_figure(path: str | os.PathLike[str], figure: Any, overwrite: bool = False) -> None:
    """Write a Matplotlib figure as PNG, whatever the suffix of the file name.

    Raises
    ------
    OutputError
        As `written_whole`.
    """
    with written_whole(path, overwrite) as temporary:
        figure.savefig(temporary, format="png")


class _Guarded(io.RawIOBase):
    """Binary file that stores its first write error in `failure` and discards all later writes.

    Needed because the HDF5 library can neither close a file that it cannot write to nor leave it open without crashing
    at exit.
    """

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and self.failure is None:
            try:
                done += self._raw.write(view[done:])
            except OSError as error:
                self.failure = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        if self.failure is None:
            try:
                return int(self._raw.truncate(size))
            except OSError as error:
                self.failure = error
        return size or 0

    def readinto(self, buffer: Any) -> int:
        return int(self._raw.readinto(buffer))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._raw.seek(offset, whence))

    def tell(self) -> int:
        return int(self._raw.tell())

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
