"""Central differences with three steps, each half the one before, extrapolated to a step of zero."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def extrapolated(differences: Sequence[float]) -> tuple[float, float]:
    """Return the derivative by Richardson extrapolation, and its uncertainty: what the second extrapolation changed.

    Parameters
    ----------
    differences : sequence of three floats
        Longest step first.
    """
    once = [(4 * fine - coarse) / 3 for coarse, fine in pairwise(differences)]
    return (16 * once[1] - once[0]) / 15, abs(once[1] - once[0])
