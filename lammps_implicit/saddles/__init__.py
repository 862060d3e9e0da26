"""Saddles and the barriers between minima.

`barrier` holds two minima and the saddle between them; `connecting` finds saddles between two minima, from a `band` of
images between them and by climbing (`relaxation.climbing`); `index` counts negative modes.
"""

from lammps_implicit.saddles.barrier import Barrier
from lammps_implicit.saddles.index import negative_modes, the_negative_mode

__all__ = ["Barrier", "negative_modes", "the_negative_mode"]
