"""Variables of a deck as parameters, if it uses them in the commands that set up its potential: ``var:eps``.

These are ``pair_style``, ``pair_coeff``, ``bond_coeff`` and its kin, ``set`` with charges, and ``dielectric``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import DeckError, PotentialError
from lammps_implicit.evaluators.deck import Deck, Setting
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.potentials.commands import PotentialCommands, bonded_words, unsubstituted_lines
from lammps_implicit.potentials.interface import PotentialFamily
from lammps_implicit.potentials.labels import matches

PREFIX = "var:"
"""Beginning of the labels."""

_USE = re.compile(r"\$\{(\w+)\}|\$(\w)|\bv_(\w+)")
"""Use of a variable in a command."""


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
        paths; none if they use no variable.
    bonded : tuple of (int, tuple of str)
        Commands of bonded interactions that use variables before their substitution: indices and words.
    final : tuple of tuple of str
        Commands that set charges and the dielectric constant, likewise, and those that may override them.
    """

    names: tuple[str, ...]
    values: FloatArray
    lines: tuple[tuple[str, ...], ...]
    bonded: tuple[tuple[int, tuple[str, ...]], ...]
    final: tuple[tuple[str, ...], ...]

    @property
    def linear(self) -> bool:
        """U is not linear in all of them, as far as is known."""
        return False

    @property
    def elements(self) -> tuple[str | None, ...]:
        """Empty: variables do not name elements."""
        return ()

    def define(self, engine: Engine) -> None:
        """Have LAMMPS keep the resolution of its long-range forces if charges change: see `Engine.keep_resolution`."""
        if self.final:
            engine.keep_resolution()

    def edit(self, commands: PotentialCommands, values: FloatArray, stem: Path) -> dict[Path, str]:
        """Set the variables, then issue all commands that use them again: see `Source.edit`; there are no files."""
        named = [name.removeprefix(PREFIX) for name in self.names]
        commands.settings += [
            line
            for name, value in zip(named, values, strict=True)
            for line in (f"variable {name} delete", f"variable {name} index {float(value)!r}")
        ]
        if self.lines:
            commands.style, *commands.coeffs = [list(line) for line in self.lines]
            commands.renewed = True
        for line, words in self.bonded:
            commands.renew_bonded(line, words)
        commands.final += [" ".join(words) for words in self.final]
        return {}


def from_deck(deck: Deck, names: Sequence[str], values: FloatArray) -> Variables:
    """Variables as parameters.

    Parameters
    ----------
    deck : Deck
    names : sequence of str
        Labels, such as ``var:eps``.
    values : (P,) float array
        Values in the deck.

    Raises
    ------
    PotentialError
        If the deck's potential does not use one of them.
    """
    used = used_variables(deck)
    for name in names:
        if name not in used:
            raise PotentialError(
                f"no pair_style or pair_coeff of the deck uses the variable '{name.removeprefix(PREFIX)}', nor does a "
                "command that sets coefficients of bonds, charges or the dielectric constant"
            )
    of_pairs = any(_uses(words) for words, _ in deck.raw_potential)
    bonded = [
        (line, tuple(bonded_words(deck, setting, written=True)))
        for line, setting in enumerate(deck.bonded_coeffs)
        if _uses(setting.written)
    ]
    return Variables(
        tuple(names),
        values,
        tuple(map(tuple, unsubstituted_lines(deck))) if of_pairs else (),
        tuple(bonded),
        tuple(setting.written for setting in [*_from_first(deck.charges), *_from_first(_dielectric(deck))]),
    )


def used_variables(deck: Deck) -> list[str]:
    """Labels of the variables in the commands that set up a deck's potential, in their order."""
    settings = [*deck.bonded_coeffs, *deck.charges, *_dielectric(deck)]
    lines = [*(words for words, _ in deck.raw_potential), *(setting.written for setting in settings)]
    return list(dict.fromkeys(PREFIX + name for words in lines for name in _uses(words)))


def _uses(words: Sequence[str]) -> list[str]:
    """Names of the variables in a command."""
    return [next(filter(None, match)) for match in _USE.findall(" ".join(words))]


def _dielectric(deck: Deck) -> list[Setting]:
    return [] if deck.dielectric is None else [deck.dielectric]


def _from_first(settings: Sequence[Setting]) -> Sequence[Setting]:
    """The first command that uses variables, and those after it."""
    return next((settings[number:] for number, setting in enumerate(settings) if _uses(setting.written)), [])


def _sources(engine: Engine, patterns: Sequence[str]) -> list[Variables]:
    for pattern in patterns:
        if not pattern.startswith(PREFIX):
            raise PotentialError(f"'{pattern}': variables are taken by themselves, not together with other parameters")
    used = used_variables(engine.deck)
    numbers: dict[str, float] = {}
    for pattern in patterns:
        found = [used[index] for index in matches(used, pattern)]
        for name in found or [pattern]:
            try:
                # On all ranks: LAMMPS may need a collective evaluation for a value.
                numbers[name] = engine.variable(name.removeprefix(PREFIX))
            except DeckError:
                if found == [pattern] or not found:
                    raise  # other names that match, such as those of files, were not meant
    if not numbers:
        raise PotentialError(f"'{','.join(patterns)}': no variable in the deck's potential is a number")
    return [engine.on_root(lambda: from_deck(engine.deck, list(numbers), np.array(list(numbers.values()))))]


FAMILY = PotentialFamily(
    _sources, "variables of pair_style, pair_coeff, bond_coeff, set … (var:NAME)", order=110, prefix=PREFIX
)
"""The family, as it is registered under ``lammps_implicit.potentials``."""
