"""Relaxation to a minimum by L-BFGS, preconditioned with the learned springs.

L-BFGS starts from K⁻¹ instead of a multiple of the identity (J. Nocedal, Math. Comput. 35, 773 (1980); preconditioned
as in D. Packwood et al., J. Chem. Phys. 144, 164109 (2016)), so that the first step is as accurate as the springs and
the number of steps does not grow with the size of the cell. Steps are accepted by forces alone, because near a minimum
round-off dominates energy differences long before it dominates forces.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import ConvergenceError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.evaluators.kspace import why_forces_jump
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.relaxation.report import ForceReport
from lammps_implicit.units import units_of

_PAIRS = 20
"""Steps that L-BFGS remembers: the upper end of the usual 3 to 20 (J. Nocedal, S. J. Wright, Numerical Optimization,
2nd ed., section 7.2), as inner products cost nothing beside forces. Measured: Ta vacancy cells of 431, 1,023 and 3,455
atoms relax from lattice sites to 1e-8 eV/Å in 14, 16 and 17 force evaluations."""

_DESCENT = 1e-4
"""Fraction of the linearly predicted decrease that a step must achieve, by the trapezoidal rule along it (the usual c₁
of the Wolfe conditions: Nocedal and Wright, section 3.1)."""

_SHORTENINGS = 8
"""Times that a step is shortened, by a factor of 2 to 10 each, before its direction is given up."""

_LONGEST_STEP = 0.2
"""Å; largest displacement component of one step. Chosen: less than a tenth of a bond."""

_STEPS = 15
"""Steps after which the springs are fitted again if they no longer hold. Measured for 26 dimers, 32 flexible methanes
and 27 waters, displaced by 0.03 Å: 97, 51 and 50 evaluations; 185, 77 and 113 with 50 steps. Solids need fewer."""

_ROUNDS = 270
"""Fits of the springs and builds of the neighbour lists before giving up; a safeguard."""

_SHORTEST_UNIT = 0.01
"""Å; least displacement between two builds of the neighbour lists, for decks with almost no skin."""


_LARGE = 1e-2
"""eV/Å; forces beyond which a structure is far from relaxed, so that no derivatives are worth taking there."""


class InverseHessian:
    """L-BFGS approximation to H⁻¹: K⁻¹ updated by past steps and the changes of force along them.

    Parameters
    ----------
    engine : Evaluator
        Provides inner products.
    precondition : callable
        Maps v to K⁻¹v, (n, 3) arrays.
    """

    def __init__(self, engine: Evaluator, precondition: Callable[[FloatArray], FloatArray]) -> None:
        self.engine = engine
        self.precondition = precondition
        self._pairs: deque[tuple[FloatArray, FloatArray, float]] = deque(maxlen=_PAIRS)

    def __len__(self) -> int:
        return len(self._pairs)

    def forget(self) -> None:
        """Discard all past steps."""
        self._pairs.clear()

    def learn(self, step: FloatArray, change: FloatArray) -> None:
        """Add a step (n, 3) and the change of -F along it, unless the curvature along the step is negative."""
        curvature = self.engine.dot(step, change)
        if curvature > 1e-12 * self.engine.norm(step) * self.engine.norm(change):
            self._pairs.append((step, change, curvature))

    def times(self, forces: FloatArray) -> FloatArray:
        """Return H⁻¹F, (n, 3), by the two-loop recursion."""
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
    progress: Progress = no_progress,
) -> FloatArray:
    """Move the reference to a minimum, and return the forces there.

    The evaluator's own minimiser first brings the largest force component below `far`, and takes over once if L-BFGS
    makes no progress. Atoms may change owner or order.

    Parameters
    ----------
    engine : Evaluator
    forces : (n, 3) float array
        Forces at the reference, eV/Å.
    fit : callable
        Maps the forces at the reference to a function v → K⁻¹v, with springs fitted there.
    ftol : float
        Largest force component at which to stop, eV/Å.
    far : float
        Largest force component at which L-BFGS starts, eV/Å.
    within : float
        Largest displacement of any atom, Å.
    progress : callable
        Called with (steps done, total number of steps estimated from the decrease of the forces).

    Returns
    -------
    (n, 3) float array
        eV/Å.

    Raises
    ------
    ConvergenceError
        If the minimum is farther away than `within`, or is not reached. The reference is then the initial one, or one
        of lower energy.
    """
    start, energy = engine.reference(), engine.energy
    report = ForceReport(progress, engine.max_abs(forces), ftol)
    # Neighbour lists are valid until an atom has moved half the skin. Drift (1 unit), descent (2) and its last step (1)
    # are components: times √3 they stay below 7 units.
    unit = max(engine.skin / 14, _SHORTEST_UNIT)
    inverse: InverseHessian | None = None
    moved, helped = -engine.drift, False  # lists may have been built at a visit elsewhere
    for _ in range(_ROUNDS):
        largest = engine.max_abs(forces)
        if moved + engine.drift > within:
            engine.set_reference(start)
            raise ConvergenceError(
                f"the minimum is more than {within:g} Å from where the deck ends (largest force component "
                f"{report.first:.2g} there): relax it however far with --relax (relax=True), or minimise further in "
                "the deck"
            )
        if largest <= ftol and engine.drift <= 4 * unit:
            return forces
        if not (largest <= far or helped):
            forces, helped, inverse = engine.minimize(far, 1_000, 10_000), True, None
            continue
        if engine.drift > unit:
            owned, moved = engine.ids, moved + engine.drift
            forces = engine.settle()
            if not engine.order_unchanged(owned):
                inverse = None
            continue
        if inverse is None:
            inverse = InverseHessian(engine, fit(forces))
        else:  # bonds have changed, but past steps remain valid
            inverse.precondition = fit(forces)
        before = engine.positions
        forces = _descend(engine, forces, inverse, ftol, min(unit, _LONGEST_STEP), 2 * unit, report)
        if engine.max_abs(engine.positions - before) == 0:  # forces show no way down
            if helped or largest <= far * 1e-3:
                break
            forces, helped, inverse = engine.minimize(max(ftol, 1e-3 * far), 1_000, 10_000), True, None
    if engine.max_abs(forces) <= ftol:  # the last round reached it
        return engine.settle() if engine.drift > 4 * unit else forces
    if engine.energy > energy:
        engine.set_reference(start)
    reached = engine.max_abs(forces)
    possible = 2 * reached / units_of(engine.deck.units).force_factor
    ask = f"a larger ftol (--ftol {possible:.0e})" if possible < _LARGE else "a larger ftol"
    raise ConvergenceError(
        f"forces stopped falling at {reached:.3g} (asked for {ftol:.3g}): the energy may not be smooth here, or have "
        f"no minimum nearby; {why_forces_jump(engine.deck)}ask for {ask}, or start from other positions"
    )


def _descend(
    engine: Evaluator,
    forces: FloatArray,
    inverse: InverseHessian,
    ftol: float,
    longest: float,
    reach: float,
    report: Callable[[float], None],
) -> FloatArray:
    """Move the reference downhill by L-BFGS, and return the forces at its end.

    Stops when no force component exceeds `ftol`, some displacement component exceeds `reach`, after `_STEPS` steps, or
    when no step along the last direction lowers the energy.
    """
    start = engine.positions
    for _ in range(_STEPS):
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
    """Take an acceptable step along a direction; return it and the new forces, or None with the reference unchanged.

    The energy changes along a step s by about the mean of the slopes -F·s at its ends; the step is shortened until this
    is a sufficient decrease (approximate first Wolfe condition of W. W. Hager, H. Zhang, SIAM J. Optim. 16, 170
    (2005)).
    """
    length = engine.max_abs(direction)
    step = direction * min(1.0, longest / length) if length > 0 else direction
    slope = engine.dot(forces, step)
    if not slope > 0:
        return None
    reference = engine.reference()
    for _ in range(_SHORTENINGS):
        engine.shift(step)
        moved = engine.forces()
        slope_there = engine.dot(moved, step)
        if slope_there > -(1 - 2 * _DESCENT) * slope:  # false if forces are NaN
            return step, moved
        engine.set_reference(reference)
        # Shorten to where a linear slope would vanish.
        fraction = slope / (slope - slope_there) if np.isfinite(slope_there) else 0.1
        step = step * float(np.clip(fraction, 0.1, 0.5))
        slope = engine.dot(forces, step)
    return None
