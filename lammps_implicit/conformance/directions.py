"""Lines through the reference along which evaluators are measured, and the lengths that are small on them."""

from __future__ import annotations

from lammps_implicit.arrays import BoolArray, FloatArray, IntArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.solvers.springs import random_vector

_FIRST_SEED = 1000
"""Seeds of this room start here, so that its lines are none of those that solvers probe."""


def line(engine: Evaluator, number: int) -> FloatArray:
    """Direction of a random line, (n, 3): components within ±1 where atoms move alone; a function of ids and number."""
    return random_vector(engine.ids, _FIRST_SEED + number) * engine.alone


def line_of(ids: IntArray, free: BoolArray, number: int) -> FloatArray:
    """The same `line` for any atoms, such as ghosts: (m, 3) for their ids (m,) and free components (m, 3)."""
    return random_vector(ids, _FIRST_SEED + number) * free


def angstrom(engine: Evaluator) -> float:
    """Return 1 Å in the deck's unit of length; in reduced units 0.3 σ, for σ is a few Å in all that they describe."""
    return 0.3 if engine.deck.units == "lj" else 1.0


def free_count(engine: Evaluator) -> int:
    """Number of free components on all ranks."""
    return engine.n_free
