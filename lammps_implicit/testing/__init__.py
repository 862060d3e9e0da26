"""Conformance checks for evaluators, potential families, linear solvers, loss terms and observables.

Call them from the tests of a package that adds one of these. Each check returns the errors it measured, and raises
`ConformanceError` (an ``AssertionError``) if one exceeds its tolerance; the message names the usual cause. Under MPI
all ranks must call a check, and all raise the same error.

Checks are in `engines` (evaluators), `families` (potential families), `solvers` and `losses` (loss terms and
observables). `comparison` has the finite differences and comparisons they share, `harmonic` an evaluator without a
potential.
"""

from lammps_implicit.testing.comparison import ConformanceError
from lammps_implicit.testing.engines import check_forces, check_hessian, check_pressure, check_reference
from lammps_implicit.testing.families import (
    check_adjoint,
    check_mixed_derivative,
    check_restored,
    check_taylor,
    check_written,
)
from lammps_implicit.testing.losses import check_loss, check_observable
from lammps_implicit.testing.solvers import check_solver

__all__ = [
    "ConformanceError",
    "check_adjoint",
    "check_forces",
    "check_hessian",
    "check_loss",
    "check_mixed_derivative",
    "check_observable",
    "check_pressure",
    "check_reference",
    "check_restored",
    "check_solver",
    "check_taylor",
    "check_written",
]
