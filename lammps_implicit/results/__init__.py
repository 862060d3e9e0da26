"""Result objects: taken from a stationary point, written to files, and read from them.

`sensitivity` has `Sensitivity`, a structure with its derivatives; `prediction` what follows from one at changed
parameters; `snapshot` the structure of a stationary point; `structure` structures in HDF5 files; `text` LAMMPS data and
XYZ files; `format` the kinds and the version of result files.
"""

from lammps_implicit.results.prediction import PredictedStructure, predict, read_theta, write_prediction
from lammps_implicit.results.sensitivity import Sensitivity, read_sensitivity
from lammps_implicit.results.snapshot import snapshot
from lammps_implicit.results.text import write_data, write_xyz, write_xyz_images

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
    "write_xyz_images",
]
