"""Variables of a deck as parameters, if it uses them in ``pair_style`` or ``pair_coeff``: ``var:eps``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.potentials.commands import PotentialCommands, unsubstituted_lines
from lammps_implicit.potentials.interface import PotentialFamily

PREFIX = "var:"
"""Beginning of the labels."""


@dataclass(frozen=True)
class Variables:
    """Variables of a deck; a `Source`.

    Attributes
    ----------
    names : tuple of str
        Labels, such as ``var:eps``.
    values : (P,) float array
        Values in the deck.
    lines : tuple of tuple of str
        Arguments of ``pair_style`` and of each ``pair_coeff`` before the substitution of variables, files with their
        paths.
    """

    names: tuple[str, ...]
    values: FloatArray
    lines: tuple[tuple[str, ...], ...]

    @property
    def linear(self) -> bool:
        """U is not linear in all of them, as far as is known."""
        return False

    @property
    def elements(self) -> tuple[str | None, ...]:
        """Empty: variables do not name elements."""
        return ()

    def edit(self, commands: PotentialCommands, values: FloatArray, stem: Path) -> dict[Path, str]:
        """Set the variables, then issue all pair commands again: see `Source.edit`; there are no files."""
        named = [name.removeprefix(PREFIX) for name in self.names]
        commands.settings += [
            line
            for name, value in zip(named, values, strict=True)
            for line in (f"variable {name} delete", f"variable {name} index {float(value)!r}")
        ]
        commands.style, *commands.coeffs = [list(line) for line in self.lines]
        commands.renewed = True
        return {}


def from_deck(deck: Deck, wanted: Sequence[str], values: FloatArray) -> Variables:
    """Variables as parameters.

    Parameters
    ----------
    deck : Deck
    wanted : sequence of str
        Labels, such as ``var:eps``.
    values : (P,) float array
        Values in the deck.

    Raises
    ------
    PotentialError
        If the deck's potential does not use one of them.
    """
    used = " ".join(word for words, _ in deck.raw_potential for word in words)
    for name in wanted:
        plain = name.removeprefix(PREFIX)
        if f"${{{plain}}}" not in used and f"v_{plain}" not in used and not (len(plain) == 1 and f"${plain}" in used):
            raise PotentialError(f"no pair_style or pair_coeff of the deck uses the variable '{plain}'")
    return Variables(tuple(wanted), values, tuple(map(tuple, unsubstituted_lines(deck))))


def _sources(engine: Engine, patterns: Sequence[str]) -> list[Variables]:
    for pattern in patterns:
        if not pattern.startswith(PREFIX):
            raise PotentialError(f"'{pattern}': variables are taken by themselves, not together with other parameters")
    wanted = list(dict.fromkeys(patterns))
    # On all ranks: LAMMPS may need a collective evaluation for a value.
    values = np.array([engine.variable(name.removeprefix(PREFIX)) for name in wanted])
    return [engine.on_root(lambda: from_deck(engine.deck, wanted, values))]


FAMILY = PotentialFamily(_sources, "variables of pair_style and pair_coeff (var:NAME)", order=110, prefix=PREFIX)
"""The family, as it is registered under ``lammps_implicit.potentials``."""
