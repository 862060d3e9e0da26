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
