"""Files of a validation that is divided into shards.

Each shard writes its own file, which is complete after every sample. Shards can run in any order and be run again.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from lammps_implicit.arrays import BoolArray, FloatArray, IntArray
from lammps_implicit.errors import LammpsImplicitError, OutputError
from lammps_implicit.files import (
    Schema,
    flags,
    forget_temporary,
    hdf5_opened,
    hdf5_written_whole,
    integers,
    numbers,
    remember_temporary,
    texts,
)
from lammps_implicit.observables.configuration import describe_errors

SHARD_KIND = "lammps-implicit validation shard"
MERGED_KIND = "lammps-implicit validation"

PENDING, DONE, FAILED = 0, 1, 2
"""Status of a sample: not yet relaxed, relaxed, or impossible to relax."""

_FIELDS = {
    "names": texts("O"),
    "units": texts("O"),
    "reasons": texts("M"),
    "rows": integers("M"),
    "true": numbers("M", "O", finite=False),
    "estimates": numbers("M", "O", 3, finite=False),
    "errors": numbers("M", "O", finite=False),
    "flagged": flags("M"),
    "status": integers("M"),
    "moved": numbers("M", finite=False),
    "forces": integers("M"),
    "seconds": numbers("M"),
    "values": numbers("O"),
    "spread": numbers("O"),
}
"""Datasets of M samples and O observables; what has not been computed is NaN."""

SCHEMAS = {
    SHARD_KIND: Schema(SHARD_KIND, _FIELDS, attributes={"settings": "text", "shard": "number"}),
    MERGED_KIND: Schema(MERGED_KIND, _FIELDS, attributes={"settings": "text"}),
}

_ARRAYS = ("rows", "true", "estimates", "errors", "flagged", "status", "moved", "forces", "seconds")


@dataclass(frozen=True)
class ValidationSettings:
    """Settings that all shards of one validation share.

    Attributes
    ----------
    result, ensemble : str
        SHA-256 of the result file and of the ensemble.
    samples, seed : int
        Number of samples selected from the ensemble, and seed of the selection.
    ftol : float
        Largest force component of relaxed samples, eV/Å.
    limit : float
        Relative estimated error above which samples are flagged.
    shards : int
        Number of shards.
    """

    result: str
    ensemble: str
    samples: int
    seed: int
    ftol: float
    limit: float
    shards: int

    def difference(self, other: ValidationSettings) -> str:
        """Describe the first setting in which `other` differs; empty if there is none."""
        for name, value in vars(self).items():
            if vars(other)[name] != value:
                return f"{name} {_abbreviated(vars(other)[name])} instead of {_abbreviated(value)}"
        return ""


@dataclass
class Records:
    """Predicted and relaxed values of O observables for m samples.

    Attributes
    ----------
    names, units : tuple of str
        Of the observables.
    rows : (m,) int array
        Row numbers of the samples in the ensemble.
    true : (m, O) float array
        Observables after relaxation; NaN for samples that are pending or failed.
    estimates : (m, O, 3) float array
        Predictions to first, second and third order; NaN where an order is not known.
    errors : (m, O) float array
        Estimated errors of the highest order.
    flagged : (m,) bool array
        Samples that the propagation flagged.
    status : (m,) int array
        `PENDING`, `DONE` or `FAILED`.
    moved : (m,) float array
        Largest displacement of an atom in the relaxation, Å.
    forces : (m,) int array
        Number of force evaluations.
    seconds : (m,) float array
        Wall time of the relaxation.
    reasons : list of str
        Reason of the failure of each sample; empty for the others.
    values : (O,) float array
        Observables at the potential's own parameters.
    spread : (O,) float array
        `Distribution.spread` of each observable over the whole ensemble.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    rows: IntArray
    true: FloatArray
    estimates: FloatArray
    errors: FloatArray
    flagged: BoolArray
    status: IntArray
    moved: FloatArray
    forces: IntArray
    seconds: FloatArray
    reasons: list[str]
    values: FloatArray
    spread: FloatArray


