"""The strain of the cell as a degree of freedom beside the positions.

`freedom` describes which strains a cell may take and its target pressure, and holds derivatives with respect to them;
`system` solves the coupled linear system of positions and cell; `voigt` converts components of strains and stresses to
matrices and back.
"""

from lammps_implicit.cell.freedom import (
    CellResponse,
    Coupling,
    StrainFreedom,
    driving_force,
    left_out,
    require_strainable,
    require_tiltable,
    second_derivative,
    strain_freedom,
    strains,
)
from lammps_implicit.cell.system import AT_TARGET, CellSystem
from lammps_implicit.cell.voigt import COMPONENTS, PLACES, components, tensor

__all__ = [
    "AT_TARGET",
    "COMPONENTS",
    "PLACES",
    "CellResponse",
    "CellSystem",
    "Coupling",
    "StrainFreedom",
    "components",
    "driving_force",
    "left_out",
    "require_strainable",
    "require_tiltable",
    "second_derivative",
    "strain_freedom",
    "strains",
    "tensor",
]
