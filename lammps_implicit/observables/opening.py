"""Cells of a configuration: those of decks, then the saddles between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from mpi4py import MPI

from lammps_implicit.observables.decks import DeckSettings, StructureSettings
from lammps_implicit.observables.error_context import errors_about
from lammps_implicit.saddles.barrier import Barrier
from lammps_implicit.saddles.followed import FollowedMode
from lammps_implicit.stationary.point import StationaryPoint

Say = Callable[[str], None]
"""Prints or logs a one-line message."""

Point = TypeVar("Point", bound=StationaryPoint)
"""The class of a cell."""

Source = DeckSettings | StructureSettings
"""Settings of one cell."""


@dataclass(frozen=True)
class OpenedCells(Generic[Point]):
    """Relaxed cells.

    Attributes
    ----------
    cells : dict of str to StationaryPoint
        By name, in the order of the settings.
    modes : dict of str to FollowedMode
        The negative mode of each saddle among them, by name.
    """

    cells: dict[str, Point] = field(default_factory=dict)
    modes: dict[str, FollowedMode] = field(default_factory=dict)


def from_settings(
    kind: type[Point], source: Source, comm: MPI.Comm | None, parameters: str | None, **options: Any
) -> Point:
    """Run the deck of a cell, and relax what it ends with; further options are those of `StationaryPoint.from_deck`."""
    assert source.deck is not None
    return kind.from_deck(
        source.deck,
        comm,
        parameters,
        variables=source.index_variables(),
        force_limit=source.force_limit,
        saddle=isinstance(source, StructureSettings) and source.saddle,
        accept_accuracy=source.accept_accuracy,
        relax=source.relax,
        **options,
    )


def open_structures(
    stack: ExitStack,
    sources: Mapping[str, Source],
    from_deck: Callable[[str], Point],
    say: Say,
    ftol: float = 1e-8,
    known: Mapping[str, StationaryPoint] | None = None,
) -> OpenedCells[Point]:
    """Open cells: first all that have a deck, then the saddles between these.

    Parameters
    ----------
    stack : ExitStack
        Closes the cells at its end.
    sources : mapping of str to settings
        By name.
    from_deck : callable
        Called with the name of each cell that has a deck; returns the relaxed cell.
    say : callable
        Called with a line for each step.
    ftol : float
        Largest force component at saddles between cells, eV/Å.
    known : mapping of str to StationaryPoint, optional
        Further cells, which are open already, and between which saddles may lie.

    Raises
    ------
    NotAMinimumError
        If a deck that should end at a saddle does not: it has no negative mode, or more than one.
    LammpsImplicitError
        If a deck fails or no saddle is found. The message begins with the name of the cell.
    """
    found: dict[str, Point] = {}
    modes: dict[str, FollowedMode] = {}
    for name, source in sources.items():
        if source.deck is None:
            continue
        say(f"relaxing {name}")
        with errors_about(name):
            found[name] = from_deck(name)
            stack.enter_context(found[name])
            if found[name].saddle:
                modes[name] = FollowedMode(found[name])
    minima: dict[str, StationaryPoint] = {**(known or {}), **found}
    for name, source in sources.items():
        ends = source.barrier if isinstance(source, StructureSettings) else None
        if ends is None:
            continue
        say(f"searching for the saddle {name}, from {ends.initial} to {ends.final}")
        with errors_about(name):
            barrier = stack.enter_context(Barrier.between(minima[ends.initial], minima[ends.final], ftol=ftol))
        if len(barrier.saddle_energies) > 1:
            say(f"{name}: {len(barrier.saddle_energies)} saddles lie on the way; this is the highest")
        found[name] = cast(Point, barrier.saddle)  # of the same class as the minima
        modes[name] = FollowedMode(barrier.saddle, barrier.mode)
    return OpenedCells(
        {name: found[name] for name in sources}, {name: modes[name] for name in sources if name in modes}
    )
