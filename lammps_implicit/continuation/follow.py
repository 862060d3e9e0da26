"""Following a minimum to parameters far away: predictor steps from the derivative, corrector relaxations.

Θ(λ) = Θ₀ + λ(Θ₁ - Θ₀). Each step predicts positions and cell from their derivative, relaxes there, and is as long as
the error of the prediction before allows. It ends early, at the last good minimum, where the minimum disappears (its
softest mode loses its stiffness) or the graph of neighbours changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from lammps_implicit.continuation.neighbours import NeighbourGraph
from lammps_implicit.errors import ConvergenceError, LammpsImplicitError, NotAMinimumError
from lammps_implicit.progress import Progress
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.stationary.relaxable import CellRequest
from lammps_implicit.units import Pressure

FIRST_SHARE = 0.1
"""Of the way: longest first step."""

SHORTEST_SHARE = 1e-5
"""Of the way: a step that would have to be shorter ends the path."""

LONGEST_GROWTH = 3.0
"""Of a step against the one before."""

STEPS = 400

PREDICTOR_TOLERANCE = 1e-3
"""Relative residual of the derivative that steps are predicted from: what it misses, the relaxation finds."""

TOLERATED = 4.0
"""Times the error aimed at with which a step is still taken."""

SOFT = 0.02
"""Stiffness of the softest mode, relative to that at the start, below which the minimum counts as disappearing."""


@dataclass(frozen=True)
class Step:
    """A minimum on the path.

    Attributes
    ----------
    share : float
        λ, from 0 to 1.
    energy, volume : float
    missed : float
        Largest distance of an atom from where it was predicted, Å.
    stiffness : float
        Of the softest mode, relative to the springs: about 0.1 to 1 for a stable minimum.
    forces : int
        Force evaluations since the start.
    """

    share: float
    energy: float
    volume: float
    missed: float
    stiffness: float
    forces: int


@dataclass
class ContinuationPath:
    """What following led to. The minimum stands at the last step.

    Attributes
    ----------
    steps : list of Step
    reached : bool
        Whether the last step is at the parameters asked for.
    reason : str
        Why it ended where it did.
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
    """Walk to other parameters; see `Minimum.follow`."""
    start = minimum.potential.theta
    end = np.asarray(theta, float)
    if end.shape != start.shape or not np.isfinite(end).all():
        raise LammpsImplicitError(f"theta has shape {end.shape}, expected {start.shape} finite numbers")
    way = end - start
    before = minimum.engine.evaluations.forces
    path, share, length = ContinuationPath(), 0.0, FIRST_SHARE
    softness = minimum.softest_mode()
    first = softness.stiffness

    def note(error: float) -> None:
        forces = minimum.engine.evaluations.forces - before
        volume = minimum.engine.volume
        path.steps.append(Step(share, minimum.energy, volume, error, softness.stiffness, forces))
        progress(round(1000 * share), 1000)

    note(0.0)
    if not way.any():
        path.reached, path.reason = True, "these are the parameters it stands at"
        return path
    graph = NeighbourGraph.of(minimum.engine)
    while len(path.steps) < STEPS:
        ids, failure = minimum.ids, ""
        try:
            displacement, strain = minimum.predicted_at(way, PREDICTOR_TOLERANCE, cell, pressure)
        except NotAMinimumError as gone:
            if share == 0:  # nothing has been followed yet: what was asked for is at fault
                raise
            path.reason = _why(str(gone), softness.stiffness / first, share)
            return path
        while True:
            last = length >= 1.0 - share
            length = min(length, 1.0 - share)
            # The last step ends at the parameters asked for to the last digit.
            change = end - minimum.potential.theta if last else length * way
            with minimum.excursion(change, length * displacement, length * strain) as trip:
                error, failure = _correct(minimum, ftol, cell, pressure)
                if error <= TOLERATED * missed and stop_at_new_neighbours:
                    failure = graph.difference(minimum.engine)
                trip.stay = error <= TOLERATED * missed and not failure
            if trip.stay:
                break
            # A failure says nothing of how much too long the step was.
            length *= 0.3 if failure else float(np.clip(np.sqrt(missed / error), 0.1, 0.5))
            if length < SHORTEST_SHARE:
                path.reason = _why(failure, softness.stiffness / first, share)
                return path
        share += length
        softness = minimum.softest_mode(softness.pull if minimum.engine.owns_still(ids) else None)
        note(error)
        if not softness.stiffness > SOFT * first:
            path.reason = _why("", softness.stiffness / first, share)
            return path
        if last:
            path.reached, path.reason = True, "it is at the parameters asked for"
            return path
        length *= float(np.clip(np.sqrt(missed / max(error, 1e-12)), 0.3, LONGEST_GROWTH))
    path.reason = f"{STEPS} steps were not enough: {share:.2%} of the way is done"
    return path


def _correct(minimum: StationaryPoint, ftol: float, cell: CellRequest, pressure: Pressure) -> tuple[float, str]:
    """Relax where the prediction led; return how far atoms moved, Å, and what went wrong."""
    try:
        return minimum.relax_away(ftol, cell, pressure), ""
    except (ConvergenceError, NotAMinimumError) as failure:
        return np.inf, str(failure)


def _why(failure: str, stiffness: float, share: float) -> str:
    if failure.startswith("neighbours"):
        return f"the topology changes after {share:.2%} of the way: {failure}"
    softening = f"its softest mode has {stiffness:.2g} of the stiffness it had at the start"
    more = f" ({failure})" if failure else ""
    return f"the minimum disappears after {share:.2%} of the way: {softening}{more}"
