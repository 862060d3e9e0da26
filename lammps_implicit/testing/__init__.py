"""Conformance checks of engines, potential families, linear solvers, losses and observables, from outside.

Call them in the tests of a package that adds one. Each returns the figures it measured, and raises `ConformanceError`,
an ``AssertionError``, where one is out of tolerance. On several ranks all ranks call them, and raise alike.
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
