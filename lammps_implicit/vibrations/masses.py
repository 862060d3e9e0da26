"""Masses of atoms, by which displacements are weighted."""

from __future__ import annotations

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import DeckError
from lammps_implicit.evaluators.interface import Evaluator


def atom_masses(engine: Evaluator) -> FloatArray:
    """Return the mass of each of this rank's atoms, (n,).

    Raises
    ------
    DeckError
        If an atom has none.
    """
    masses = engine.atom_masses()
    missing = engine.types[~(masses > 0)]
    lowest = -engine.max(-float(missing.min(initial=2**53)))
    if lowest < 2**53:
        raise DeckError(f"atoms of type {int(lowest)} have no mass, which vibrations need: add a 'mass' command")
    return masses
