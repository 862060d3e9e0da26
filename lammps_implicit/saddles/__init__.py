"""Saddles and the barriers between minima.

`barrier` holds two minima and the saddle between them; `connecting` finds saddles between two minima, from a `band` of
images between them and by climbing (`relaxation.climbing`); `index` counts negative modes, `followed` sees cheaply
whether a saddle that moved still is one.
"""

from lammps_implicit.saddles.barrier import Barrier
from lammps_implicit.saddles.followed import FollowedMode
from lammps_implicit.saddles.index import negative_modes, the_negative_mode

__all__ = ["Barrier", "FollowedMode", "negative_modes", "the_negative_mode"]
