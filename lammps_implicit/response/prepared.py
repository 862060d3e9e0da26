"""What the solves at one reference share."""

from __future__ import annotations

from dataclasses import dataclass

from lammps_implicit.arrays import FloatArray
from lammps_implicit.solvers.interface import LinearSystem


@dataclass
class Prepared:
    """What all solves at one reference state share.

    Attributes
    ----------
    system : LinearSystem
    probe, probe_product : (n, 3) float arrays
        A random displacement w, Å, and H w.
    probed : bool
        Whether a solve has shown that no mode is unstable.
    """

    system: LinearSystem
    probe: FloatArray
    probe_product: FloatArray
    probed: bool = False
