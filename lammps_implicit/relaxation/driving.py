"""Drive a structure out of a convex basin: atoms are pushed away from where they were until the way up flattens.

Where the energy is convex, its lowest mode says nothing of where a saddle lies. So some atoms are taken farther and
farther from the minimum, and everything else relaxes: all other atoms, and the direction in which those are pushed (the
energy is minimised on spheres around the minimum, as in the scaled hypersphere search of K. Ohno, S. Maeda, Chem. Phys.
Lett. 384, 277 (2004), here with the learned springs in place of the Hessian). The force that holds the structure on the
sphere grows until its energy has an inflection; beyond, the Hessian has a negative mode that leads on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.relaxation.frame import Apply, Frame, Visited

_STEP, _LONGEST = 0.06, 0.12
"""How much farther the component that moves most is taken in each step, and largest displacement component in the
relaxation of all else, in units of the distance of neighbours. Chosen: a twentieth and a tenth of a bond."""


def driven(
    frame: Frame,
    precondition: Apply,
    start: Visited,
    direction: FloatArray,
    within: float,
    signs: Sequence[float] = (1.0,),
) -> Visited | None:
    """Push atoms away from a minimum until the force that holds them falls; None if it does not within a distance.

    Costs one force evaluation a step, and one for each sign that is compared at first.

    Parameters
    ----------
    frame : Frame
    precondition : callable
        v → K⁻¹v with springs fitted at the start.
    start : Visited
        The minimum.
    direction : (n, 3) float array
        In which to push at first, of any length; atoms at which it vanishes are not pushed.
    within : float
        Largest displacement component, Å.
    signs : sequence of float
        Factors of the direction, of which that with the lowest energy after the first step is taken.
    """
    engine = frame.engine
    pushed = np.any(direction != 0, axis=1)[:, None]
    step, longest = _STEP * engine.spacing, _LONGEST * engine.spacing

    def outward(at: Visited, direction: FloatArray) -> Visited:
        direction = direction / engine.norm(direction)
        pulled, answer = precondition(direction), precondition(at.forces)
        relaxing = answer - engine.dot(direction, answer) / engine.dot(direction, pulled) * pulled
        relaxing *= min(1.0, longest / max(engine.max_abs(relaxing), longest))
        return frame.visit(at.positions + relaxing + pulled * (step / engine.max_abs(pulled)))

    at = min((outward(start, sign * direction) for sign in signs), key=lambda first: first.energy)
    held = 0.0
    while engine.max_abs(moved := at.positions - start.positions) < within:
        away = moved * pushed
        before, held = held, -engine.dot(at.forces, away) / engine.norm(away)
        if held < before:
            return at
        at = outward(at, away)
    return None