def shard_index(text: str) -> tuple[int, int]:
    """Parse the specification ``i/n`` of a shard.

    Parameters
    ----------
    text : str
        i counts from 0 or, as in job arrays, from 1; n/n is the same shard as 0/n.

    Returns
    -------
    (int, int)
        Index from 0, and number of shards.

    Raises
    ------
    LammpsImplicitError
        If the text is not of this form.
    """
    match = re.fullmatch("([0-9]{1,9})/([0-9]{1,9})", text)
    shard, shards = map(int, match.groups()) if match else (-1, -1)
    if shards < 1 or not 0 <= shard <= shards:
        raise LammpsImplicitError(
            f"shard '{text}': write INDEX/COUNT, such as 3/8, with an index that starts at 0 or 1 "
            "($SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT in a job array that does)"
        )
    return shard % shards, shards


def shard_path(folder: Path, shard: int, shards: int) -> Path:
    """Path of the file of a shard, whose index counts from 0."""
    width = len(str(shards - 1))
    return folder / f"shard-{shard:0{width}d}-of-{shards}.h5"


def write_records(path: Path, records: Records, settings: ValidationSettings, kind: str, **attributes: Any) -> None:
    """Write records to an HDF5 file, which replaces an existing one as a whole.

    Parameters
    ----------
    path : Path
    records : Records
    settings : ValidationSettings
    kind : str
        `SHARD_KIND` or `MERGED_KIND`.
    attributes
        Further attributes of the file.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    import h5py

    with hdf5_written_whole(path, overwrite=True) as file:
        file.attrs.update({"kind": kind, "settings": json.dumps(vars(settings)), **attributes})
        for name in _ARRAYS:
            file[name] = getattr(records, name)
        file["values"], file["spread"] = records.values, records.spread
        for name in ("names", "units", "reasons"):
            file[name] = np.array(getattr(records, name), dtype=h5py.string_dtype())


def read_records(path: Path, kind: str) -> tuple[Records, ValidationSettings]:
    """Read a file written by `write_records`.

    Parameters
    ----------
    path : Path
    kind : str
        `SHARD_KIND` or `MERGED_KIND`.

    Raises
    ------
    OutputError
        If the file does not exist, is damaged, or is of another kind.
    """
    with hdf5_opened(path, [SCHEMAS[kind]], f"a {kind.removeprefix('lammps-implicit ')}") as file:
        arrays = {name: file[name][()] for name in (*_ARRAYS, "values", "spread")}
        texts = {name: list(file[name].asstr()[()]) for name in ("names", "units", "reasons")}
        names, units = tuple(texts["names"]), tuple(texts["units"])
        settings = _settings(path, file.attrs["settings"])
        _require_sensible(path, arrays)
        return Records(names=names, units=units, reasons=texts["reasons"], **arrays), settings


def _settings(path: Path, text: str) -> ValidationSettings:
    """Settings in a file, which may come from anybody."""
    try:
        settings = TypeAdapter(ValidationSettings).validate_json(text)
    except ValidationError as error:
        raise OutputError(f"cannot read {path}: its settings make no sense ({describe_errors(error)})") from None
    if not (
        settings.samples > 0 and settings.shards > 0 and 0 < settings.limit < np.inf and 0 < settings.ftol < np.inf
    ):
        raise OutputError(f"cannot read {path}: its settings make no sense")
    return settings


def _require_sensible(path: Path, arrays: dict[str, Any]) -> None:
    rows, status = arrays["rows"], arrays["status"]
    if len(np.unique(rows)) < len(rows) or (len(rows) and rows.min() < 0):
        raise OutputError(f"cannot read {path}: a sample is there twice, or has no number")
    if not np.isin(status, (PENDING, DONE, FAILED)).all():
        raise OutputError(f"cannot read {path}: a sample is neither pending nor done nor failed")
    if not np.isfinite(arrays["true"][status == DONE]).all() or np.isinf(arrays["errors"]).any():
        raise OutputError(f"cannot read {path}: an observable of a relaxed sample, or an error, is not finite")
    if not np.isfinite(arrays["estimates"][..., 0]).all():
        raise OutputError(f"cannot read {path}: an estimate to first order is missing")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a shard against other processes; the lock is released with the process, however it ends.

    Parameters
    ----------
    path : Path
        File of the shard; its folder is created if needed.

    Raises
    ------
    OutputError
        If another process works on the shard, or the folder cannot be created.
    """
    lock = path.with_name(f".{path.name}.lock")
    made = not path.parent.exists()
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
            # Any other error: the file system has no locks, so proceed without.
        remember_temporary(lock)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
            forget_temporary(lock)
            if made:
                with suppress(OSError):  # it is empty where nothing was computed
                    path.parent.rmdir()


