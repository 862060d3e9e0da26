"""The softest modes of a linear response's Hessian."""

from __future__ import annotations

from dataclasses import replace

from lammps_implicit.response.linear_response import LinearResponse
from lammps_implicit.solvers.softest import EqualModes, equal_springs, softest_modes

ROUGHLY, FINELY = 0.1, 1e-4
"""Angles to which softest modes are found: to see whether a minimum disappears, and to differentiate their stiffness.
Chosen: a stiffness is then known to a percent (at 0.3 another mode was taken for the softest), its derivative to
1e-4."""

MOST_PRODUCTS = 150
"""Limit on the Hessian products of a search for the softest mode. Chosen: modes that take more are hardly apart."""


def softest_modes_of(response: LinearResponse, tol: float, count: int = 1) -> list[EqualModes]:
    """Softest modes of the Hessian, the same on any number of ranks: see `solvers.softest`.

    Parameters
    ----------
    response : LinearResponse
    tol : float
        Angle to which they are found, if `MOST_PRODUCTS` suffice.
    count : int
        Number of different stiffnesses.
    """
    known = response.prepared()
    # From a random vector: from a mode found before, one of another symmetry would not be seen.
    start = known.system.preconditioned(known.probe)
    system = replace(known.system, saddle=True)
    return softest_modes(system, equal_springs(response.engine), start, tol, MOST_PRODUCTS, count)
