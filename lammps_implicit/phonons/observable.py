"""The observable ``phonon frequency`` of configurations: of a branch at a q-point of a crystal."""

from __future__ import annotations

from typing import ClassVar, Literal, Optional

import numpy as np
from pydantic import Field

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.observables.cells import unknown_gradient
from lammps_implicit.observables.kind import Cells, ObservableKind
from lammps_implicit.observables.observable import Observable
from lammps_implicit.phonons.crystal import frequency_unit
from lammps_implicit.phonons.dynamical import frequencies
from lammps_implicit.phonons.requirements import require_crystal
from lammps_implicit.phonons.study import Phonons, phonons_of
from lammps_implicit.stationary.point import StationaryPoint

Three = tuple[int, int, int]
"""How often a cell is repeated along each of its vectors."""


class PhononFrequency(ObservableKind):
    """Frequency of a phonon of a crystal: THz, or 1/τ in reduced units; negative if it is imaginary."""

    kind: Literal["phonon frequency"]
    costly: ClassVar[bool] = True
    cell: str = Field(description="a crystal; its cell is reduced to a primitive one")
    qpoint: tuple[float, float, float] = Field(description="in reciprocal vectors of the primitive cell")
    branch: int = Field(gt=0, lt=10**6, description="number, from 1, in ascending order of frequencies at the q-point")
    supercell: Optional[Three] = Field(default=None, description="default: wider than twice the cutoff")

    def cells(self) -> list[str]:
        return [self.cell]

    def check(self, cells: Cells) -> None:
        require_crystal(cells[self.cell])
        if self.supercell is not None and min(self.supercell) < 1:
            raise LammpsImplicitError(f"supercell: {list(self.supercell)} is not three whole numbers from 1")

    def measure(self, cells: Cells, order: int, tol: float) -> Observable:
        point = cells[self.cell]
        found = _phonons(point, self.supercell)
        value, slope = point.engine.on_root(lambda: self._frequency(found))
        size = len(point.potential.theta)
        gradient = slope[:size] if order > 0 and size else unknown_gradient(point)
        return Observable(np.asarray(value), gradient, frequency_unit(point.units))

    def _frequency(self, found: Phonons | None) -> tuple[float, FloatArray]:
        """The frequency and its derivatives; on rank 0."""
        assert found is not None
        known = frequencies(found.dynamics, np.array([self.qpoint]))
        branches = known.values.shape[1]
        if self.branch > branches:
            raise LammpsImplicitError(
                f"branch {self.branch} of a crystal with {branches} branches: give a lower number"
            )
        return float(known.values[0, self.branch - 1]), known.derivatives[0, self.branch - 1]


def _phonons(point: StationaryPoint, supercell: Three | None) -> Phonons | None:
    """Phonons of a point, for all observables of it; on rank 0."""
    key = ("phonons", supercell)
    if key not in point.response.kept:
        found = phonons_of(point, supercell, points=2, mesh=(1, 1, 1))
        point.response.kept[key] = found  # of the response as it is now: neighbour lists may have been built anew
    kept: Phonons | None = point.response.kept[key]
    return kept
