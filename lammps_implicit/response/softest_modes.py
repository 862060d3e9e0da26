"""The softest modes of a linear response's Hessian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import NotAMinimumError
from lammps_implicit.response.linear_response import LinearResponse
from lammps_implicit.solvers.interface import LinearSystem
from lammps_implicit.solvers.softest import EqualModes, Mode, equal_springs, negative_modes, softest_modes
from lammps_implicit.solvers.springs import random_vector

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
    system, metric, start = _search(response, 0)
    return softest_modes(system, metric, start, tol, MOST_PRODUCTS, count)


def negative_modes_of(response: LinearResponse, tol: float, count: int) -> list[Mode]:
    """Modes of negative curvature, up to `count` of them if they are equal by symmetry: see `solvers.softest`.

    Parameters
    ----------
    response : LinearResponse
    tol : float
        Angle to which they are found, if `MOST_PRODUCTS` suffice.
    count : int
        Number of different stiffnesses that are looked at.
    """
    searches = [_search(response, seed) for seed in range(count)]
    system, metric, _ = searches[0]
    return negative_modes(system, metric, [start for *_, start in searches], tol, MOST_PRODUCTS, count)


def mode_below_zero(response: LinearResponse, masses: FloatArray) -> Mode:
    """The negative mode of vibrations about a saddle: lowest eigenvalue θ = ω² of H v = θ M v.

    Parameters
    ----------
    response : LinearResponse
    masses : (n,) float array
        The diagonal of M, by atom.

    Raises
    ------
    NotAMinimumError
        If it is not negative.
    """
    system, _, start = _search(response, 0)
    engine = response.engine

    def metric(v: FloatArray) -> FloatArray:
        return engine.constrain(masses[:, None] * v)

    found = softest_modes(system, metric, start, FINELY, MOST_PRODUCTS)[0].modes[0]
    if not found.stiffness < 0:
        raise NotAMinimumError("there is no negative mode: this is no saddle, but a minimum; open it without saddle")
    return found


def _search(response: LinearResponse, seed: int) -> tuple[LinearSystem, Callable[[FloatArray], FloatArray], FloatArray]:
    """The Hessian, which may have negative modes, the metric, and a random vector to start from."""
    known, engine = response.prepared(), response.engine
    # From a random vector: from a mode found before, one of another symmetry would not be seen.
    probe = known.probe if seed == 0 else engine.constrain(random_vector(engine.ids, seed) * engine.alone)
    return replace(known.system, saddle=True), equal_springs(engine), known.system.preconditioned(probe)
