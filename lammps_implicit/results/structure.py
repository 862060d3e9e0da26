"""Structures in HDF5 files, streaming in id order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from lammps_implicit.minimum import Minimum
from lammps_implicit.mpi.deal import deal
from lammps_implicit.mpi.id_order import PIECE, IdOrder
from lammps_implicit.structures import Rows, Structure

_ARRAYS = ("ids", "types", "positions", "cell", "origin", "periodic", "masses")


def stream_dataset(file: Any, name: str, units: str, order: IdOrder, array: NDArray[Any]) -> None:
    """Write a per-atom array as a dataset; `file` is None but on rank 0."""
    dataset = None
    if file is not None:
        dataset = file.create_dataset(name, (order.total, *array.shape[1:]), array.dtype)
        dataset.attrs["units"] = units
    _fill(dataset, (), order, array)


def stream_structure(file: Any, minimum: Minimum) -> IdOrder:
    """Write the arrays that `read_structure` reads, of a minimum; `file` is None but on rank 0."""
    engine, length = minimum.engine, minimum.units.length
    order, masses = IdOrder(engine.comm, engine.ids), engine.masses()
    if file is not None:
        import h5py

        file["elements"] = np.array(_elements(minimum), dtype=h5py.string_dtype())
        _dataset(file, "cell", engine.cell, length)
        _dataset(file, "origin", engine.origin, length)
        _dataset(file, "periodic", np.array(engine.periodic), "")
        _dataset(file, "masses", masses, "mass of each type")
    stream_dataset(file, "ids", "", order, engine.ids)
    stream_dataset(file, "types", "", order, engine.types)
    stream_dataset(file, "positions", length, order, engine.positions)
    return order


def _fill(dataset: Any, lead: tuple[int, ...], order: IdOrder, array: NDArray[Any]) -> None:
    def write(place: int, rows: NDArray[Any]) -> None:
        dataset[(*lead, slice(place, place + len(rows)))] = rows

    order.stream(array, write)


def _elements(minimum: Minimum) -> tuple[str, ...]:
    return tuple(name or "X" for name in minimum.potential.elements)


def write_structure(file: Any, structure: Structure, length: str) -> None:
    """Write a structure's arrays into an open HDF5 file."""
    import h5py

    _dataset(file, "ids", structure.ids, "")
    _dataset(file, "types", structure.types, "")
    _dataset(file, "positions", structure.positions, length)
    _dataset(file, "cell", structure.cell, length)
    _dataset(file, "origin", structure.origin, length)
    _dataset(file, "periodic", structure.periodic, "")
    _dataset(file, "masses", structure.masses, "mass of each type")
    file["elements"] = np.array(structure.elements, dtype=h5py.string_dtype())


def copy_structure(source: Any, file: Any) -> None:
    """Copy a structure's arrays from one open HDF5 file to another, without loading them."""
    for name in (*_ARRAYS, "elements"):
        source.copy(name, file)


def read_structure(file: Any) -> Structure:
    """Read a structure's arrays from an open HDF5 file."""
    return Structure(elements=tuple(file["elements"].asstr()[()]), **{name: file[name][()] for name in _ARRAYS})


def structure_pieces(file: Any) -> Iterator[Rows]:
    """Read a structure from an open HDF5 file or group, some of its atoms at a time; at least one `Rows`."""
    cell, ids, positions = file["cell"][()], file["ids"], file["positions"]
    for first in range(0, max(len(ids), 1), PIECE):
        part = slice(first, first + PIECE)
        yield Rows(ids[part].astype(np.int64), positions[part], cell)


def read_rows(comm: MPI.Comm, pieces: Callable[[], Iterator[Rows]]) -> Rows:
    """Read a structure on rank 0 and spread its atoms over all ranks; none holds more than its share and a piece.

    Parameters
    ----------
    comm : MPI.Comm
    pieces : callable
        Opens the file and yields its atoms, called on rank 0: `structure_pieces` of an HDF5 file,
        `structures.read_data_pieces` of a LAMMPS data file. What it raises is raised on all ranks.

    Returns
    -------
    Rows
        Those of this rank, which need not be the atoms it owns (`mpi.fetch` finds those), with the cell on all ranks.
    """
    cell = np.empty((3, 3))

    def numbers() -> Iterator[NDArray[Any]]:
        for rows in pieces():
            cell[:] = rows.cell
            yield np.column_stack([rows.ids, rows.positions])  # ids are exact below 2^53

    mine = deal(comm, numbers, 4)
    comm.Bcast(cell)
    return Rows(mine[:, 0].astype(np.int64), np.ascontiguousarray(mine[:, 1:]), cell)


def _dataset(file: Any, name: str, values: Any, units: str) -> None:
    file[name] = values
    if units:
        file[name].attrs["units"] = units
