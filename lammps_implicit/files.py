"""Output files appear whole or not at all, and never replace one silently."""

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
"""Of HDF5 files, as their attribute ``format_version`` says; those without it are of version 0, and still read."""

_temporary: set[Path] = set()


def remember_temporary(path: Path) -> None:
    """Have `remove_temporaries` remove a file or folder."""
    _temporary.add(path)


def forget_temporary(path: Path) -> None:
    """Take back `remember_temporary`: the path is gone, or is to stay."""
    _temporary.discard(path)


def remove_temporaries() -> None:
    """Remove what a process that is about to be killed would leave behind."""
    for path in list(_temporary):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the file's SHA-256 digest in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


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


def refuse_inputs(output: str | os.PathLike[str], *inputs: str | os.PathLike[str]) -> None:
    """Check that an output is not one of the files it is made from.

    Raises
    ------
    OutputError
    """
    for path in inputs:
        if Path(path).resolve() == Path(output).resolve():
            raise OutputError(f"{output} is read from: write to another file")


def beside(path: str | os.PathLike[str], *endings: str) -> list[Path]:
    """Names of files that stand beside an HDF5 file.

    Raises
    ------
    OutputError
        If the HDF5 file has one of their names.
    """
    target = Path(path)
    others = [target.with_suffix(ending) for ending in endings]
    if target in others:
        told = ", ".join(endings)
        raise OutputError(f"{target} is to be an HDF5 file, with {told} of the same name beside it: name it .h5")
    return others


@contextlib.contextmanager
def hdf5_opened(path: str | os.PathLike[str], kinds: Sequence[str], what: str) -> Iterator[Any]:
    """Give an open ``h5py.File`` whose attribute ``kind`` is one of these.

    Raises
    ------
    OutputError
        If it does not exist, is damaged, is not `what`, or lacks what is read from it inside the context.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            if file.attrs.get("kind") not in kinds:
                raise OutputError(f"{path} is not {what}")
            if int(file.attrs.get("format_version", 0)) > FORMAT_VERSION:
                raise OutputError(
                    f"{path} was written by a later version of lammps-implicit: update this one to read it"
                )
            yield file
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split()) if Path(path).exists() else "no such file"
        raise OutputError(f"cannot read {path}: {reason}") from None


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
    """Give an open ``h5py.File`` that becomes `path` when the context ends well.

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
    """Write a Matplotlib figure as PNG, whatever the file is called.

    Raises
    ------
    OutputError
        As `written_whole`.
    """
    with written_whole(path, overwrite) as temporary:
        figure.savefig(temporary, format="png")


class _Guarded(io.RawIOBase):
    """A file whose first write error is kept for later, all further writes being dropped.

    The HDF5 library can neither close a file it cannot write nor leave it open without crashing at exit.
    """

    def __init__(self, raw: io.RawIOBase | Any) -> None:
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
