"""Shards of a validation: each writes a file of its own, whole after every sample, and any order or rerun will do."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError, OutputError
from lammps_implicit.files import hdf5_opened, hdf5_written_whole

SHARD_KIND = "lammps-implicit validation shard"
MERGED_KIND = "lammps-implicit validation"

PENDING, DONE, FAILED = 0, 1, 2

_ARRAYS = ("rows", "true", "estimates", "errors", "flagged", "status", "moved", "forces", "seconds")


@dataclass(frozen=True)
class Settings:
    """What all shards of one validation have in common.

    Attributes
    ----------
    result, ensemble : str
        SHA-256 of the result and of the samples.
    samples, seed : int
        How many of the ensemble, and which.
    ftol, limit : float
    shards : int
    """

    result: str
    ensemble: str
    samples: int
    seed: int
    ftol: float
    limit: float
    shards: int

    def difference(self, other: Settings) -> str:
        """Say what differs, empty if nothing does."""
        for name, value in vars(self).items():
            if vars(other)[name] != value:
                return f"{name} {_short(vars(other)[name])} in place of {_short(value)}"
        return ""


@dataclass
class Records:
    """Samples relaxed again.

    Attributes
    ----------
    names, units : tuple of str
        Of the observables.
    rows : (m,) int array
        Of the ensemble.
    true : (m, O) float array
        Observables after relaxing again; not a number where that was not done or failed.
    estimates : (m, O, 3) float array
        Predicted to first, second and third order; not a number where an order is not known.
    errors : (m, O) float array
        Estimated, of the highest order.
    flagged : (m,) bool array
        Predicted to lie outside the range of trust.
    status : (m,) int array
        `PENDING`, `DONE` or `FAILED`.
    moved : (m,) float array
        Largest distance that an atom moved, Å.
    forces : (m,) int array
        Force evaluations.
    seconds : (m,) float array
    reasons : list of str
        Why relaxing failed; empty where it did not.
    values : (O,) float array
        Observables at the potential's own parameters.
    spread : (O,) float array
        `Distribution.spread` of each observable over the whole ensemble.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    rows: NDArray[np.int64]
    true: FloatArray
    estimates: FloatArray
    errors: FloatArray
    flagged: NDArray[np.bool_]
    status: NDArray[np.int64]
    moved: FloatArray
    forces: NDArray[np.int64]
    seconds: FloatArray
    reasons: list[str]
    values: FloatArray
    spread: FloatArray


def shard_index(text: str) -> tuple[int, int]:
    """Read ``i/n``; i may count from 0 or from 1, as arrays of jobs do: n is then the same as 0.

    Raises
    ------
    LammpsImplicitError
    """
    index, slash, count = text.partition("/")
    try:
        shard, shards = int(index), int(count)
    except ValueError:
        shard = shards = -1
    if not slash or shards < 1 or not 0 <= shard <= shards:
        raise LammpsImplicitError(
            f"shard '{text}': write INDEX/COUNT, such as 3/8, the index from 0 or from 1 ($SLURM_ARRAY_TASK_ID/"
            "$SLURM_ARRAY_TASK_COUNT with an array that starts there)"
        )
    return shard % shards, shards


def shard_path(folder: Path, shard: int, shards: int) -> Path:
    """Name of a shard's file."""
    width = len(str(shards - 1))
    return folder / f"shard-{shard:0{width}d}-of-{shards}.h5"


def write_records(path: Path, records: Records, settings: Settings, kind: str, **attributes: Any) -> None:
    """Write records whole, in place of those that were there."""
    import h5py

    with hdf5_written_whole(path, overwrite=True) as file:
        file.attrs.update({"kind": kind, "settings": json.dumps(vars(settings)), **attributes})
        for name in _ARRAYS:
            file[name] = getattr(records, name)
        file["values"], file["spread"] = records.values, records.spread
        for name in ("names", "units", "reasons"):
            file[name] = np.array(getattr(records, name), dtype=h5py.string_dtype())


def read_records(path: Path, kind: str) -> tuple[Records, Settings]:
    """Read records.

    Raises
    ------
    OutputError
        If the file is damaged or something else.
    """
    with hdf5_opened(path, [kind], f"a {kind.removeprefix('lammps-implicit ')}") as file:
        arrays = {name: file[name][()] for name in (*_ARRAYS, "values", "spread")}
        texts = {name: list(file[name].asstr()[()]) for name in ("names", "units", "reasons")}
        names, units = tuple(texts["names"]), tuple(texts["units"])
        settings = Settings(**json.loads(file.attrs["settings"]))
        return Records(names=names, units=units, reasons=texts["reasons"], **arrays), settings


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes off a shard; the lock ends with the process, however it ends.

    Raises
    ------
    OutputError
        If another process works on it, or its folder cannot be made.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(lock, "w", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise OutputError(f"cannot write in the folder {path.parent}: {error.strerror}") from None
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise OutputError(f"another process works on {path}") from None
            # A file system without locks: there is none to be had.
        yield
        lock.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what writers of this file left behind that were killed."""
    for leftover in path.parent.glob(f".{path.name}.*.partial"):
        leftover.unlink(missing_ok=True)


def merge_shards(paths: Sequence[str | os.PathLike[str]]) -> tuple[Records, Settings]:
    """Combine the shards of one validation, whatever order they are given in.

    Parameters
    ----------
    paths : sequence of path-like
        Files, or folders that hold them.

    Raises
    ------
    OutputError
        If one is damaged, unfinished, missing, there twice, or has other settings.
    """
    files = [
        file for path in map(Path, paths) for file in (sorted(path.glob("shard-*.h5")) if path.is_dir() else [path])
    ]
    if not files:
        raise OutputError(f"there is no shard in {', '.join(map(str, paths))}")
    found: dict[int, Records] = {}
    first: tuple[Path, Settings] | None = None
    for file in files:
        if not file.exists():
            raise OutputError(f"shard {file} does not exist")
        records, settings = read_records(file, SHARD_KIND)
        if first is None:
            first = file, settings
        elif difference := first[1].difference(settings):
            raise OutputError(f"{file} was made with other settings than {first[0]}: {difference}")
        shard = _number(file)
        pending = int(np.count_nonzero(records.status == PENDING))
        if pending:
            raise OutputError(
                f"{file} is not finished, {pending} of {len(records.status)} samples remain: run it again"
            )
        if shard in found:
            raise OutputError(f"shard {shard} of {settings.shards} is given twice: {file}")
        found[shard] = records
    assert first is not None
    missing = [shard for shard in range(first[1].shards) if shard not in found]
    if missing:
        some = ", ".join(f"{shard}/{first[1].shards}" for shard in missing[:10]) + (", ..." if missing[10:] else "")
        raise OutputError(f"{len(missing)} of {first[1].shards} shards missing: run --shard {some}")
    return _concatenated([found[shard] for shard in sorted(found)]), first[1]


def _concatenated(parts: list[Records]) -> Records:
    order = np.argsort(np.concatenate([part.rows for part in parts]))
    arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts])[order] for name in _ARRAYS}
    reasons = [reason for part in parts for reason in part.reasons]
    return replace(parts[0], reasons=[reasons[row] for row in order], **arrays)


def _number(file: Path) -> int:
    with hdf5_opened(file, [SHARD_KIND], "a shard") as opened:
        return int(opened.attrs["shard"])


def _short(value: object) -> str:
    return f"{value[:12]}…" if isinstance(value, str) and len(value) > 12 else str(value)
