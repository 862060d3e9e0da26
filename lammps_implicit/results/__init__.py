"""Results: taken from a stationary point, written to files, read from there."""

from lammps_implicit.results.prediction import PredictedStructure, predict, read_theta, write_prediction
from lammps_implicit.results.sensitivity import Sensitivity, read_sensitivity
from lammps_implicit.results.snapshot import snapshot
from lammps_implicit.results.text import write_data, write_xyz

__all__ = [
    "PredictedStructure",
    "Sensitivity",
    "predict",
    "read_sensitivity",
    "read_theta",
    "snapshot",
    "write_data",
    "write_prediction",
    "write_xyz",
]
