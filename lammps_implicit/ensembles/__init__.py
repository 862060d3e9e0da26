"""Uncertainty: propagation of ensembles of parameters to observables, and validation by relaxing samples again.

`ensemble` has samples of the parameters and where they come from; `propagation` the distribution of every observable
over them, from derivatives alone; `displacements` covariances of atomic displacements; `files` the files of propagated
ensembles. `validation` relaxes a random selection of samples again, `shards` holds its files, one for each part of the
work, and `agreement` compares predictions with the relaxed samples. `plots` has figures and `report` an HTML page of
all results.
"""

from lammps_implicit.ensembles.agreement import Agreement, agreement
from lammps_implicit.ensembles.displacements import displacement_covariance, displacement_covariances
from lammps_implicit.ensembles.ensemble import (
    Ensemble,
    as_ensemble,
    from_covariance,
    from_regression,
    from_samples,
    read_ensemble,
)
from lammps_implicit.ensembles.files import Propagated, read_propagation, write_propagation
from lammps_implicit.ensembles.propagation import Distribution, PrincipalDirections, Propagation, propagate
from lammps_implicit.ensembles.report import html_report
from lammps_implicit.ensembles.shards import Records, merge_shards
from lammps_implicit.ensembles.validation import validate

__all__ = [
    "Agreement",
    "Distribution",
    "Ensemble",
    "PrincipalDirections",
    "Propagated",
    "Propagation",
    "Records",
    "agreement",
    "as_ensemble",
    "displacement_covariance",
    "displacement_covariances",
    "from_covariance",
    "from_regression",
    "from_samples",
    "html_report",
    "merge_shards",
    "propagate",
    "read_ensemble",
    "read_propagation",
    "validate",
    "write_propagation",
]
