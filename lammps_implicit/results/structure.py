"""Structures in HDF5 files, streaming in id order."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from lammps_implicit.mpi.id_order import IdOrder
from lammps_implicit.structures import Structure


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


def write_dataset(file: Any, name: str, values: Any, units: str) -> None:
    """Write an array and name its units."""
    file[name] = values
    if units:
        file[name].attrs["units"] = units
