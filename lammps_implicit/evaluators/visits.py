"""Visits: energy, forces and pressure at any displacement and strain, with the reference as before afterwards."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.evaluators.restoring import restoring
from lammps_implicit.mpi.ownership import fetch

NOWHERE = np.zeros((3, 3))
"""The strain of a cell that stays as it is."""


class Visit(NamedTuple):
    """What was found at a visit, in the deck's units.

    Attributes
    ----------
    energy : float
    forces : (n, 3) float array
        By rows of the reference.
    pressure : (3, 3) float array
        Energy per volume.
    """

    energy: float
    forces: FloatArray
    pressure: FloatArray


def visit(engine: Evaluator, displacement: FloatArray, strain: FloatArray = NOWHERE) -> Visit:
    """Evaluate at the reference plus a displacement of any length, in a strained cell, and return to the reference.

    Neighbour lists are built there if those that exist do not reach so far. One force evaluation, and one more where
    the cell is strained; where lists were built, that of what is evaluated near the reference next costs one more, but
    not another visit. On several ranks it costs two more if atoms change owner on the way.

    Parameters
    ----------
    engine : Evaluator
    displacement : (n, 3) float array
        Å, in the axes of the unstrained cell: u of x' = x₀ + (1 + ε)(x + u - x₀), x₀ the cell's origin.
    strain : (3, 3) float array
        ε, upper triangular, see `cell.freedom.require_strainable`.

    Raises
    ------
    LammpsImplicitError
        If the evaluator fails there. The reference is as before, or the evaluator is void.
    """
    home = engine.reference()
    with restoring(engine, lambda: engine.set_reference(home), "the reference"):
        engine.shift(displacement)
        if np.any(strain):
            forces = engine.strained_forces(strain)
        elif engine.drift > engine.skin / 4:
            forces = engine.settle()
        else:
            forces = engine.forces()
        if not engine.order_unchanged(home.ids):
            forces = fetch(engine.comm, engine.ids, forces, home.ids)
        return Visit(engine.energy, np.array(forces), engine.pressure)