def remove_leftovers(path: Path) -> None:
    """Remove temporary files that killed writers of this file left behind."""
    for leftover in path.parent.glob(f".{path.name}.*.partial"):
        leftover.unlink(missing_ok=True)


def shard_files(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return the files of shards: those given, and those in the folders given."""
    return [
        file for path in map(Path, paths) for file in (sorted(path.glob("shard-*.h5")) if path.is_dir() else [path])
    ]


def merge_shards(paths: Sequence[str | os.PathLike[str]]) -> tuple[Records, ValidationSettings]:
    """Combine all shards of one validation, in any order.

    Parameters
    ----------
    paths : sequence of path-like
        Files of the shards, or folders that contain them.

    Returns
    -------
    Records
        In the order of the ensemble.
    ValidationSettings

    Raises
    ------
    OutputError
        If a shard is damaged, unfinished, missing, given twice, or has other settings.
    """
    files = shard_files(paths)
    if not files:
        raise OutputError(f"there is no shard in {', '.join(map(str, paths))}")
    found: dict[int, Records] = {}
    first: tuple[Path, ValidationSettings] | None = None
    for file in files:
        if not file.exists():
            raise OutputError(f"shard {file} does not exist")
        records, settings = read_records(file, SHARD_KIND)
        if first is None:
            first = file, settings
        elif difference := first[1].difference(settings):
            raise OutputError(f"{file} was made with other settings than {first[0]}: {difference}")
        shard = _shard_number(file)
        _require_alike(file, records, found)
        pending = int(np.count_nonzero(records.status == PENDING))
        if pending:
            raise OutputError(
                f"{file} is not finished, {pending} of {len(records.status)} samples remain: run it again"
            )
        if shard in found:
            raise OutputError(f"shard {shard} of {settings.shards} is given twice: {file}")
        found[shard] = records
    assert first is not None
    total = first[1].shards
    if missing := total - len(found):
        some = list(islice((f"{shard}/{total}" for shard in range(total) if shard not in found), 10))
        raise OutputError(
            f"{missing} of {total} shards are missing: run --shard {', '.join(some)}{', ...' if missing > 10 else ''}"
        )
    _require_whole_selection(found, first[1])
    return _concatenated([found[shard] for shard in sorted(found)]), first[1]


def _require_alike(file: Path, records: Records, found: dict[int, Records]) -> None:
    """Check that a shard is of the same observables as those before it."""
    for other in found.values():
        same = (other.names, other.units) == (records.names, records.units)
        if not (same and np.allclose(other.values, records.values) and np.allclose(other.spread, records.spread)):
            raise OutputError(f"{file} has other observables than the shards before it: run it again")


def _require_whole_selection(found: dict[int, Records], settings: ValidationSettings) -> None:
    """Check that each shard holds its own samples: of all of them in order, every n-th."""
    rows = np.sort(np.concatenate([records.rows for records in found.values()]))
    if len(rows) != settings.samples or len(np.unique(rows)) < len(rows):
        raise OutputError(f"the shards hold {len(np.unique(rows))} different samples instead of {settings.samples}")
    for shard, records in found.items():
        if not np.array_equal(records.rows, rows[shard :: settings.shards]):
            raise OutputError(f"shard {shard} of {settings.shards} holds samples of another one: run it again")


def _concatenated(parts: list[Records]) -> Records:
    order = np.argsort(np.concatenate([part.rows for part in parts]))
    arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts])[order] for name in _ARRAYS}
    reasons = [reason for part in parts for reason in part.reasons]
    return replace(parts[0], reasons=[reasons[row] for row in order], **arrays)


def _shard_number(file: Path) -> int:
    with hdf5_opened(file, [SCHEMAS[SHARD_KIND]], "a shard") as opened:
        shard = int(opened.attrs["shard"])
        shards = _settings(file, opened.attrs["settings"]).shards
        if not 0 <= shard < shards:
            raise OutputError(f"cannot read {file}: there is no shard {shard} of {shards}")
        return shard


def _abbreviated(value: object) -> str:
    return f"{value[:12]}…" if isinstance(value, str) and len(value) > 12 else str(value)
