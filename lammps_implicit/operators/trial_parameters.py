"""Trial parameters: other values of Θ, installed in the engine for the time being."""

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
    """Context in which trial parameters can be installed; Θ is installed again on leaving, also after an error.

    Costs one force evaluation per installation, and one to restore Θ.

    Parameters
    ----------
    potential : Installable
        Its ``theta`` is Θ.
    engine : Evaluator
        At its reference.

    Yields
    ------
    callable
        Takes δΘ, (P,), installs Θ + δΘ, and returns the forces at the reference, (n, 3), eV/Å.

    Raises
    ------
    LammpsImplicitError
        If Θ cannot be restored; the engine is then void.
    """
    zero = np.zeros(len(potential.theta))
    with restoring(engine, lambda: potential.install(engine, zero), "the parameters"):
        yield lambda dtheta: potential.install(engine, dtheta)
