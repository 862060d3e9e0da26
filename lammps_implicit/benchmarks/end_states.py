"""The two end states of a barrier, and how far every method is to go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lammps_implicit.benchmarks.cells import Cell
from lammps_implicit.minimum import Minimum

LIMIT = 1e-8
"""eV/Å; largest force component at a saddle."""

IMAGES = 5
"""Images between the ends of a band."""

MOST = 3_000
"""Force evaluations after which a method is given up."""


@contextmanager
def end_states(cell: Cell) -> Iterator[tuple[Minimum, Minimum]]:
    """The relaxed end states of a deck, which its variable ``hop`` tells apart: 0 and 1, unless the cell sets it."""
    states = ("0", cell.variables.get("hop", "1"))
    decks = [{**cell.variables, "hop": state} for state in states]
    with (
        Minimum.from_deck(cell.deck, variables=decks[0], parameters=(), ftol=LIMIT) as start,
        Minimum.from_deck(cell.deck, variables=decks[1], parameters=(), ftol=LIMIT) as end,
    ):
        yield start, end
