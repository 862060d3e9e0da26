"""HDF5 files: sealed with a digest when they are written, and looked through before anything in them is used."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from lammps_implicit.errors import LammpsImplicitError, OutputError
from lammps_implicit.files.outputs import digest_of_rest, written_whole
from lammps_implicit.files.schema import FORMAT_VERSION, Schema

_USER_BLOCK = 512
"""Bytes before the HDF5 part, which HDF5 leaves to its users; the smallest that there can be."""

_SEAL = b"lammps-implicit, SHA-256 of all after byte 512: "

_KEPT_BYTES = 2**16
"""Bytes of the longest piece that is kept in memory once a disk is full."""

_whole: set[tuple[int, ...]] = set()
"""Files that have been looked through: device, inode, size and time of change, and the number of the schema."""


def group_name(name: str) -> str:
    """Return the name of a group for something that a user has named: HDF5 gives a meaning to slashes and dots."""
    plain = name.replace("/", "|")
    return plain if plain.strip(".") else f"|{plain}"


@contextlib.contextmanager
def hdf5_opened(path: str | os.PathLike[str], schemas: Sequence[Schema], what: str) -> Iterator[Any]:
    """Open an HDF5 file of this package for reading, once it is known to be whole and to hold what it should.

    Parameters
    ----------
    path : path
    schemas : sequence of Schema
        Of the accepted kinds of files.
    what : str
        Description of such a file in the error message, for example ``a sensitivity result``.

    Yields
    ------
    h5py.File

    Raises
    ------
    OutputError
        If the file does not exist, is damaged or of another kind, was written by a later version, or lacks data.
    """
    import h5py

    try:
        sealed = _check_seal(path)
        with h5py.File(path, "r") as file:
            _look_through(file, path, schemas, what, sealed)
            yield file
    except LammpsImplicitError:
        raise
    except (OSError, LookupError, AttributeError, RuntimeError, ValueError, TypeError, MemoryError) as error:
        reason = " ".join(str(error).split()) if Path(path).exists() else "no such file"
        raise OutputError(f"cannot read {path}: {reason}") from None


@contextlib.contextmanager
def hdf5_written_whole(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Any]:
    """Write an HDF5 file atomically, see `written_whole`, and seal it: a digest of all of it stands before it.

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
        with h5py.File(guarded, "w", userblock_size=_USER_BLOCK) as file:
            file.attrs["format_version"] = FORMAT_VERSION
            yield file
        if guarded.failure is not None:
            raise guarded.failure
        seal = _SEAL + _digest(raw).encode()
        raw.seek(0)
        raw.write(seal)


def _digest(file: IO[bytes]) -> str:
    file.seek(_USER_BLOCK)
    return digest_of_rest(file)


def _identity(path: str | os.PathLike[str]) -> tuple[int, ...]:
    found = Path(path).stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _check_seal(path: str | os.PathLike[str]) -> bool:
    """Whether a file has a seal, which is then right: damaged files never reach the HDF5 library, which may hang."""
    if not Path(path).is_file():
        raise OutputError(f"cannot read {path}: {'it is not a file' if Path(path).exists() else 'no such file'}")
    with open(path, "rb") as file:
        seal = file.read(_USER_BLOCK).rstrip(b"\0")
        if not seal.startswith(_SEAL):
            return False
        identity = _identity(path)
        if identity not in _whole:
            if seal != _SEAL + _digest(file).encode():
                raise OutputError(
                    f"cannot read {path}: it is damaged, or was changed after it was written; run the command that "
                    "wrote it again"
                )
            _whole.add(identity)
    return True


def _look_through(file: Any, path: str | os.PathLike[str], schemas: Sequence[Schema], what: str, sealed: bool) -> None:
    kind = file.attrs.get("kind")
    schema = next((schema for schema in schemas if isinstance(kind, str) and schema.kind == kind), None)
    if schema is None:
        raise OutputError(f"{path} is not {what}")
    version = int(file.attrs.get("format_version", 0))
    if version > FORMAT_VERSION:
        raise OutputError(
            f"{path} was written by a later version of lammps-implicit: update this installation to read it"
        )
    if version >= 2 and not sealed:
        raise OutputError(f"cannot read {path}: its beginning is damaged; run the command that wrote it again")
    known = (*_identity(path), id(schema))
    if known not in _whole:
        try:
            schema.check(file)
        except OutputError as error:
            raise OutputError(f"cannot read {path}: {error}") from None
        _whole.add(known)


class _Guarded(io.RawIOBase):
    """Binary file that stores its first write error in `failure`, and keeps later writes in memory.

    Needed because the HDF5 library can neither close a file that it cannot write to nor leave it open without crashing,
    at once or at exit, and reads its own metadata back. Long pieces are numbers, which it does not: they are discarded.
    """

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self._at = self._size = 0
        self._kept: dict[tuple[int, int], bytes] = {}
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        view, done = memoryview(data).cast("B"), 0
        try:
            self._raw.seek(self._at)
            while done < len(view) and self.failure is None:
                done += self._raw.write(view[done:])
        except OSError as error:
            self.failure = error
        if done < len(view) <= _KEPT_BYTES:
            place = self._at, len(view)
            self._kept.pop(place, None)  # so that the last one comes last
            self._kept[place] = bytes(view)
        self._at += len(view)
        self._size = max(self._size, self._at)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        self._size = self._at if size is None else size
        if self.failure is None:
            try:
                self._raw.truncate(self._size)
            except OSError as error:
                self.failure = error
        return self._size

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")[: max(self._size - self._at, 0)]
        self._raw.seek(self._at)
        done = self._raw.readinto(view)
        view[done:] = bytes(len(view) - done)
        for (start, length), kept in self._kept.items():
            low, high = max(start, self._at), min(start + length, self._at + len(view))
            if low < high:
                view[low - self._at : high - self._at] = kept[low - start : high - start]
        self._at += len(view)
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
