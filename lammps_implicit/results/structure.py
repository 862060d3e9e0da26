"""Structures in HDF5 files, streaming in id order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from lammps_implicit.mpi.deal import deal
from lammps_implicit.mpi.id_order import PIECE, IdOrder
from lammps_implicit.structures import Rows, Structure


def stream_dataset(file: Any, name: str, units: str, order: IdOrder, array: NDArray[Any]) -> None:
    """Write a per-atom array as a dataset; `file` is None but on rank 0."""
    dataset = None
    if file is not None:
        dataset = file.create_dataset(name, (order.total, *array.shape[1:]), array.dtype)
        dataset.attrs["units"] = units
    stream_rows(dataset, (), order, array)


def stream_structure(file: Any, structure: Structure, comm: MPI.Comm, length: str) -> IdOrder:
    """Write the arrays that `read_structure` reads, rows of all ranks; `file` is None but on rank 0.

    Parameters
    ----------
    file : h5py.File or h5py.Group or None
    structure : Structure
        Of the atoms that this rank owns.
    comm : mpi4py communicator
    length : str
        Name of the unit of length.
    """
    order = IdOrder(comm, structure.ids)
    if file is not None:
        import h5py

        file["elements"] = np.array(structure.elements, dtype=h5py.string_dtype())
        write_dataset(file, "cell", structure.cell, length)
        write_dataset(file, "origin", structure.origin, length)
        write_dataset(file, "periodic", structure.periodic, "")
        write_dataset(file, "masses", structure.masses, "mass of each type")
    stream_dataset(file, "ids", "", order, structure.ids)
    stream_dataset(file, "types", "", order, structure.types)
    stream_dataset(file, "positions", length, order, structure.positions)
    return order


def stream_rows(dataset: Any, lead: tuple[int, ...], order: IdOrder, array: NDArray[Any]) -> None:
    """Write rows of all ranks, in id order, into ``dataset[lead]``; `dataset` is None but on rank 0."""

    def write(place: int, rows: NDArray[Any]) -> None:
        dataset[(*lead, slice(place, place + len(rows)))] = rows

    order.stream(array, write)


def read_structure(file: Any) -> Structure:
    """Read a structure's arrays from an open HDF5 file."""
    arrays = {name: file[name][()] for name in ("ids", "types", "positions", "cell", "origin", "periodic", "masses")}
    return Structure(elements=tuple(file["elements"].asstr()[()]), **arrays)


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


def write_dataset(file: Any, name: str, values: Any, units: str) -> None:
    """Write an array and name its units."""
    file[name] = values
    if units:
        file[name].attrs["units"] = units
