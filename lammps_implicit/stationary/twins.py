"""Two points that are to be alike: the way from one to the other, and whether they are."""

from __future__ import annotations

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.stationary.relaxable import RelaxablePoint

_ROUNDING = 1e-12
"""Strain that is rounding: cells that are not periodic cannot be strained even by that."""

_SAME_ENERGY = 1e-8
"""Difference of energies, relative to their size or 1 eV for a thousand atoms, that is rounding."""


def way_to(point: RelaxablePoint, other: RelaxablePoint) -> tuple[FloatArray, FloatArray]:
    """Displacement, (n, 3), Å, and strain, (3, 3), that take a point to the structure of another of the same atoms."""
    here, there = point.engine, other.engine
    strain = np.triu(np.linalg.solve(here.cell, there.cell).T - np.eye(3))
    strain[np.abs(strain) < _ROUNDING] = 0.0
    following = (here.positions - here.origin) @ (np.eye(3) + strain).T
    target = fetch(there.comm, other.ids, other.positions, point.ids) - there.origin
    return there.nearest_image(target - following) + following + here.origin - here.positions, strain


def require_alike(point: RelaxablePoint, other: RelaxablePoint) -> None:
    """Check that two points at the same structure have the same energy and the same atoms that are free.

    Raises
    ------
    LammpsImplicitError
        If a deck that ran twice has left another potential, or holds other atoms.
    """
    engine = point.engine
    scale = max(abs(other.energy), 1e-3 * engine.n_atoms)
    free = fetch(engine.comm, other.ids, other.engine.free.astype(np.int64), point.ids) > 0
    if not abs(point.energy - other.energy) <= _SAME_ENERGY * scale or engine.any(bool((free != engine.free).any())):
        raise LammpsImplicitError(
            f"{other.deck_name or 'the deck'}, run again, gives the same structure {point.energy:.12g} "
            f"{other.units.energy} instead of {other.energy:.12g}, or holds other atoms: its potential must not depend "
            "on random numbers, or on files that change while it runs"
        )
