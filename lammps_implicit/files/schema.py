"""What HDF5 files of this package hold: declared for each kind of file, and checked when one is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lammps_implicit.errors import OutputError

FORMAT_VERSION = 2
"""Version of HDF5 files, their attribute ``format_version``; files without it are of version 0, and are readable. Files
from version 2 begin with a digest of the rest."""

_PIECE = 2**20
"""Numbers that are read at a time to find those that are not finite."""


@dataclass(frozen=True)
class Field:
    """What a dataset has to be.

    Attributes
    ----------
    shape : tuple of str, int and Ellipsis
        Lengths: a number; the name of a length that is the same throughout the file (upper case) or its group (lower
        case); a final ellipsis stands for any further ones.
    types : str
        Accepted kinds of NumPy's types; ``O`` for texts.
    needed : bool
        Whether it must be there.
    finite : bool
        Whether no number may be infinite or NaN.
    distinct : bool
        Whether no value may be there twice.
    """

    shape: tuple[Any, ...]
    types: str
    needed: bool = True
    finite: bool = True
    distinct: bool = False


def numbers(*shape: Any, needed: bool = True, finite: bool = True) -> Field:
    """Return the field of real numbers, see `Field`."""
    return Field(shape, "fiu", needed, finite)


def integers(*shape: Any, needed: bool = True) -> Field:
    """Return the field of integers, see `Field`."""
    return Field(shape, "iu", needed)


def flags(*shape: Any, needed: bool = True) -> Field:
    """Return the field of truth values, see `Field`."""
    return Field(shape, "b", needed)


def labels(*shape: Any, needed: bool = True) -> Field:
    """Return the field of texts that all differ, see `Field`."""
    return Field(shape, "O", needed, distinct=True)


def texts(*shape: Any, needed: bool = True) -> Field:
    """Return the field of texts, see `Field`."""
    return Field(shape, "O", needed)


@dataclass(frozen=True)
class Schema:
    """What a kind of file holds.

    Attributes
    ----------
    kind : str
        Attribute ``kind`` of such files.
    fields : mapping of str to Field
        Datasets at the top, by name.
    groups : mapping of str to mapping of str to Field
        Datasets of groups, by name; ``name/*`` stands for all groups in ``name``.
    attributes : mapping of str to str
        Attributes that must be there: each a ``text`` or a finite ``number``.
    """

    kind: str
    fields: Mapping[str, Field]
    groups: Mapping[str, Mapping[str, Field]] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)

    def check(self, file: Any) -> None:
        """Check an open file; datasets that the schema does not know are looked at, too.

        Raises
        ------
        OutputError
            If something is missing, of another shape or type, or not finite.
        """
        require_plain(file)
        for name, kind in self.attributes.items():
            value = file.attrs.get(name)
            if value is None:
                raise OutputError(f"its attribute {name} is missing")
            number = (
                np.ndim(value) == 0
                and isinstance(value, (bool, int, float, np.bool_, np.number))
                and np.isrealobj(value)
                and np.isfinite(value)
            )
            if not (isinstance(value, str) if kind == "text" else number):
                raise OutputError(f"its attribute {name} is no {kind}")
        shared: dict[str, int] = {}
        _check_fields(file, self.fields, shared)
        for pattern, fields in self.groups.items():
            for group in _groups(file, pattern):
                _check_fields(group, fields, shared)


def require_plain(group: Any) -> None:
    """Check that a file consists of groups, and of datasets that it holds itself, as a whole.

    Links to other places, data in other files, references, and arrays larger than what is stored of them (which
    would fill memory) are refused: no file of this package has any.

    Raises
    ------
    OutputError
    """
    import h5py

    seen = set()
    waiting = [group]
    while waiting:
        parent = waiting.pop()
        for name in parent:
            if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
                raise OutputError(f"{name} is a link to another place")
            item = parent[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                raise OutputError(f"{name} is there twice")
            seen.add(address)
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                _require_stored(name, item)
            else:
                raise OutputError(f"{name} is neither a group nor a dataset")


def _require_stored(name: str, dataset: Any) -> None:
    import h5py

    if dataset.is_virtual or dataset.external:
        raise OutputError(f"the data of {name} are in another file")
    text = h5py.check_string_dtype(dataset.dtype) is not None
    if not (text or dataset.dtype.kind in "fiub"):
        raise OutputError(f"{name} holds neither numbers nor texts")
    if dataset.shape is None:
        raise OutputError(f"{name} is empty")
    if text and dataset.dtype.kind == "O":
        _require_texts_of_file(name, dataset)
    if dataset.id.get_storage_size() < dataset.size * dataset.id.get_type().get_size():
        raise OutputError(f"{name} is declared with the shape {dataset.shape}, but not all of it is stored")


def _require_texts_of_file(name: str, dataset: Any) -> None:
    """Check that texts are no longer than their file: many may be the same one, which would fill memory."""
    room = Path(dataset.file.filename).stat().st_size
    for text in (dataset[index] for index in np.ndindex(dataset.shape)):
        room -= len(text)
        if room < 0:
            raise OutputError(f"the texts of {name} are longer than the file")


def _groups(file: Any, pattern: str) -> Iterator[Any]:
    import h5py

    name, star, _ = pattern.partition("/*")
    if name not in file:
        return
    chosen = list(file[name].values()) if star else [file[name]]
    for group in chosen:
        if not isinstance(group, h5py.Group):
            raise OutputError(f"{group.name} is not a group")
        yield group


def _check_fields(group: Any, fields: Mapping[str, Field], shared: dict[str, int]) -> None:
    import h5py

    own: dict[str, int] = {}
    for name, expected in fields.items():
        dataset = group.get(name)
        if dataset is None and not expected.needed:
            continue
        if not isinstance(dataset, h5py.Dataset):
            raise OutputError(f"{name} is missing")
        if dataset.dtype.kind not in expected.types:
            raise OutputError(f"{name} is of the type {dataset.dtype}")
        _check_shape(name, dataset.shape, expected.shape, shared, own)
        if expected.distinct and len(set(dataset[()])) < dataset.size:
            raise OutputError(f"{name} holds a name twice")
        if expected.finite and dataset.dtype.kind == "f":
            _require_finite(name, dataset)


def _check_shape(
    name: str, shape: tuple[int, ...], expected: tuple[Any, ...], shared: dict[str, int], own: dict[str, int]
) -> None:
    open_ended = expected[-1:] == (...,)
    lengths = expected[:-1] if open_ended else expected
    good = len(shape) >= len(lengths) if open_ended else len(shape) == len(lengths)
    for length, wanted in zip(shape, lengths, strict=False):
        if isinstance(wanted, str):
            wanted = (shared if wanted.isupper() else own).setdefault(wanted, length)
        good = good and length == wanted
    if not good:
        raise OutputError(f"{name} has the shape {shape}, which does not fit the rest")


def _require_finite(name: str, dataset: Any) -> None:
    rows = max(_PIECE // max(int(np.prod(dataset.shape[1:])), 1), 1) if dataset.ndim else 1
    pieces = range(0, len(dataset), rows) if dataset.ndim else [None]
    for first in pieces:
        piece = dataset[()] if first is None else dataset[first : first + rows]
        if not np.isfinite(piece).all():
            raise OutputError(f"{name} holds numbers that are not finite")
