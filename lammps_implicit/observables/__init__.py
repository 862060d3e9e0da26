"""What users report of defects and crystals, with gradients with respect to the parameters."""

from lammps_implicit.observables.bulk import (
    cohesive_energy,
    elastic_constants,
    lattice_parameters,
    named_constants,
)
from lammps_implicit.observables.cells import composition, enthalpy, volume
from lammps_implicit.observables.dipole import elastic_dipole
from lammps_implicit.observables.distances import distance
from lammps_implicit.observables.distortion import Distortion, distortion_from
from lammps_implicit.observables.formation import (
    binding_energy,
    formation_energy,
    formation_volume,
    relaxation_energy,
    relaxation_volume,
)
from lammps_implicit.observables.observable import Observable, combine

__all__ = [
    "Distortion",
    "Observable",
    "binding_energy",
    "cohesive_energy",
    "combine",
    "composition",
    "distance",
    "distortion_from",
    "elastic_constants",
    "elastic_dipole",
    "enthalpy",
    "formation_energy",
    "formation_volume",
    "lattice_parameters",
    "named_constants",
    "relaxation_energy",
    "relaxation_volume",
    "volume",
]
