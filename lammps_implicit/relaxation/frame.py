"""A fixed order of atoms, in which an evaluator is asked for forces at positions far apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.mpi.ownership import fetch

Apply = Callable[[FloatArray], FloatArray]
"""The function v → K⁻¹v, (n, 3) arrays."""

Fit = Callable[[FloatArray], Apply]
"""Fits springs at the reference, where the forces are these, (n, 3)."""


class Visited(NamedTuple):
    """A place on the energy surface.

    Attributes
    ----------
    positions : (n, 3) float array
        Å.
    energy : float
        eV.
    forces : (n, 3) float array
        eV/Å.
    """

    positions: FloatArray
    energy: float
    forces: FloatArray


class Frame:
    """The energy surface over positions of the atoms that a rank owned when the frame was made, in their order then.

    Evaluators may reorder atoms whenever neighbour lists are built; arrays in a frame keep their rows, and
    preconditioners made with it stay valid. Positions are counted from `start` and are not wrapped into the cell.

    Parameters
    ----------
    engine : Evaluator
        At its reference.

    Attributes
    ----------
    ids : (n,) int array
    start : (n, 3) float array
        The reference at which the frame was made, Å.
    """

    def __init__(self, engine: Evaluator) -> None:
        self.engine = engine
        self.ids = engine.ids.copy()
        self.start = engine.positions.copy()

    def place(self, positions: FloatArray) -> None:
        """Move the reference of the evaluator to positions, (n, 3), Å, without evaluating there."""
        engine = self.engine
        there = fetch(engine.comm, self.ids, positions, engine.ids)
        engine.shift(engine.nearest_image(there - engine.positions))

    def visit(self, positions: FloatArray) -> Visited:
        """Move the reference to positions, (n, 3), Å, and evaluate there. One force evaluation."""
        engine = self.engine
        self.place(positions)
        forces = engine.settle() if engine.drift > engine.skin / 4 else engine.forces()
        return Visited(positions, engine.energy, self.here(forces))

    def seen(self, near: FloatArray) -> FloatArray:
        """Positions of the reference of the evaluator, (n, 3), Å, in the periodic images that are nearest to others."""
        engine = self.engine
        return near + engine.nearest_image(self.here(engine.positions) - near)

    def here(self, values: FloatArray) -> FloatArray:
        """Per-atom values in the evaluator's present order, (n, ...), in that of the frame."""
        return fetch(self.engine.comm, self.engine.ids, values, self.ids)

    def fitted(self, fit: Fit, positions: FloatArray) -> Apply:
        """The function v → K⁻¹v of arrays in the frame, with springs fitted at positions, (n, 3), Å.

        Parameters
        ----------
        fit : callable
            Maps forces at the reference to the function v → K⁻¹v, both in the evaluator's order.
        positions : (n, 3) float array
        """
        engine, comm = self.engine, self.engine.comm
        self.place(positions)
        forces = engine.settle()
        ids, apply = engine.ids.copy(), fit(forces)
        if engine.order_unchanged(self.ids):
            return apply
        return lambda v: fetch(comm, ids, apply(fetch(comm, self.ids, v, ids)), self.ids)
