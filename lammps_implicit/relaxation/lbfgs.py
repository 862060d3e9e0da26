"""Relaxation with the learned springs: to a minimum by preconditioned L-BFGS, to a saddle by Newton's method.

L-BFGS starts from K⁻¹ in place of a multiple of the identity (J. Nocedal, Math. Comput. 35, 773 (1980); preconditioned
as in D. Packwood et al., J. Chem. Phys. 144, 164109 (2016)), so that its first step is right to the accuracy of the
springs, and the number of steps does not grow with the cell. Steps are judged by forces alone: near a minimum energies
drown in round-off long before forces do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import ConvergenceError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.progress import Progress

PAIRS = 20
"""Steps that L-BFGS remembers."""

DESCENT = 1e-4
"""Share of the first slope's descent that a step must keep, by the trapezoidal rule along it."""

HALVINGS = 8
"""Times that a step is shortened before its direction is given up."""

LONGEST_STEP = 0.2
"""Å; longest step of any atom in one direction."""

STEPS = 50
"""Steps after which springs are fitted anew."""

ROUNDS = 80
"""Fits of the springs, and builds of the neighbour lists, before giving up."""

SMALLEST_UNIT = 0.01
"""Å; least distance between two builds of the neighbour lists, where the deck's skin is next to nothing."""


class InverseHessian:
    """What past steps and their changes of force tell of H⁻¹, on top of K⁻¹.

    Parameters
    ----------
    engine : Evaluator
        For inner products.
    precondition : callable
        v to K⁻¹v, (n, 3) arrays.
    """

    def __init__(self, engine: Evaluator, precondition: Callable[[FloatArray], FloatArray]) -> None:
        self.engine = engine
        self.precondition = precondition
        self._pairs: deque[tuple[FloatArray, FloatArray, float]] = deque(maxlen=PAIRS)

    def __len__(self) -> int:
        return len(self._pairs)

    def forget(self) -> None:
        """Drop all steps."""
        self._pairs.clear()

    def learn(self, step: FloatArray, change: FloatArray) -> None:
        """Take in a step and the change of -F along it, unless the energy curves downwards there."""
        curvature = self.engine.dot(step, change)
        if curvature > 1e-12 * self.engine.norm(step) * self.engine.norm(change):
            self._pairs.append((step, change, curvature))

    def times(self, forces: FloatArray) -> FloatArray:
        """H⁻¹F by the two-loop recursion, (n, 3)."""
        q, weights = forces, []
        for step, change, curvature in reversed(self._pairs):
            weights.append(self.engine.dot(step, q) / curvature)
            q = q - weights[-1] * change
        q = self.precondition(q)
        for (step, change, curvature), weight in zip(self._pairs, reversed(weights), strict=True):
            q = q + (weight - self.engine.dot(change, q) / curvature) * step
        return q


