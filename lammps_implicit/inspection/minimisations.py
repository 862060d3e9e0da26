"""How the minimisations of a deck ended, from what LAMMPS printed."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Minimisation:
    """One ``minimize`` of a deck.

    Attributes
    ----------
    criterion : str
        LAMMPS' reason for its end.
    force : float
        Largest force component at its end, in the deck's units; NaN if LAMMPS did not print it.
    iterations, evaluations : int
    """

    criterion: str
    force: float
    iterations: int
    evaluations: int

    @property
    def gave_up(self) -> str:
        """Why it may have ended before a minimum, and what to write; empty if it met a tolerance."""
        if "iterations" in self.criterion or "evaluations" in self.criterion:
            return "its limits were met first: raise the last two numbers of 'minimize'"
        if "linesearch" in self.criterion or "quadratic factors" in self.criterion:
            return "round-off of the energy ended its line search: 'min_style fire', or 'min_modify line forcezero'"
        return ""


_STATS = re.compile(
    r"^Minimization stats:\n\s*Stopping criterion = ([^\n]*)\n(.*?)^\s*Iterations, force evaluations = (\d+) (\d+)",
    re.MULTILINE | re.DOTALL,
)

_LARGEST = re.compile(r"Force max component initial, final = \S+ (\S+)")


def minimisations(transcript: str) -> list[Minimisation]:
    """Minimisations in LAMMPS' screen output, in order.

    Parameters
    ----------
    transcript : str

    Returns
    -------
    list of Minimisation
    """
    found = []
    for criterion, text, iterations, evaluations in _STATS.findall(transcript):
        largest = _LARGEST.search(text)
        force = float(largest[1]) if largest else float("nan")
        found.append(Minimisation(criterion.strip(), force, int(iterations), int(evaluations)))
    return found
