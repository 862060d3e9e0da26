"""Observables of crystals and defects, with gradients with respect to the parameters.

An observable is a number (or a small array) of one or more relaxed cells. `observable` has the result object with value
and derivatives; `cells` energies, volumes and compositions of one cell; `bulk` lattice parameters, cohesive energies
and elastic constants; `formation` formation, binding and relaxation energies and volumes; `barriers` energies and
volumes of saddles above minima; `dipole` elastic dipole tensors; `distances` distances between atoms; `distortion`
lattice distortion; `dislocations` core positions and differential displacement maps of screw dislocations. `kind`
defines what a kind of observable in a configuration must provide, `quantities` has the kinds of this package.
`configuration` reads YAML files, `decks` has the settings of decks and saddles, whose cells `opening` opens, `config`
those of the command ``observables``, which `study` runs; `files` writes and reads the results. `barrier_derivatives`
differentiates barriers, which `barrier_file` writes and reads and `barrier_plot` draws; `trust` tells how far first
derivatives can be trusted. `targets` reads positions of atoms from files or decks, `cache` keeps measured observables,
`error_context` adds names to error messages.
"""

from lammps_implicit.observables.barrier_derivatives import BarrierDerivatives, differentiate_barrier
from lammps_implicit.observables.barrier_file import StoredBarrier, read_barrier, write_barrier
from lammps_implicit.observables.barrier_plot import plot_path
from lammps_implicit.observables.barriers import barrier, migration_volume
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
from lammps_implicit.observables.dislocations import core_position, differential_displacements, plot_maps
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
from lammps_implicit.observables.trust import TrustRadius, trust_radius

__all__ = [
    "OBSERVABLES",
    "BarrierDerivatives",
    "Cells",
    "Derivatives",
    "Distortion",
    "Observable",
    "ObservableKind",
    "StoredBarrier",
    "Study",
    "StudySettings",
    "TrustRadius",
    "barrier",
    "binding_energy",
    "cohesive_energy",
    "combine",
    "composition",
    "core_position",
    "differential_displacements",
    "differentiate_barrier",
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
    "migration_volume",
    "named_constants",
    "plot_maps",
    "plot_path",
    "read_barrier",
    "read_configuration",
    "read_derivatives",
    "relaxation_energy",
    "relaxation_volume",
    "run_study",
    "trust_radius",
    "volume",
    "write_barrier",
    "write_study",
]