def relax(
    engine: Evaluator,
    forces: FloatArray,
    fit: Callable[[FloatArray], Callable[[FloatArray], FloatArray]],
    ftol: float,
    far: float,
    within: float = np.inf,
    progress: Progress = lambda done, total: None,
) -> FloatArray:
    """Move the reference to a minimum; return the forces there.

    LAMMPS' own minimiser brings the largest force below `far` first, and helps where L-BFGS finds no way down. Atoms
    may change owner or order.

    Parameters
    ----------
    engine : Evaluator
    forces : (n, 3) float array
        At the reference.
    fit : callable
        Forces at the reference to v → K⁻¹v with springs fitted there.
    ftol, far : float
        eV/Å.
    within : float
        Å; how far any atom may move.
    progress : callable
        Told the steps done, and in all as expected from how fast forces have fallen.

    Raises
    ------
    ConvergenceError
        If the minimum lies beyond `within`, or is not reached; a state no higher in energy than the first is kept.
    """
    start, energy = engine.reference(), engine.energy
    report = _Report(progress, engine.max_abs(forces), ftol)
    # Neighbour lists hold while no atom has moved half the skin: drift, descent and a last step add up to less.
    unit = max(engine.skin / 14, SMALLEST_UNIT)
    inverse: InverseHessian | None = None
    moved, helped = 0.0, False
    for _ in range(ROUNDS):
        largest = engine.max_abs(forces)
        if moved + engine.drift > within:
            engine.set_reference(start)
            raise ConvergenceError(
                f"the minimum is more than {within:g} Å from where the deck ends (largest force {report.first:.2g}): "
                "minimise further before differentiating"
            )
        if largest <= ftol and engine.drift <= 4 * unit:
            return forces
        if not (largest <= far or helped):
            forces, helped, inverse = engine.minimize(far, 1_000, 10_000), True, None
            continue
        if engine.drift > unit:
            owned, moved = engine.ids, moved + engine.drift
            forces = engine.settle()
            if not engine.owns_still(owned):
                inverse = None
            continue
        if inverse is None:
            inverse = InverseHessian(engine, fit(forces))
        else:  # bonds have changed; what past steps told still holds
            inverse.precondition = fit(forces)
        before = engine.positions
        forces = _descend(engine, forces, inverse, ftol, min(unit, LONGEST_STEP), 2 * unit, report)
        if engine.max_abs(engine.positions - before) == 0:  # no way down, as far as forces tell
            if helped or largest <= far * 1e-3:
                break
            forces, helped, inverse = engine.minimize(max(ftol, 1e-3 * far), 1_000, 10_000), True, None
    if engine.energy > energy:
        engine.set_reference(start)
    raise ConvergenceError(
        f"forces stopped falling at {engine.max_abs(forces):.2g} (asked for {ftol:.2g}): the energy may not be smooth "
        "here, or have no minimum near"
    )


class _Report:
    """Tells of progress: steps done, and in all as expected from how fast forces have fallen."""

    def __init__(self, progress: Progress, first: float, ftol: float) -> None:
        self.progress = progress
        self.first = first
        self.ftol = ftol
        self.steps = 0

    def __call__(self, largest: float) -> None:
        self.steps += 1
        if 0 < largest < self.first:
            share = np.log(largest / self.first) / np.log(self.ftol / self.first)
            self.progress(self.steps, max(round(self.steps / share), self.steps))


def _descend(
    engine: Evaluator,
    forces: FloatArray,
    inverse: InverseHessian,
    ftol: float,
    longest: float,
    reach: float,
    report: Callable[[float], None],
) -> FloatArray:
    """Move the reference downhill by L-BFGS; return the forces where it stops.

    It stops when no force component exceeds `ftol`, some atom has moved `reach` from its start, `STEPS` are done, or no
    step along the last direction lowers the energy.
    """
    start = engine.positions
    for _ in range(STEPS):
        if engine.max_abs(forces) <= ftol or engine.max_abs(engine.positions - start) > reach:
            break
        moved = _step_along(engine, forces, inverse.times(forces), longest)
        if moved is None and len(inverse):
            inverse.forget()
            moved = _step_along(engine, forces, inverse.times(forces), longest)
        if moved is None:
            break
        step, new_forces = moved
        inverse.learn(step, forces - new_forces)
        forces = new_forces
        report(engine.max_abs(forces))
    return forces


def _step_along(
    engine: Evaluator, forces: FloatArray, direction: FloatArray, longest: float
) -> tuple[FloatArray, FloatArray] | None:
    """Take an acceptable step along a direction: return it and the forces there, or None and leave the reference.

    Between the slopes -F·s at both ends of a step s the energy falls by about their mean; the step is shortened until
    that is a descent (the approximate first Wolfe condition of W. W. Hager, H. Zhang, SIAM J. Optim. 16, 170 (2005)).
    """
    length = engine.max_abs(direction)
    step = direction * min(1.0, longest / length) if length > 0 else direction
    slope = engine.dot(forces, step)
    if not slope > 0:
        return None
    reference = engine.reference()
    for _ in range(HALVINGS):
        engine.shift(step)
        moved = engine.forces()
        slope_there = engine.dot(moved, step)
        if slope_there > -(1 - 2 * DESCENT) * slope:  # false for forces that are not numbers
            return step, moved
        engine.set_reference(reference)
        # Where the slope, taken to be linear, would vanish.
        share = slope / (slope - slope_there) if np.isfinite(slope_there) else 0.1
        step = step * float(np.clip(share, 0.1, 0.5))
        slope = engine.dot(forces, step)
    return None
