"""What phonons need: the packages that do crystallography, and a structure that has phonons."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType

import numpy as np

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.stationary.point import StationaryPoint

EXTRA = "pip install 'lammps_implicit[phonons]'"
"""How the packages are installed."""


def required(name: str) -> ModuleType:
    """Import a module of phonopy or seekpath.

    Raises
    ------
    LammpsImplicitError
        If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise LammpsImplicitError(f"phonons need {package}, which cannot be imported ({error}): {EXTRA}") from None


def require_packages() -> None:
    """Check that phonopy, spglib and seekpath are installed.

    Raises
    ------
    LammpsImplicitError
    """
    for name in ("phonopy", "spglib", "seekpath"):
        required(name)


def require_crystal(point: StationaryPoint) -> Engine:
    """Check that a structure is a crystal whose atoms are free, and return its engine.

    Raises
    ------
    LammpsImplicitError
        If it is not, or another evaluator than LAMMPS computes it.
    """
    engine = point.engine
    if not isinstance(engine, Engine):
        raise LammpsImplicitError("phonons are computed from forces of LAMMPS: leave out the other evaluator")
    if engine.deck.dimension != 3 or not all(engine.periodic):
        directions = ", ".join(axis for axis, periodic in zip("xyz", engine.periodic, strict=True) if not periodic)
        which = f"this one is not along {directions}" if directions else "this one has two dimensions"
        raise LammpsImplicitError(f"phonons need a cell that is periodic in three dimensions, and {which}")
    if engine.external:
        raise LammpsImplicitError(
            "external forces act on the atoms of this deck, so that its energy changes when the crystal is moved: "
            "remove walls, springs and fields before phonons are computed"
        )
    held = engine.sum(int(np.count_nonzero(~engine.alone)))
    if held:
        raise LammpsImplicitError(
            f"{held} components of positions are frozen or move together, and a crystal has no such atoms: remove "
            "'fix setforce', 'fix aveforce' and the like from the deck"
        )
    if engine.masses_of_atoms:
        raise LammpsImplicitError(
            "masses are set for each atom, not for each type: use an atom_style without them, and 'mass' lines"
        )
    return engine


def warn_of_charges(engine: Engine) -> None:
    """Warn of long-range Coulomb forces, whose non-analytical term at Γ is not included."""
    if engine.deck.kspace and engine.comm.rank == 0:
        warnings.warn(
            "charges interact over long ranges, and the non-analytical term of their macroscopic field is not "
            "included: longitudinal and transverse optical modes are not split at Γ",
            stacklevel=2,
        )
