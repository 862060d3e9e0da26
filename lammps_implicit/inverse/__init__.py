"""Inverse problems: parameters for which relaxed structures, energies and volumes take given values.

`terms` has the terms of a loss with their gradients, and `problem` the loss over several minima that share their
parameters. `descent` minimises it with steps on a quadratic model (`quadratic`) along the changes that constraints
allow (`constraints`); `saved_structure` holds structures to return to. For the command ``invert``, `loss` defines what
a kind of loss term in a configuration must provide, `kinds` has the kinds of this package, `config` all settings, and
`run` the inversion itself; `history` records every iteration, and `plots` draws the record.
"""

from lammps_implicit.inverse.config import InversionSettings
from lammps_implicit.inverse.descent import Descent, Iteration, minimise
from lammps_implicit.inverse.history import History, read_history
from lammps_implicit.inverse.loss import LOSSES, LossContext, LossKind
from lammps_implicit.inverse.problem import Held, Problem, StepRejectedError, StepTooLongError
from lammps_implicit.inverse.run import Inversion, invert
from lammps_implicit.inverse.saved_structure import SavedStructure
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
    "SavedStructure",
    "StepRejectedError",
    "StepTooLongError",
    "Term",
    "UserTerm",
    "invert",
    "minimise",
    "positions",
    "read_history",
]
