"""Structures that a stationary point visits, and what is found there."""

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
    """What the evaluator says of a structure.

    Attributes
    ----------
    energy : float
    forces : (n, 3) float array
    pressure : (3, 3) float array
        Energy per volume.
    volume : float
    gradient : (P,) float array or None
        ∂U/∂Θ, if asked for.
    """

    energy: float
    forces: FloatArray
    pressure: FloatArray
    volume: float
    gradient: FloatArray | None = None


class Relaxed(NamedTuple):
    """Where relaxing again led: displacement (n, 3) in Å, energy, and cell vectors as rows (3, 3) in Å."""

    displacement: FloatArray
    energy: float
    cell: FloatArray


@dataclass
class Excursion:
    """A visit to other parameters; `stay` says whether not to come back."""

    stay: bool = False


class SavedState(NamedTuple):
    """Everything that makes up where a stationary point stands, to come back to."""

    reference: Reference
    response: LinearResponse
    freedom: StrainFreedom
    fitted: Fitted | None
    statistics: Statistics
