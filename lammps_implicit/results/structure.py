"""Structures in HDF5 files, streamed in id order: no rank holds a whole array."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import OutputError
from lammps_implicit.mpi.deal import deal
from lammps_implicit.mpi.id_order import PIECE, IdOrder
from lammps_implicit.structures import Rows, Structure


def stream_dataset(file: Any, name: str, units: str, order: IdOrder, array: NDArray[Any]) -> None:
    """Write a per-atom array of all ranks as a dataset.

    Parameters
    ----------
    file : h5py.File or h5py.Group or None
        None on all ranks but 0.
    name, units : str
        Of the dataset.
    order : IdOrder
        Of the atoms of all ranks.
    array : (n, ...) array
        Rows of this rank's atoms.
    """
    dataset = None
    if file is not None:
        dataset = file.create_dataset(name, (order.total, *array.shape[1:]), array.dtype)
        dataset.attrs["units"] = units
    stream_rows(dataset, (), order, array)


def stream_structure(file: Any, structure: Structure, comm: MPI.Comm, length: str) -> IdOrder:
    """Write a structure, with the atoms of all ranks, in the datasets that `read_structure` reads.

    Parameters
    ----------
    file : h5py.File or h5py.Group or None
        None on all ranks but 0.
    structure : Structure
        The atoms that this rank owns.
    comm : MPI.Comm
    length : str
        Name of the unit of length.

    Returns
    -------
    IdOrder
        Of the atoms, for further datasets.
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
    """Write per-atom rows of all ranks, in id order, into ``dataset[lead]``.

    Parameters
    ----------
    dataset : h5py.Dataset or None
        None on all ranks but 0.
    lead : tuple of int
        Leading indices.
    order : IdOrder
        Of the atoms of all ranks.
    array : (n, ...) array
        Rows of this rank's atoms.
    """

    def write(place: int, rows: NDArray[Any]) -> None:
        dataset[(*lead, slice(place, place + len(rows)))] = rows

    order.stream(array, write)


def stream_patterns(
    file: Any, name: str, units: str, order: IdOrder, patterns: Iterable[FloatArray], count: int
) -> None:
    """Write `count` displacement patterns, (n, 3) each, one at a time as a dataset (count, N, 3).

    Parameters
    ----------
    file : h5py.File or h5py.Group or None
        None on all ranks but 0.
    name, units : str
        Of the dataset.
    order : IdOrder
        Of the atoms of all ranks.
    patterns : iterable of (n, 3) float arrays
        Rows of this rank's atoms.
    count : int
    """
    dataset = None
    if file is not None:
        chunks = (1, min(order.total, PIECE), 3) if count else None
        dataset = file.create_dataset(name, (count, order.total, 3), float, chunks=chunks)
        dataset.attrs["units"] = units
    for index, pattern in enumerate(patterns):
        stream_rows(dataset, (index,), order, pattern)


def read_structure(file: Any) -> Structure:
    """Read a structure from an open HDF5 file or group."""
    arrays = {name: file[name][()] for name in ("ids", "types", "positions", "cell", "origin", "periodic", "masses")}
    ids, types = arrays["ids"], arrays["types"]
    if not len(ids) or ids.min() < 1 or len(np.unique(ids)) < len(ids):
        raise OutputError(f"{file.file.filename}: the ids of its atoms are not positive, or one is there twice")
    if types.min() < 1 or types.max() > len(file["elements"]):
        raise OutputError(f"{file.file.filename}: an atom is of a type that is none of its elements")
    elements = tuple(file["elements"].asstr()[()])
    if not all(re.fullmatch(r"[\w.+-]{1,40}", element) for element in elements) or not (arrays["masses"] > 0).all():
        raise OutputError(f"{file.file.filename}: an element has a name of other characters, or no mass")
    if not np.linalg.det(arrays["cell"]) > 0:
        raise OutputError(f"{file.file.filename}: the vectors of its cell do not span a volume")
    return Structure(elements=elements, **arrays)


def structure_pieces(file: Any) -> Iterator[Rows]:
    """Read a structure from an open HDF5 file or group, `PIECE` atoms at a time; yields at least one `Rows`."""
    cell, ids, positions = file["cell"][()], file["ids"], file["positions"]
    for first in range(0, max(len(ids), 1), PIECE):
        part = slice(first, first + PIECE)
        yield Rows(ids[part].astype(np.int64), positions[part], cell)


def read_rows(comm: MPI.Comm, pieces: Callable[[], Iterator[Rows]]) -> Rows:
    """Read a structure on rank 0 and distribute its atoms; no rank holds more than its share and one piece.

    Parameters
    ----------
    comm : MPI.Comm
    pieces : callable
        Opens the file and yields its atoms; called on rank 0. For HDF5 files `structure_pieces`, for LAMMPS data files
        `structures.read_data_pieces`. Its exceptions are raised on all ranks.

    Returns
    -------
    Rows
        Atoms of this rank, which need not be those that it owns (`mpi.ownership.fetch` finds these), and the cell.
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
    """Write an array as a dataset with its units as an attribute."""
    file[name] = values
    if units:
        file[name].attrs["units"] = units
