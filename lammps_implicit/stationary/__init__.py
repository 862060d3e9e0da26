"""A structure at which forces vanish: its derivatives, its relaxation, and visits to other parameters."""

from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.stationary.standing import CellRequest
from lammps_implicit.stationary.states import Excursion, Relaxed, State

__all__ = ["CellRequest", "Excursion", "Relaxed", "State", "StationaryPoint"]
