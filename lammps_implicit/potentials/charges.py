"""Charges of types or groups of atoms as parameters: ``charge type 2``, ``charge group ions``, ``charge type 2 / 1``.

What a charge gains others lose, so that the sum of all charges stays, if the deck is neutral or has a ``kspace_style``:
those named behind the slash, all by the same amount; otherwise all charges of the opposite sign, by the same factor.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mpi4py import MPI

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.charges import NEUTRAL
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.potentials.commands import PotentialCommands
from lammps_implicit.potentials.interface import PotentialFamily
from lammps_implicit.potentials.labels import matches

PREFIX = "charge "
"""Beginning of the labels."""

_LABEL = re.compile(r"charge (type|group) (\S+)(?: / (?:(type|group) )?(\S+))?")

_EQUILIBRATES = ("qeq", "acks2", "qtpie", "electrode")
"""Beginnings of the styles of fixes that choose the charges themselves (LAMMPS documentation)."""


@dataclass(frozen=True)
class Carrier:
    """Atoms of one charge.

    Attributes
    ----------
    words : str
        How ``set`` names them: ``type 2``, ``group ions``.
    count : int
        Number of atoms.
    charge : float
        Charge of each, in units of the elementary charge.
    """

    words: str
    count: int
    charge: float


@dataclass(frozen=True)
class Charges:
    """Charges of types or groups; a `Source`.

    Attributes
    ----------
    names : tuple of str
        Labels, such as ``charge type 2``.
    carriers : tuple of Carrier
        All atoms whose charges change with any of them.
    changes : (C, P) float array
        Change of the charge of each carrier's atoms per change of each parameter.
    values : (P,) float array
        Values in the deck, in units of the elementary charge.
    """

    names: tuple[str, ...]
    carriers: tuple[Carrier, ...]
    changes: FloatArray
    values: FloatArray

    @property
    def linear(self) -> bool:
        """U is of second order in them."""
        return False

    @property
    def elements(self) -> tuple[str | None, ...]:
        """Empty: charges do not name elements."""
        return ()

    def define(self, engine: Engine) -> None:
        """Have LAMMPS keep the resolution of its long-range forces: see `Engine.keep_resolution`."""
        engine.keep_resolution()

    def edit(self, commands: PotentialCommands, values: FloatArray, stem: Path) -> dict[Path, str]:
        """Set the charges after all else: see `Source.edit`; there are no files."""
        changes = self.changes @ (values - self.values)
        commands.final += [
            f"set {carrier.words} charge {carrier.charge + float(change)!r}"
            for carrier, change in zip(self.carriers, changes, strict=True)
        ]
        return {}


def from_engine(engine: Engine, patterns: Sequence[str]) -> Charges | None:
    """Charges as parameters: those of all types, and what the patterns name besides.

    Parameters
    ----------
    engine : Engine
        Its deck has run. Collective.
    patterns : sequence of str
        Those that select parameters.

    Returns
    -------
    Charges or None
        None if there are none, or no pattern asks and they cannot be parameters.

    Raises
    ------
    PotentialError
        If a pattern asks for a charge that cannot be a parameter.
    """
    asked = [pattern for pattern in patterns if pattern.startswith(PREFIX.strip())]
    equilibrating = [fix for fix in engine.deck.fixes.values() if fix.style.startswith(_EQUILIBRATES)]
    if equilibrating:
        if asked:
            raise PotentialError(f"'{equilibrating[0]}' chooses the charges: they are no parameters")
        return None
    found = _Found(engine)
    labels = [f"{PREFIX}{carrier.words}" for carrier in found.types if carrier.charge]
    if patterns:
        labels = [label for label in labels if any(matches([label], pattern) for pattern in patterns)]
    named = [pattern for pattern in asked if _LABEL.fullmatch(pattern) and pattern not in labels]
    directions = {label: found.direction(label, label in patterns) for label in dict.fromkeys(labels + named)}
    used = {label: direction for label, direction in directions.items() if direction}
    if not used:
        if asked and found.mixed:
            raise PotentialError(
                f"'{asked[0]}': {found.differ}: define groups of atoms of one charge in the deck, and name two, "
                f"as in '{PREFIX}group A / group B'"
            )
        return None
    carriers = tuple({carrier: None for direction in used.values() for carrier in direction})
    found.require_apart(carriers)
    changes = np.array([[direction.get(carrier, 0.0) for direction in used.values()] for carrier in carriers])
    return Charges(
        tuple(used), carriers, changes, np.array([next(iter(direction)).charge for direction in used.values()])
    )


class _Found:
    """The charges of a deck, by type."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.charges, of_atoms = engine.charges()
        self.members = {f"type {kind}": of_atoms == kind for kind in range(1, engine.n_types + 1)}
        total, size = (engine.comm.allreduce(float(part.sum())) for part in (self.charges, abs(self.charges)))
        self.neutral = bool(engine.deck.kspace) or abs(total) <= NEUTRAL * size
        ranges = {words: self._range(words) for words in self.members}
        self.types = [
            Carrier(words, count, low) for words, (count, low, high) in ranges.items() if count and low == high
        ]
        self.mixed = [words for words, (count, low, high) in ranges.items() if count and low != high]

    @property
    def differ(self) -> str:
        """Whose charges differ."""
        return f"charges of {', '.join(self.mixed)} differ"

    def _range(self, words: str) -> tuple[int, float, float]:
        """Number of atoms, and their lowest and highest charge, on all ranks."""
        own = self.charges[self.members[words]]
        comm = self.engine.comm
        return (
            int(comm.allreduce(len(own))),
            float(comm.allreduce(own.min(initial=np.inf), MPI.MIN)),
            float(comm.allreduce(own.max(initial=-np.inf), MPI.MAX)),
        )

    def carrier(self, kind: str, name: str) -> Carrier:
        """The atoms of a type or group.

        Raises
        ------
        PotentialError
            If there are none, or their charges differ.
        """
        words = f"{kind} {name}"
        if kind == "group" and words not in self.members:
            self.members[words] = self.engine.in_group(name)
        if words not in self.members:
            raise PotentialError(f"'{PREFIX}{words}': atom types are numbers from 1 to {self.engine.n_types}")
        count, low, high = self._range(words)
        if not count:
            raise PotentialError(f"'{PREFIX}{words}': there are no such atoms")
        if low != high:
            raise PotentialError(
                f"'{PREFIX}{words}': these atoms have charges from {low:g} to {high:g}, so that there is no one charge "
                "to change: define groups of atoms of one charge in the deck, and name these"
            )
        return Carrier(words, count, low)

    def direction(self, label: str, asked: bool) -> dict[Carrier, float]:
        """Change of each carrier's charge per change of a parameter, its own first; empty if it can be none.

        Raises
        ------
        PotentialError
            If it can be none, and was asked for.
        """
        match = _LABEL.fullmatch(label)
        assert match is not None
        kind, name, other_kind, other_name = match.groups()
        one = self.carrier(kind, name)
        if other_name is not None:
            other = self.carrier(other_kind or kind, other_name)
            if other == one:
                raise PotentialError(f"'{label}': name other atoms behind the slash")
            return {one: 1.0, other: -one.count / other.count}
        if not self.neutral:
            return {one: 1.0}
        others = [carrier for carrier in self.types if carrier.charge * one.charge < 0]
        if not others or self.mixed:
            if not asked:
                return {}
            why = self.differ if self.mixed else "no others have the opposite sign"
            raise PotentialError(
                f"'{label}': {why}, so that it is not known what keeps the deck neutral: name it, as in "
                f"'{PREFIX}type 1 / 2' or '{PREFIX}type 1 / group NAME'"
            )
        total = sum(other.count * other.charge for other in others)
        return {one: 1.0} | {other: -one.count * other.charge / total for other in others}

    def require_apart(self, carriers: Sequence[Carrier]) -> None:
        """Check that no atom belongs to two of them.

        Raises
        ------
        PotentialError
            If one does.
        """
        times = np.sum([self.members[carrier.words] for carrier in carriers], axis=0)
        if self.engine.comm.allreduce(int(times.max(initial=0)), MPI.MAX) > 1:
            raise PotentialError(
                f"{', '.join(carrier.words for carrier in carriers)} have atoms in common: choose charges of types, or "
                "of groups that have none"
            )


def _sources(engine: Engine, patterns: Sequence[str]) -> list[Charges]:
    charges = from_engine(engine, patterns)
    return [] if charges is None else [charges]


FAMILY = PotentialFamily(_sources, "charges (charge type 2)", order=105, on_request=True, fallback=False)
"""The family, as it is registered under ``lammps_implicit.potentials``."""
