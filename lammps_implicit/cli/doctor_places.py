"""Checks of the places that this package reads from and writes to."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from lammps_implicit.cli.doctor_check import FaultError
from lammps_implicit.evaluators.potential_folders import potential_folders
from lammps_implicit.files import Schema, hdf5_opened, hdf5_written_whole, in_temporary_folder, numbers

ROOM = 100 * 2**20
"""Bytes below which a file system counts as full: transcripts and results of small cells take less."""

_SCHEMA = Schema("trial", {"numbers": numbers("N", 3)})


def potentials() -> str:
    """Check that potential files are found."""
    given = [entry for entry in os.environ.get("LAMMPS_POTENTIALS", "").split(os.pathsep) if entry]
    absent = [entry for entry in given if not Path(entry).is_dir()]
    if absent:
        raise FaultError(
            f"LAMMPS_POTENTIALS names {absent[0]}, which is no folder", "correct it, or unset it: LAMMPS brings its own"
        )
    found = [folder for folder in potential_folders() if any(folder.glob("*.snapcoeff"))]
    if not found:
        raise FaultError(
            "no .snapcoeff file in the folders of LAMMPS_POTENTIALS",
            "add LAMMPS' own folder 'potentials' to it",
        )
    return str(found[0])


def temporary() -> str:
    """Check that temporary files can be written."""
    given = os.environ.get("TMPDIR")
    if given and not (Path(given).is_dir() and os.access(given, os.W_OK)):
        raise FaultError(f"TMPDIR={given} is no folder that can be written to", "set TMPDIR to one with space")
    tempfile.tempdir = None  # found again, should the environment have changed
    return _written_to(Path(tempfile.gettempdir()), "set TMPDIR to a folder with space")


def working_folder() -> str:
    """Check that results can be written here."""
    return _written_to(Path.cwd(), "change to a folder with space that you may write to")


def _written_to(folder: Path, remedy: str) -> str:
    if not os.access(folder, os.W_OK):
        raise FaultError(f"{folder} cannot be written to", remedy)
    free = shutil.disk_usage(folder).free
    if free < ROOM:
        raise FaultError(f"{folder} has {free / 2**20:.0f} MiB free", remedy)
    return f"{folder}, {free / 2**30:.0f} GiB free"


def hdf5() -> str:
    """Check that an HDF5 file is read as it was written."""
    import h5py

    values = np.arange(300.0).reshape(100, 3)
    with in_temporary_folder() as folder:
        path = folder / "trial.h5"
        with hdf5_written_whole(path) as file:
            file.attrs["kind"], file["numbers"] = _SCHEMA.kind, values
        with hdf5_opened(path, [_SCHEMA], "a trial") as file:
            same = np.array_equal(file["numbers"][()], values)
    if not same:
        raise FaultError("numbers are read other than they were written", "install h5py again: pip install -U h5py")
    return f"HDF5 {h5py.version.hdf5_version}, written and read"
