"""Observables of defects and crystals, with gradients with respect to the parameters."""

from lammps_implicit.observables.bulk import (
    cohesive_energy,
    elastic_constants,
    lattice_parameters,
    named_constants,
)
from lammps_implicit.observables.cells import composition, enthalpy, volume
from lammps_implicit.observables.config import StudySettings
from lammps_implicit.observables.configuration import read_configuration
from lammps_implicit.observables.dipole import elastic_dipole
from lammps_implicit.observables.distances import distance, distance_from_jacobian, distance_from_sensitivity
from lammps_implicit.observables.distortion import Distortion, distortion_from
from lammps_implicit.observables.files import Derivatives, read_derivatives
from lammps_implicit.observables.formation import (
    binding_energy,
    formation_energy,
    formation_volume,
    relaxation_energy,
    relaxation_volume,
)
from lammps_implicit.observables.kind import OBSERVABLES, Cells, ObservableKind
from lammps_implicit.observables.observable import Observable, combine
from lammps_implicit.observables.study import Study, run_study, write_study

__all__ = [
    "OBSERVABLES",
    "Cells",
    "Derivatives",
    "Distortion",
    "Observable",
    "ObservableKind",
    "Study",
    "StudySettings",
    "binding_energy",
    "cohesive_energy",
    "combine",
    "composition",
    "distance",
    "distance_from_jacobian",
    "distance_from_sensitivity",
    "distortion_from",
    "elastic_constants",
    "elastic_dipole",
    "enthalpy",
    "formation_energy",
    "formation_volume",
    "lattice_parameters",
    "named_constants",
    "read_configuration",
    "read_derivatives",
    "relaxation_energy",
    "relaxation_volume",
    "run_study",
    "volume",
    "write_study",
]
