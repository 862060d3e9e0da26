"""Files of saddles around a minimum: HDF5, and extended XYZ with one frame a saddle; streamed in id order."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import h5py
import numpy as np
from mpi4py import MPI

from lammps_implicit.files import hdf5_opened, hdf5_written_whole, written_whole
from lammps_implicit.mpi.id_order import IdOrder
from lammps_implicit.mpi.on_root import opened_on_root
from lammps_implicit.results.format import SADDLES, SADDLES_KIND
from lammps_implicit.results.structure import read_structure, stream_patterns, stream_structure, write_dataset
from lammps_implicit.saddles.searching import NearbySaddle, SaddlesAround
from lammps_implicit.structures import write_rows, write_xyz_header

_WHAT = "a file of saddles"

_OWN = ("kind", "format_version", "searches", "failures", "force_evaluations")
"""Attributes that are not those of `SaddlesAround.attributes`."""


def write_saddles(path: str | os.PathLike[str], found: SaddlesAround, overwrite: bool = False) -> None:
    """Write an HDF5 file; call it on all ranks.

    Parameters
    ----------
    path : path-like
    found : SaddlesAround
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    OutputError
        If the file exists or cannot be written; no partial file is left.
    """
    length, saddles = str(found.attributes["length_unit"]), found.saddles
    with opened_on_root(found.comm, lambda: hdf5_written_whole(path, overwrite)) as file:
        if file is not None:
            _write_numbers(file, found, length)
        order = stream_structure(file, found.structure, found.comm, length)
        stream_patterns(file, "displacements", length, order, (one.displacement for one in saddles), len(saddles))
        stream_patterns(file, "modes", "", order, (one.mode for one in saddles), len(saddles))
        stream_patterns(file, "behind", length, order, (one.behind for one in saddles), len(saddles))


def _write_numbers(file: Any, found: SaddlesAround, length: str) -> None:
    """Write all that is not per atom."""
    energy, saddles = str(found.attributes["energy_unit"]), found.saddles
    file.attrs.update(found.attributes)
    file.attrs["kind"] = SADDLES_KIND
    file.attrs["searches"], file.attrs["force_evaluations"] = found.searches, found.evaluations
    file.attrs["failures"] = json.dumps(found.failures)
    file["parameter_names"] = np.array(found.names, dtype=h5py.string_dtype())
    write_dataset(file, "theta", found.theta, "the coefficient file's")
    write_dataset(file, "energy", found.energy, energy)
    gradients = np.array([one.gradient for one in saddles]).reshape(len(saddles), len(found.theta))
    write_dataset(file, "gradients", gradients, f"{energy} / theta")
    columns = (
        ("barriers", "barrier", energy),
        ("curvatures", "curvature", f"{energy} / {length}^2"),
        ("behind_energies", "behind_energy", energy),
        ("found", "found", ""),
        ("places", "places", ""),
        ("evaluations", "evaluations", ""),
    )
    for name, field, units in columns:
        write_dataset(file, name, np.array([getattr(one, field) for one in saddles]), units)
    movers = np.array([one.movers for one in saddles])
    write_dataset(file, "movers", movers[:, :, 0].astype(np.int64), "")
    write_dataset(file, "moved", movers[:, :, 1], length)


def read_saddles(path: str | os.PathLike[str]) -> SaddlesAround:
    """Read a file of `write_saddles`, with all atoms.

    Raises
    ------
    OutputError
        If the file does not exist, is damaged, or is something else.
    """
    with hdf5_opened(path, [SADDLES], _WHAT) as file:
        structure = read_structure(file)
        names = ("displacements", "modes", "curvatures", "barriers", "gradients", "behind", "behind_energies")
        arrays = {name: file[name][()] for name in (*names, "movers", "moved", "found", "places", "evaluations")}
        saddles = tuple(
            NearbySaddle(
                structure.ids,
                arrays["displacements"][index],
                arrays["modes"][index],
                float(arrays["curvatures"][index]),
                float(arrays["barriers"][index]),
                arrays["gradients"][index],
                arrays["behind"][index],
                float(arrays["behind_energies"][index]),
                tuple(zip(arrays["movers"][index].tolist(), arrays["moved"][index].tolist(), strict=True)),
                *(int(arrays[name][index]) for name in ("found", "places", "evaluations")),
            )
            for index in range(len(arrays["barriers"]))
        )
        return SaddlesAround(
            structure,
            float(file["energy"][()]),
            saddles,
            int(file.attrs["searches"]),
            json.loads(file.attrs["failures"]),
            int(file.attrs["force_evaluations"]),
            file["theta"][()],
            tuple(file["parameter_names"].asstr()[()]),
            {name: value for name, value in file.attrs.items() if name not in _OWN},
            MPI.COMM_SELF,
        )


def write_saddles_xyz(path: str | os.PathLike[str], found: SaddlesAround, overwrite: bool = False) -> None:
    """Write all saddles as extended XYZ, one frame each, with ids, types, modes and displacements from the minimum.

    Parameters
    ----------
    path, found, overwrite
        As for `write_saddles`.

    Raises
    ------
    OutputError
        As there.
    """
    structure, order = found.structure, IdOrder(found.comm, found.structure.ids)
    names = np.array(structure.elements)
    columns = "species:S:1:pos:R:3:id:I:1:type:I:1:mode:R:3:displacement:R:3"
    line = "%s" + " %.10f" * 3 + " %d %d" + " %.10f" * 6 + "\n"

    @contextmanager
    def opened() -> Iterator[IO[str]]:
        with written_whole(path, overwrite) as temporary, open(temporary, "w", encoding="utf-8") as file:
            yield file

    def written(file: IO[str] | None, saddle: NearbySaddle) -> None:
        places = structure.positions - structure.origin + saddle.displacement
        # Ids are exact below 2^53.
        rows = np.column_stack([places, structure.ids, structure.types, saddle.mode, saddle.displacement])
        if file is not None:
            energy = found.energy + saddle.barrier
            info = {"energy": energy, "barrier": saddle.barrier}
            write_xyz_header(file, order.total, structure.cell, structure.periodic, columns, **info)

        def write(_: int, piece: Any) -> None:
            assert file is not None
            write_rows(file, line, names[piece[:, 4].astype(int) - 1], *piece.T)

        order.stream(rows, write)

    with opened_on_root(found.comm, opened) as file:
        for saddle in found.saddles:
            written(file, saddle)
