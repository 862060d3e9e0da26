"""Output files: written completely or not at all, and never overwritten silently."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from lammps_implicit.errors import OutputError
from lammps_implicit.files.inputs import refuse_inputs
from lammps_implicit.files.temporary import forget_temporary, owner, remember_temporary, remove_stale

_NAME_BYTES = 255
"""Bytes of the longest name of a file on the file systems of Linux."""


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 digest of a file as a hexadecimal string."""
    with open(path, "rb") as file:
        return digest_of_rest(file)


def digest_of_rest(file: IO[bytes]) -> str:
    """Return the SHA-256 digest of an open file, from where it stands to its end, as a hexadecimal string."""
    digest = hashlib.sha256()
    while piece := file.read(2**20):
        digest.update(piece)
    return digest.hexdigest()


def refuse_to_overwrite(path: str | os.PathLike[str], overwrite: bool) -> None:
    """Check that an output file can be written, before any work is done.

    Raises
    ------
    OutputError
        If the file exists and `overwrite` is false, or is an input or anything but a regular file; or the containing
        folder does not exist or is not writable.
    """
    target = Path(path)
    try:
        there = target.stat()
    except FileNotFoundError:
        there = None
    except (OSError, ValueError, RuntimeError) as error:
        raise OutputError(f"cannot write {_shown(target)}: {_reason(error)}") from None
    if there is not None and stat.S_ISDIR(there.st_mode):
        raise OutputError(f"cannot write {target}: it is a folder; give the name of a file")
    if there is not None and not stat.S_ISREG(there.st_mode):
        raise OutputError(f"cannot write {target}: it is not a regular file; choose another name")
    if there is not None and not overwrite:
        raise OutputError(f"{target} exists already: choose another name or pass --overwrite")
    refuse_inputs(target)
    folder = _followed(target).parent
    if not folder.is_dir():
        raise OutputError(f"cannot write {target}: the folder {folder} does not exist")
    if not os.access(folder, os.W_OK) or os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise OutputError(f"cannot write {target}: no permission to write in {folder}")


def refuse_folder(folder: str | os.PathLike[str]) -> None:
    """Check that a folder for outputs can be made and written to, without making it.

    Raises
    ------
    OutputError
    """
    path = Path(folder)
    try:
        there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write {_shown(path)}: {_reason(error)}") from None
    if not there.is_dir():
        raise OutputError(f"cannot write in {path}: {there} is not a folder")
    if not os.access(there, os.W_OK):
        raise OutputError(f"cannot write in {path}: no permission to write in {there}")


def make_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder for outputs, if it is not there.

    Raises
    ------
    OutputError
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write in {_shown(Path(folder))}: {_reason(error)}") from None


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
        If the HDF5 file itself has one of these suffixes, or no name.
    """
    target = Path(path)
    try:
        others = [target.with_suffix(ending) for ending in endings]
    except ValueError:
        raise OutputError(f"cannot write {target}: it is a folder; give the name of a file") from None
    if target in others:
        suffixes = ", ".join(endings)
        raise OutputError(
            f"{target} would be an HDF5 file, written together with {suffixes} of the same name: name it .h5"
        )
    return others


@contextlib.contextmanager
def written_whole(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Write a file atomically: yield a temporary name beside it, which replaces `path` if the context succeeds.

    A symbolic link stays one: the file that it points to is replaced. After an error the temporary file is removed, and
    so are those that killed processes of this host left beside it.

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
    target = _followed(Path(path))
    remove_stale(target.parent.glob(".*.partial"))
    mark = f".{owner()}.partial"
    name = os.fsencode(target.name)[: _NAME_BYTES - len(mark) - 1]
    temporary = target.with_name(f".{os.fsdecode(name)}{mark}")
    remember_temporary(temporary)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {_reason(error)}") from None
    finally:
        temporary.unlink(missing_ok=True)
        forget_temporary(temporary)


def label(text: str) -> str:
    """Return a name as a figure is to show it: what stands between dollar signs is mathematics to Matplotlib."""
    return "".join(letter if letter.isprintable() else "?" for letter in text).replace("$", r"\$")


def write_figure(path: str | os.PathLike[str], figure: Any, overwrite: bool = False) -> None:
    """Write a Matplotlib figure as PNG, whatever the suffix of the file name.

    Raises
    ------
    OutputError
        As `written_whole`.
    """
    with written_whole(path, overwrite) as temporary:
        figure.savefig(temporary, format="png")


def _followed(path: Path) -> Path:
    """The file that a path leads to, through symbolic links."""
    return path.resolve() if path.is_symlink() else path.absolute()


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _shown(path: Path) -> str:
    text = str(path)
    return repr(text if len(text) <= 60 else text[:57] + "...") if not text.isprintable() or len(text) > 60 else text
