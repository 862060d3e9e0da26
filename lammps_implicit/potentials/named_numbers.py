"""Potentials whose files have numbers one below the other, each with its name: AIREBO, REBO, LCBOP."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.potentials.coefficient_files import named_file
from lammps_implicit.potentials.commands import elements_after, plain_style
from lammps_implicit.potentials.file_numbers import (
    FileNumbers,
    FileParameter,
    file_suffix,
    last_lines,
    offered,
    require_few,
)
from lammps_implicit.potentials.interface import PotentialFamily
from lammps_implicit.potentials.number_files import Reader, Span, require_numbers

STYLES = ("airebo", "airebo/morse", "rebo", "rebomos", "lcbop")
"""Pair styles that read such files."""

_SWITCHES = re.compile(r"rcmin|rcmax|smin$|NC?m(in|ax)$|rcLJ|bLJ")
"""Radii, bond orders and coordination numbers between which terms are switched: offered only if asked for."""

_LENNARD_JONES, _TORSION = re.compile(r"(epsilonM?|sigma|alphaM|reqM)_"), re.compile(r"epsilonT_")
"""Terms that a deck may switch off."""

_MORSE = re.compile(r"epsilon_")
"""What Morse potentials take the place of, in ``airebo/morse``."""

_ELEMENTS = re.compile(r"_([A-Z]+)\d*$")
"""Elements at the end of a name: ``BIJc_CH2``."""


def from_deck(deck: Deck, patterns: Sequence[str]) -> list[FileNumbers]:
    """Named numbers that belong to a deck's elements, labelled ``airebo A_CC``.

    Splines and polynomials, whose numbers have no names, are no parameters.

    Raises
    ------
    PotentialError
        If a file is not found or has a word where LAMMPS reads a number.
    """
    found = []
    for number, line, style, first in last_lines(deck, STYLES):
        elements = elements_after(line.args[first + 1 :])
        reader = Reader(named_file(deck, line))
        parameters = _parameters(reader, style, {e for e in elements if e}, _without(deck, plain_style(style)))
        suffix = file_suffix(style)
        found.append(FileNumbers(reader.lines, offered(parameters, patterns), number, first, suffix, elements))
    return require_few(found, patterns)


def _parameters(
    reader: Reader, style: str, present: Collection[str], idle: Sequence[re.Pattern[str]]
) -> list[FileParameter]:
    """Parameters of the numbers with names at the start of a file."""
    spans: dict[str, Span] = {}
    for row, words in reader.rows():
        if len(words) < 2 and not spans:
            raise PotentialError(f"{reader.path}, line {row + 1}: a number with its name is expected")
        if len(words) < 2 or re.fullmatch(r"[-+\d.eE]+", words[1].group()):
            break  # polynomials and tables
        span = (row, words[0].start(), words[0].end())
        require_numbers(reader.path, reader.lines, [span])
        spans[words[1].group().rstrip(",")] = span
    absent = [
        name[4:]
        for name, (row, start, stop) in spans.items()
        if name.startswith("BIJc_") and float(reader.lines[row][start:stop]) == 0
    ]
    parameters = []
    for name, span in spans.items():
        ends = _ELEMENTS.search(name)
        if ends and plain_style(style) != "lcbop" and not set(ends.group(1)) <= set(present):
            continue
        unused = name == "rho_CC" or name.removeprefix("BIJc").removeprefix("Beta") in absent
        on_request = unused or _SWITCHES.match(name) is not None or any(term.match(name) for term in idle)
        parameters.append(FileParameter(f"{style} {name}", (span,), on_request))
    return parameters


def _without(deck: Deck, style: str) -> list[re.Pattern[str]]:
    """Names of terms that a style does without, or that the deck switches off: ``airebo cutoff LJ TORSION``."""
    if style == "rebo":
        return [_LENNARD_JONES, _TORSION]
    if not style.startswith("airebo"):
        return []
    replaced = [_MORSE] if style == "airebo/morse" else []
    place = next(k for k, word in enumerate(deck.pair_style) if plain_style(word) == style)
    flags = [word for word in deck.pair_style[place + 2 : place + 4] if word in ("0", "1")]
    return replaced + [term for term, flag in zip((_LENNARD_JONES, _TORSION), flags, strict=False) if flag == "0"]


def _sources(engine: Engine, patterns: Sequence[str]) -> list[FileNumbers]:
    return engine.on_root(lambda: from_deck(engine.deck, patterns))


FAMILY = PotentialFamily(_sources, ", ".join(STYLES), order=44)
"""The family, as it is registered under ``lammps_implicit.potentials``."""
