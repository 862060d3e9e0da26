"""LAMMPS data files with all that an ``atom_style`` has: kept with a result, and written with moved atoms."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import OutputError
from lammps_implicit.files import forget_temporary, temporary_folder
from lammps_implicit.mpi.on_root import on_root
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.structures import BLOCK, Structure

_PIECE = 2**20
"""Bytes that are copied at a time."""

_SAME = 1e-6
"""Difference of two positions that are the same, as a fraction of the cell: far above rounding, far below a bond."""

_COUNTED = (b"atoms", b"bonds", b"angles", b"dihedrals", b"impropers")
"""What the numbers at the top of a data file count."""


class DataFile(Protocol):
    """A data file of a structure, as LAMMPS wrote it."""

    def pieces(self) -> Iterator[bytes]:
        """Its bytes, in pieces."""
        ...


class WrittenDataFile:
    """A data file in a temporary folder, which is removed together with this object.

    Parameters
    ----------
    path : Path
        The file as it was written; it is moved.
    """

    def __init__(self, path: Path) -> None:
        folder = temporary_folder()
        self._path = Path(shutil.move(path, folder / path.name))
        weakref.finalize(self, _remove, folder)

    def pieces(self) -> Iterator[bytes]:
        """As for `DataFile`."""
        with open(self._path, "rb") as file:
            while piece := file.read(_PIECE):
                yield piece


@dataclass(frozen=True)
class StoredDataFile:
    """A data file in a dataset of a result file.

    Attributes
    ----------
    opened : callable
        Opens the result file: returns a context manager.
    name : str
        Of the dataset.
    """

    opened: Callable[[], Any]
    name: str

    def pieces(self) -> Iterator[bytes]:
        """As for `DataFile`."""
        with self.opened() as file:
            dataset = file[self.name]
            for first in range(0, len(dataset), _PIECE):
                yield dataset[first : first + _PIECE].tobytes()


def take_data_file(point: StationaryPoint) -> WrittenDataFile | None:
    """Have LAMMPS write the structure of a stationary point as a data file; call it on all ranks.

    Returns
    -------
    WrittenDataFile or None
        On rank 0; None on the others, and if ids, types and positions are all there is of the atoms.
    """
    written = point.engine.write_structure()
    taken: list[WrittenDataFile] = []
    if written is not None:
        on_root(point.engine.comm, lambda: taken.append(WrittenDataFile(written)))
    return taken[0] if taken else None


def store_data_file(file: Any, name: str, data: DataFile) -> None:
    """Write a data file as a dataset of bytes in an open HDF5 file."""
    dataset = file.create_dataset(name, (0,), np.uint8, maxshape=(None,), chunks=(_PIECE,))
    for piece in data.pieces():
        size = len(dataset)
        dataset.resize((size + len(piece),))
        dataset[size:] = np.frombuffer(piece, np.uint8)


def lines_of(data: DataFile) -> Iterator[bytes]:
    """The lines of a data file, with their ends."""
    rest = b""
    for piece in data.pieces():
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line + b"\n" for line in lines)
    if rest:
        yield rest


def titled(lines: Iterable[bytes], title: str, elements: Sequence[str]) -> Iterator[bytes]:
    """The lines of a data file with another title, and with the names of elements beside their masses."""
    lines = iter(lines)
    next(lines)
    yield f"{title}\n".encode()
    for line in lines:
        words = line.split()
        if words[:1] == [b"Atoms"]:
            yield line
            break
        named = len(words) == 2 and words[0].isdigit() and int(words[0]) <= len(elements)
        named = named and words[1] not in _COUNTED
        yield line.rstrip() + f"  # {elements[int(words[0]) - 1]}\n".encode() if named else line
    yield from lines


def moved_lines(
    lines: Iterable[bytes], structure: Structure, displacement: FloatArray, strain: FloatArray
) -> Iterator[bytes]:
    """The lines of a data file of a structure with its atoms displaced in a strained cell; all else stays.

    Parameters
    ----------
    lines : iterable of bytes
    structure : Structure
        All atoms, at the positions of the file or periodic images of them.
    displacement : (N, 3) float array
        Of the atoms of `structure`, Å, including the part that follows the cell.
    strain : (3, 3) float array
        Upper triangular.

    Raises
    ------
    OutputError
        If the file does not hold the atoms of the structure.
    """
    lines = iter(lines)
    cell, origin = structure.cell @ (np.eye(3) + strain).T, structure.origin
    bounds: dict[tuple[bytes, ...], tuple[float, ...]] = {(b"xy", b"xz", b"yz"): (cell[1, 0], cell[2, 0], cell[2, 1])}
    for axis, name in enumerate(("x", "y", "z")):
        bounds[f"{name}lo".encode(), f"{name}hi".encode()] = origin[axis], origin[axis] + cell[axis, axis]
    for line in lines:
        words = line.split()
        if words[:1] == [b"Atoms"]:
            yield line
            yield next(lines)
            break
        values = bounds.get(tuple(words[len(words) // 2 :]))
        yield (
            line
            if values is None
            else b"%s %s\n"
            % (
                " ".join(f"{value:.17g}" for value in values).encode(),
                b" ".join(words[len(values) :]),
            )
        )
    left, column = len(structure.ids), None
    while left:
        rows = [line.split() for line in islice(lines, min(left, BLOCK))]
        left -= len(rows)
        try:
            place = np.searchsorted(structure.ids, ids := np.array([int(words[0]) for words in rows]))
            if not rows or not np.array_equal(structure.ids[place], ids):
                raise ValueError("other ids")
            column = _column_of_positions(rows, structure, place) if column is None else column
            positions = np.array([words[column : column + 3] for words in rows], float)
        except (ValueError, IndexError) as error:
            raise OutputError(
                f"the data file that LAMMPS wrote does not hold the atoms of the result ({error}): compute the result "
                "again"
            ) from None
        new = positions + displacement[place] + (positions - structure.positions[place]) @ strain.T
        for words, position in zip(rows, new.tolist(), strict=True):
            words[column : column + 3] = [b"%.17g" % component for component in position]
            yield b" ".join(words) + b"\n"
    yield from lines


def _column_of_positions(rows: Sequence[Sequence[bytes]], structure: Structure, place: Any) -> int:
    """The column, from 0, at which the positions of atoms begin; it depends on the ``atom_style``."""
    expected, inverse = structure.positions[place], np.linalg.inv(structure.cell)
    for column in range(2, len(rows[0]) - 2):
        try:
            found = np.array([words[column : column + 3] for words in rows], float)
        except ValueError:  # words of hybrid styles
            continue
        apart = (found - expected) @ inverse
        if np.abs(apart - np.round(apart) * structure.periodic).max() < _SAME:
            return column
    raise ValueError("other positions")


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    forget_temporary(folder)
