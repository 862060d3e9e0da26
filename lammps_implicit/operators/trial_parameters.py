"""Trial parameters: other values of Θ in the engine for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.evaluators.restoring import restoring
from lammps_implicit.operators.interface import Installable


@contextmanager
def trial_parameters(potential: Installable, engine: Evaluator) -> Iterator[Callable[[FloatArray], FloatArray]]:
    """Give a function that installs Θ + δΘ; Θ is installed again when the context ends, also after an error.

    One force evaluation an installation, and one to restore Θ.

    Parameters
    ----------
    potential : Installable
        Its ``theta`` is Θ.
    engine : Evaluator

    Yields
    ------
    callable
        Takes δΘ, (P,), and returns the forces at the reference with Θ + δΘ, (n, 3).

    Raises
    ------
    LammpsImplicitError
        If Θ cannot be restored: the engine is void from then on.
    """
    zero = np.zeros(len(potential.theta))
    with restoring(engine, lambda: potential.install(engine, zero), "the parameters"):
        yield lambda dtheta: potential.install(engine, dtheta)
