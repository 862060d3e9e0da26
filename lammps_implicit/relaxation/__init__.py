"""Relaxation to stationary points.

`lbfgs` relaxes positions to a minimum, preconditioned with the learned springs; `newton` relaxes them to a nearby
stationary point of any kind; `cell` relaxes cell and positions together to a target pressure.

The function `newton` is imported from the file of the same name.
"""

from lammps_implicit.relaxation.cell import CellSystemAt, relax_cell
from lammps_implicit.relaxation.lbfgs import InverseHessian, relax

__all__ = ["CellSystemAt", "InverseHessian", "relax", "relax_cell"]
