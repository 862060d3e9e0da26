"""Following a minimum or a saddle to parameters far away, by predictor-corrector steps.

Along Θ(λ) = Θ₀ + λ(Θ₁ - Θ₀), each step predicts positions and cell from their derivatives and then relaxes them. Its
length follows from the error of the step before. The path ends early, at the last good point, where the minimum
disappears (its softest mode loses its stiffness), the saddle merges with a minimum (its negative mode does) or gets a
second negative mode, or the graph of neighbours changes. See E. L. Allgower, K. Georg, Numerical Continuation Methods,
Springer (1990).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from lammps_implicit.arrays import FloatArray
from lammps_implicit.continuation.neighbours import NeighbourGraph
from lammps_implicit.continuation.softness import Softness, Stiffnesses
from lammps_implicit.errors import ConvergenceError, LammpsImplicitError, NotAMinimumError
from lammps_implicit.progress import Progress
from lammps_implicit.stationary.checks import check_positive
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.stationary.relaxable import CellRequest
from lammps_implicit.units import Pressure

FIRST_SHARE = 0.1
"""Length of the first step, as a share of the path. Chosen: a step that is too long is shortened."""

SHORTEST_SHARE = 1e-5
"""Shortest step, as a share of the path: where a shorter one would be needed the path ends. Chosen."""

LONGEST_GROWTH = 3.0
"""Largest ratio of the length of a step to that of the step before. Chosen."""

STEPS = 400
"""Largest number of steps. Chosen as a limit."""

PREDICTOR_TOLERANCE = 1e-3
"""Relative residual of the derivative from which steps are predicted. Chosen: the relaxation corrects its error."""

TOLERATED = 4.0
"""Error of a step, relative to the error aimed at, up to which the step is accepted. As the error is of second order,
that is a step of twice the right length."""


@dataclass(frozen=True)
class Step:
    """A minimum, or saddle, on the path.

    Attributes
    ----------
    share : float
        λ, from 0 to 1.
    energy, volume : float
        eV and Å³ in ``units metal``.
    missed : float
        Largest distance of an atom from its predicted position, Å.
    stiffness : float
        Of the softest mode, eV/Å² in ``units metal``, below zero at a saddle; see `solvers.softest`.
    forces : int
        Force evaluations since the start of the path.
    """

    share: float
    energy: float
    volume: float
    missed: float
    stiffness: float
    forces: int


@dataclass
class ContinuationPath:
    """The path of a minimum to other parameters. The minimum is at the last step.

    Attributes
    ----------
    steps : list of Step
        The start is the first.
    reached : bool
        Whether the last step is at the requested parameters.
    reason : str
        Why the path ended.
    """

    steps: list[Step] = field(default_factory=list)
    reached: bool = False
    reason: str = ""


def follow(
    minimum: StationaryPoint,
    theta: ArrayLike,
    ftol: float,
    cell: CellRequest,
    pressure: Pressure,
    missed: float,
    stop_at_new_neighbours: bool,
    progress: Progress,
) -> ContinuationPath:
    """Follow a minimum, or a saddle, to other parameters.

    Parameters
    ----------
    minimum : StationaryPoint
    theta, ftol, cell, pressure, missed, stop_at_new_neighbours, progress
        As for `Minimum.follow`.

    Returns
    -------
    ContinuationPath

    Raises
    ------
    LammpsImplicitError
        If `theta` has the wrong shape or is not finite, or `ftol` or `missed` is not positive.
    NotAMinimumError
        If the first prediction fails already, or a saddle does not have exactly one negative mode.
    """
    check_positive(ftol, "ftol")
    check_positive(missed, "missed")
    start = minimum.potential.theta
    end = np.asarray(theta, float)
    if end.shape != start.shape or not np.isfinite(end).all():
        raise LammpsImplicitError(
            f"theta has shape {end.shape}: an array of shape {start.shape} with finite numbers is expected"
        )
    with minimum.excursion(np.zeros_like(start)) as whole:  # undone by any error on the way
        path = _followed(minimum, end, ftol, cell, pressure, missed, stop_at_new_neighbours, progress)
        whole.stay = True
    return path


def _followed(
    minimum: StationaryPoint,
    end: FloatArray,
    ftol: float,
    cell: CellRequest,
    pressure: Pressure,
    missed: float,
    stop_at_new_neighbours: bool,
    progress: Progress,
) -> ContinuationPath:
    """Follow the minimum step by step; it is left at the last step."""
    way = end - minimum.potential.theta
    before = minimum.engine.evaluations.forces
    path, share, length = ContinuationPath(), 0.0, FIRST_SHARE
    stiffnesses = Stiffnesses.of(minimum)
    softness = Softness(minimum.saddle, stiffnesses)

    def note(error: float) -> None:
        forces = minimum.engine.evaluations.forces - before
        volume = minimum.engine.volume
        path.steps.append(Step(share, minimum.energy, volume, error, stiffnesses.softest, forces))
        progress(round(1000 * share), 1000)

    note(0.0)
    if not way.any():
        path.reached, path.reason = True, f"the {_what(minimum)} is at these parameters already"
        return path
    graph = NeighbourGraph.of(minimum.engine)
    while len(path.steps) < STEPS:
        failure = ""
        try:
            displacement, strain = minimum.predicted_at(way, PREDICTOR_TOLERANCE, cell, pressure)
        except NotAMinimumError as gone:
            if share == 0:  # the request itself is wrong
                raise
            path.reason = softness.reason(stiffnesses, str(gone), share)
            return path
        while True:
            last = length >= 1.0 - share
            length = min(length, 1.0 - share)
            # The last step ends exactly at the requested parameters.
            change = end - minimum.potential.theta if last else length * way
            with minimum.excursion(change, length * displacement, length * strain) as trip:
                error, failure = _correct(minimum, ftol, cell, pressure, TOLERATED * missed)
                if error <= TOLERATED * missed and stop_at_new_neighbours:
                    failure = graph.difference(minimum.engine)
                if error <= TOLERATED * missed and not failure:
                    reached = Stiffnesses.of(minimum)
                    failure = "a step leads beyond it" if softness.lost(reached) else ""
                trip.stay = error <= TOLERATED * missed and not failure
            if trip.stay:
                break
            # A failure does not tell by how much the step was too long.
            length *= 0.3 if failure else float(np.clip(np.sqrt(missed / error), 0.1, 0.5))
            if length < SHORTEST_SHARE:
                path.reason = _reason(failure, softness, stiffnesses, share)
                return path
        share, stiffnesses = share + length, reached
        note(error)
        if softness.ends(stiffnesses):
            path.reason = softness.reason(stiffnesses, "", share)
            return path
        if last:
            path.reached, path.reason = True, "the requested parameters are reached"
            return path
        length *= float(np.clip(np.sqrt(missed / max(error, 1e-12)), 0.3, LONGEST_GROWTH))
    path.reason = f"{STEPS} steps were not enough: the {_what(minimum)} is at {share:.2%} of the path"
    return path


def _correct(
    minimum: StationaryPoint, ftol: float, cell: CellRequest, pressure: Pressure, within: float
) -> tuple[float, str]:
    """Relax the predicted structure; return the largest distance of an atom from its prediction, Å, and any failure."""
    try:
        return minimum.relax_away(ftol, cell, pressure, within=within), ""
    except (ConvergenceError, NotAMinimumError) as failure:
        return np.inf, str(failure)


def _reason(failure: str, softness: Softness, now: Stiffnesses, share: float) -> str:
    if failure.startswith("neighbours"):
        return f"the topology changes after {share:.2%} of the path: {failure}"
    return softness.reason(now, failure, share)


def _what(point: StationaryPoint) -> str:
    return "saddle" if point.saddle else "minimum"
