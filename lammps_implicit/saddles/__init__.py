"""Saddles and the barriers between minima.

`barrier` holds two minima and the saddle between them; `connecting` finds saddles between two minima, from a `band` of
images between them and by climbing (`relaxation.climbing`); `searching` finds those around one minimum, from places
that `starting` chooses, and tells those that are equal by symmetry apart from others by `likeness`; `index` counts
negative modes, `followed` sees cheaply whether a saddle that moved still is one; `files` writes and reads what was
found.
"""

from lammps_implicit.saddles.barrier import Barrier
from lammps_implicit.saddles.files import read_saddles, write_saddles, write_saddles_xyz
from lammps_implicit.saddles.followed import FollowedMode
from lammps_implicit.saddles.index import negative_modes, the_negative_mode
from lammps_implicit.saddles.searching import NearbySaddle, SaddlesAround, barrier_over, saddles_around

__all__ = [
    "Barrier",
    "FollowedMode",
    "NearbySaddle",
    "SaddlesAround",
    "barrier_over",
    "negative_modes",
    "read_saddles",
    "saddles_around",
    "the_negative_mode",
    "write_saddles",
    "write_saddles_xyz",
]
