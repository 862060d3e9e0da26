"""Checks of an installation, for the command ``doctor``."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable
from dataclasses import dataclass

from mpi4py import MPI

from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.evaluators.potential_folders import potential_folders
from lammps_implicit.minimum import Minimum

FAMILY_PACKAGES = ("ML-IAP", "ML-POD", "ML-UF3", "MANYBODY")
"""LAMMPS packages with the pair styles of the supported potential families other than SNAP."""


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Attributes
    ----------
    name : str
        What was checked.
    finding : str
        Version found, or what is wrong.
    good : bool
        Whether the check passed.
    needed : bool
        False if only some features depend on it.
    """

    name: str
    finding: str
    good: bool
    needed: bool = True


def examine() -> list[Check]:
    """Check every library the package depends on, and differentiate a 15-atom cell."""
    checks = [Check("Python", sys.version.split()[0], sys.version_info >= (3, 10))]
    checks += [_package(name) for name in ("numpy", "scipy", "mpi4py", "lammps", "h5py", "ase", "pyamg")]
    checks += [_attempt("MPI library", _mpi), _attempt("LAMMPS", _lammps), _attempt("potential files", _potentials)]
    checks.append(_attempt("LAMMPS' other potential families", _families, needed=False))
    checks.append(_attempt("PETSc (distributed solver)", _petsc, needed=False))
    checks.append(_attempt("JAX (exact derivatives)", _jax, needed=False))
    checks.append(_attempt("self-test: 15-atom Ta vacancy", _self_test))
    return checks


def _package(name: str) -> Check:
    try:
        return Check(name, importlib.metadata.version(name), True)
    except importlib.metadata.PackageNotFoundError:
        try:
            module = __import__(name)  # installed without metadata, as on some module systems
            return Check(name, str(getattr(module, "__version__", "version unknown")), True)
        except ImportError:
            return Check(name, f"missing: pip install {name}", False)


def _attempt(name: str, find: Callable[[], str], needed: bool = True) -> Check:
    try:
        return Check(name, find(), True, needed)
    except Exception as error:  # any failure is the finding
        return Check(name, f"{type(error).__name__}: {error}".splitlines()[0], False, needed)


def _mpi() -> str:
    return MPI.Get_library_version().split("\n")[0].strip("\0 ")


def _lammps() -> str:
    engine = Engine.start()
    try:
        missing = [package for package in ("ML-SNAP",) if package not in engine.packages]
        if missing:
            raise RuntimeError(f"built without {', '.join(missing)}")
        return f"version {engine.version}, {len(engine.packages)} packages including ML-SNAP"
    finally:
        engine.close()


def _families() -> str:
    engine = Engine.start()
    try:
        missing = [package for package in FAMILY_PACKAGES if package not in engine.packages]
    finally:
        engine.close()
    if missing:
        raise RuntimeError(f"built without {', '.join(missing)}: decks that use their pair styles will not run")
    return f"{', '.join(FAMILY_PACKAGES)} available"


def _potentials() -> str:
    found = [folder for folder in potential_folders() if any(folder.glob("*.snapcoeff"))]
    if not found:
        raise RuntimeError(
            "no .snapcoeff file in the folders of LAMMPS_POTENTIALS: add LAMMPS' own folder 'potentials'"
        )
    return str(found[0])


def _petsc() -> str:
    from lammps_implicit.solvers.petsc_options import PETSc

    return ".".join(map(str, PETSc.Sys.getVersion()))


def _jax() -> str:
    try:
        return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jax", "jax-md"))
    except importlib.metadata.PackageNotFoundError as error:
        raise RuntimeError(f"{error.name} is missing: pip install 'lammps-implicit[autodiff]'") from None


def _self_test() -> str:
    import numpy as np
    from ase.build import bulk

    atoms = bulk("Ta", "bcc", a=3.316, cubic=True) * (2, 2, 2)
    del atoms[0]
    lines = [
        "pair_style hybrid/overlay zbl 4.0 4.8 snap",
        "pair_coeff 1 1 zbl 73 73",
        "pair_coeff * * snap Ta06A.snapcoeff Ta06A.snapparam Ta",
    ]
    with Minimum.from_ase(atoms, lines) as minimum:
        direction = np.linspace(-1, 1, len(minimum.potential.theta))
        pull = np.cos(minimum.ids[:, None] * np.array([1.0, 2.0, 3.0]))
        forward = minimum.engine.dot(pull, minimum.jvp(direction, 1e-8))
        backward = float(minimum.vjp(pull, 1e-8) @ direction)
        if not abs(forward - backward) < 1e-6 * abs(forward):
            raise RuntimeError(f"jvp and vjp disagree: {forward:.9g} and {backward:.9g}")
    return "jvp and vjp agree"
