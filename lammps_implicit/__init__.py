"""Implicit derivatives of atomic minima with respect to the parameters of their potential."""

import lammps_implicit.standard_streams  # before anything opens a file

# isort: split
import lammps_implicit.interrupts  # noqa: F401 - before anything that takes time to load

# isort: split
from mpi4py import MPI as _MPI  # noqa: F401 - loaded before lammps everywhere: it brings libmpi

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.minimum import Minimum
from lammps_implicit.results.format import __version__
from lammps_implicit.saddles import Barrier

__all__ = ["Barrier", "LammpsImplicitError", "Minimum", "__version__"]
