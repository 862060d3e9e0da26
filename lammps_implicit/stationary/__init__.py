"""Stationary points: structures on which no force acts, their relaxation, derivatives and excursions.

`point` has `StationaryPoint`, with constructors and excursions to other parameters, on top of two base classes:
`relaxable` (current state and relaxation) and `differentiable` (derivatives). `states` has the small result objects,
and `checks` the validation of arguments.
"""

from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.stationary.relaxable import CellRequest
from lammps_implicit.stationary.states import Excursion, Relaxation, Relaxed, State

__all__ = ["CellRequest", "Excursion", "Relaxation", "Relaxed", "State", "StationaryPoint"]
