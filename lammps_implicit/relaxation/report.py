"""Progress of a relaxation, told from its forces."""

from __future__ import annotations

import numpy as np

from lammps_implicit.progress import Progress


class ForceReport:
    """Reports steps done and an estimate of their total number, as if log |F| fell linearly.

    Parameters
    ----------
    progress : callable
        Called with (steps done, steps expected).
    first, ftol : float
        Largest force component at the start and at the end.

    Attributes
    ----------
    steps : int
        Steps done.
    """

    def __init__(self, progress: Progress, first: float, ftol: float) -> None:
        self.progress = progress
        self.first = first
        self.ftol = ftol
        self.steps = 0

    def __call__(self, largest: float) -> None:
        self.steps += 1
        if 0 < largest < self.first:
            fraction = np.log(largest / self.first) / np.log(self.ftol / self.first)
            self.progress(self.steps, max(round(self.steps / fraction), self.steps))
