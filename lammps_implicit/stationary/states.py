"""Results of excursions and relaxations of a stationary point, and its saved state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import StrainFreedom
from lammps_implicit.evaluators.interface import Reference
from lammps_implicit.response.linear_response import LinearResponse
from lammps_implicit.response.statistics import Statistics
from lammps_implicit.solvers.preconditioner import Fitted
from lammps_implicit.units import Units

_RISE = 1e-9
"""Rise of the energy, relative, beyond which it is no rounding."""

_SAME_VOLUME = 1e-10
"""Relative change of a volume that is rounding."""


class State(NamedTuple):
    """An evaluated structure, not relaxed; in ``units metal`` energies are in eV.

    Attributes
    ----------
    energy : float
    forces : (n, 3) float array
        eV/Å, of this rank's atoms.
    pressure : (3, 3) float array
        Pressure tensor, energy per volume.
    volume : float
        Å³.
    gradient : (P,) float array or None
        ∂U/∂Θ, if it was requested.
    """

    energy: float
    forces: FloatArray
    pressure: FloatArray
    volume: float
    gradient: FloatArray | None = None


class Relaxed(NamedTuple):
    """A structure relaxed again, with its cell.

    Attributes
    ----------
    displacement : (n, 3) float array
        From the reference, nearest images, Å.
    energy : float
        eV in ``units metal``.
    cell : (3, 3) float array
        Cell vectors as rows, Å.
    """

    displacement: FloatArray
    energy: float
    cell: FloatArray


@dataclass(frozen=True)
class Relaxation:
    """What relaxing the structure that a deck left has done, in the deck's units.

    Attributes
    ----------
    before, after : float
        Largest force component, energy per length.
    farthest : float
        Largest displacement of an atom, length; beside that with the cell.
    energy : float
        Change of the energy.
    volumes : (float, float)
        Volume before and after, length cubed.
    units : Units
    """

    before: float
    after: float
    farthest: float
    energy: float
    volumes: tuple[float, float]
    units: Units

    def rise(self, energy: float) -> str:
        """Say that relaxing at fixed cell has raised the energy, to this; empty if it has not."""
        if not self.energy > _RISE * abs(energy):
            return ""
        return (
            f"relaxing raised the energy by {self.energy:.3g} {self.units.energy}: forces are not its derivative (a "
            "cutoff without a shift, a pair style whose energy is another): 'lammps-implicit check' says where"
        )

    def __str__(self) -> str:
        units, (old, new) = self.units, self.volumes
        changed = abs(new / old - 1) > _SAME_VOLUME
        volume = f", {units.volume_name} {old:.6g} to {new:.6g} {units.volume}" if changed else ""
        return (
            f"what the deck left was relaxed: largest force {self.before:.2e} to {self.after:.2e} {units.force}, atoms "
            f"moved by up to {self.farthest:.3g} {units.length}, energy changed by {self.energy:.3g} {units.energy}"
            f"{volume}"
        )


@dataclass
class Excursion:
    """An excursion to other parameters in progress.

    Attributes
    ----------
    stay : bool
        Whether to stay there rather than return to the reference on leaving the context.
    """

    stay: bool = False


class SavedState(NamedTuple):
    """The complete state of a stationary point, to return to after an excursion."""

    reference: Reference
    response: LinearResponse
    freedom: StrainFreedom
    fitted: Fitted | None
    statistics: Statistics
    overall: Statistics
