"""Ensembles of parameters: the distribution of every observable, and validation by relaxing samples again."""

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
from lammps_implicit.ensembles.propagation import Distribution, Principal, Propagation, propagate
from lammps_implicit.ensembles.report import html_report
from lammps_implicit.ensembles.shards import Records, merge_shards
from lammps_implicit.ensembles.validation import validate

__all__ = [
    "Agreement",
    "Distribution",
    "Ensemble",
    "Principal",
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
