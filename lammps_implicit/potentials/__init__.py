"""Potentials: how parameters Θ are found in a deck and installed in LAMMPS.

`interface` has the protocols `Potential` and `Source`, and `PotentialFamily`, which other packages may add; `of_deck`
finds the potential of a deck. One file per family: `snap` (with `snap_files`), `mliap`, `uf3`, `pod`, `eam` (with
`setfl`), `coefficients` (`pair_coefficients` and `bonded`, named by `style_arguments`), `charges`, `dielectric` and
`variables`; `found` lists what a deck has. Shared by families: `commands` (commands to issue again),
`installed` (parameters installed one at a time), `coefficient_files` and `number_files` (coefficients in text files),
`labels` (patterns of labels), `output` (parameter files). `plain` has parameters of evaluators other than LAMMPS.
"""

from lammps_implicit.potentials.commands import PotentialCommands
from lammps_implicit.potentials.found import FoundFamily, FoundParameters, found_parameters
from lammps_implicit.potentials.installed import InstalledPotential
from lammps_implicit.potentials.interface import (
    Parameters,
    Potential,
    PotentialFamily,
    SelectablePotential,
    Source,
)
from lammps_implicit.potentials.labels import matches, select
from lammps_implicit.potentials.of_deck import FAMILIES, from_engine, start_lammps
from lammps_implicit.potentials.plain import PlainPotential
from lammps_implicit.potentials.snap_files import (
    CoefficientFile,
    ParameterFile,
    read_coefficients,
    read_parameters,
)

__all__ = [
    "FAMILIES",
    "CoefficientFile",
    "FoundFamily",
    "FoundParameters",
    "InstalledPotential",
    "ParameterFile",
    "Parameters",
    "PlainPotential",
    "Potential",
    "PotentialCommands",
    "PotentialFamily",
    "SelectablePotential",
    "Source",
    "found_parameters",
    "from_engine",
    "matches",
    "read_coefficients",
    "read_parameters",
    "select",
    "start_lammps",
]
