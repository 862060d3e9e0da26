"""Free energy, energy, entropy and heat capacity of a structure in the harmonic approximation, with gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lammps_implicit.arrays import FloatArray
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.stationary.relaxable import CellRequest
from lammps_implicit.units import Pressure
from lammps_implicit.vibrations.constants import vibration_units
from lammps_implicit.vibrations.harmonic import Vibrations, exact_vibrations
from lammps_implicit.vibrations.thermal import checked_temperatures
