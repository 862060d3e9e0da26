"""Structures as text files, streamed in id order: no rank holds the whole structure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.files import written_whole
from lammps_implicit.mpi.id_order import IdOrder
from lammps_implicit.mpi.on_root import opened_on_root
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.results.data_file import titled
from lammps_implicit.results.snapshot import elements_of
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.structures import write_data_header, write_data_rows, write_rows, write_xyz_header


def write_data(path: str | os.PathLike[str], minimum: StationaryPoint, title: str, overwrite: bool = False) -> None:
    """Write the structure of a minimum as a LAMMPS data file.

    From LAMMPS it has all that its ``atom_style`` has: charges, molecules, bonds, and so on.

    Parameters
    ----------
    path : path-like
    minimum : StationaryPoint
    title : str
        First line of the file.
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    OutputError
        If the file exists or cannot be written; no partial file is left.
    """
    engine = minimum.engine
    written = engine.write_structure()
    if written is not None:
        _take_over(written, path, minimum, title, overwrite)
        return
    box = engine.cell, engine.origin, engine.masses(), elements_of(minimum)

    def head(file: IO[str], total: int) -> None:
        write_data_header(file, title, total, *box)

    def rows(file: IO[str], piece: FloatArray) -> None:
        write_data_rows(file, piece[:, 0], piece[:, 1], piece[:, 2:])

    _write_text(path, minimum, overwrite, head, rows)


def _take_over(
    written: Path, path: str | os.PathLike[str], minimum: StationaryPoint, title: str, overwrite: bool
) -> None:
    """Copy a data file that LAMMPS has written, with a title, and with the names of elements beside their masses."""
    elements = elements_of(minimum)

    def copy() -> None:
        with written_whole(path, overwrite) as temporary, open(written, "rb") as source, open(temporary, "wb") as file:
            file.writelines(titled(source, title, elements))

    try:
        minimum.engine.on_root(copy)
    finally:
        minimum.engine.on_root(lambda: written.unlink(missing_ok=True))


def write_xyz(path: str | os.PathLike[str], minimum: StationaryPoint, overwrite: bool = False) -> None:
    """Write the structure of a minimum as extended XYZ with ids and types; the origin of the cell is moved to zero.

    Parameters
    ----------
    path : path-like
    minimum : StationaryPoint
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    OutputError
        As for `write_data`.
    """
    write_xyz_images(path, minimum, minimum.ids, [(minimum.positions, {"energy": minimum.energy})], overwrite)


def write_xyz_images(
    path: str | os.PathLike[str],
    point: StationaryPoint,
    ids: IntArray,
    images: Iterable[tuple[FloatArray, Mapping[str, float]]],
    overwrite: bool = False,
) -> None:
    """Write several structures of the atoms of a point, in its cell, as the frames of one extended XYZ file.

    Parameters
    ----------
    path : path-like
    point : StationaryPoint
    ids : (n,) int array
        Ids of this rank's atoms, the rows of the positions.
    images : iterable of ((n, 3) float array, mapping of str to float)
        Positions, Å, and further entries of the comment line, of each frame.
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    OutputError
        As for `write_data`.
    """
    engine = point.engine
    elements, order = np.array(elements_of(point)), IdOrder(engine.comm, ids)
    cell, origin, periodic = engine.cell, engine.origin, engine.periodic
    types = fetch(engine.comm, engine.ids, engine.types, ids)
    with opened_on_root(engine.comm, lambda: _opened_text(path, overwrite)) as file:

        def write(_: int, piece: FloatArray) -> None:
            assert file is not None
            names = elements[piece[:, 1].astype(int) - 1]
            line = "%s %.10f %.10f %.10f %d %d\n"
            write_rows(file, line, names, *(piece[:, 2:] - origin).T, piece[:, 0], piece[:, 1])

        for positions, info in images:
            if file is not None:
                write_xyz_header(file, order.total, cell, periodic, _XYZ_COLUMNS, **info)
            order.stream(np.column_stack([ids, types, positions]), write)  # ids are exact below 2^53


_XYZ_COLUMNS = "species:S:1:pos:R:3:id:I:1:type:I:1"


def _write_text(
    path: str | os.PathLike[str],
    minimum: StationaryPoint,
    overwrite: bool,
    head: Callable[[IO[str], int], None],
    write_rows: Callable[[IO[str], FloatArray], None],
) -> None:
    """Write a text file from rows (id, type, x, y, z), one per atom."""
    engine = minimum.engine
    order = IdOrder(engine.comm, engine.ids)
    rows = np.column_stack([engine.ids, engine.types, engine.positions])  # ids are exact below 2^53
    with opened_on_root(engine.comm, lambda: _opened_text(path, overwrite)) as file:
        if file is not None:
            head(file, order.total)

        def write(_: int, piece: FloatArray) -> None:
            assert file is not None
            write_rows(file, piece)

        order.stream(rows, write)


@contextmanager
def _opened_text(path: str | os.PathLike[str], overwrite: bool) -> Iterator[IO[str]]:
    with written_whole(path, overwrite) as temporary, open(temporary, "w", encoding="utf-8") as file:
        yield file
