"""Continuation: following a minimum to parameters far away.

`follow` takes predictor-corrector steps; `neighbours` has the graph of nearest neighbours, which tells when a structure
has become another one.
"""

from lammps_implicit.continuation.follow import ContinuationPath, Step, follow
from lammps_implicit.continuation.neighbours import NeighbourGraph

__all__ = ["ContinuationPath", "NeighbourGraph", "Step", "follow"]
