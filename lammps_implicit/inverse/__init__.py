"""Inverse problems: parameters for which relaxed structures, energies and volumes have given values."""

from lammps_implicit.inverse.config import InversionSettings
from lammps_implicit.inverse.descent import Descent, Iteration, minimise
from lammps_implicit.inverse.history import History, read_history
from lammps_implicit.inverse.loss import LOSSES, LossContext, LossKind
from lammps_implicit.inverse.problem import Held, Problem
from lammps_implicit.inverse.run import Inversion, invert
from lammps_implicit.inverse.terms import Contribution, Number, Positions, Prior, Term, UserTerm, positions

__all__ = [
    "LOSSES",
    "Contribution",
    "Descent",
    "Held",
    "History",
    "Inversion",
    "InversionSettings",
    "Iteration",
    "LossContext",
    "LossKind",
    "Number",
    "Positions",
    "Prior",
    "Problem",
    "Term",
    "UserTerm",
    "invert",
    "minimise",
    "positions",
    "read_history",
]
