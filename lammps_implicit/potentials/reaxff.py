"""ReaxFF: numbers of a force field file.

K. Chenoweth, A. C. T. van Duin, W. A. Goddard, J. Phys. Chem. A 112, 1040 (2008); names as in the supplement.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.potentials.coefficient_files import named_file
from lammps_implicit.potentials.commands import elements_after
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

STYLES = ("reaxff", "reax/c")
"""Pair styles that read such files."""

_ON_REQUEST_GENERAL = (12, 13, 14, 19, 23, 27, 30, *range(35, 39))
"""General numbers, from 1, that are radii, the cutoff of bond orders, flags, or not used."""

_ATOM = (
    "r_s (valency) - r_vdw D gamma r_pi (valency_e)",
    "alpha gamma_w (valency_boc) p_ovun5 - chi eta (p_hbond)",
    "r_pi2 p_lp2 - p_boc4 p_boc3 p_boc5 - -",
    "p_ovun2 p_val3 - (valency_val) p_val5 r_core e_core a_core",
    "lg_c lg_r",
)
"""Names of the numbers of each line of an element: ``-`` for what is not used, in brackets what is offered on request.
The last line is there with ``lgvdw yes`` only."""

_SECTIONS = (
    ("bond", 2, ("De1 De2 De3 p_be1 p_bo5 (13corr) p_bo6 p_ovun1", "p_be2 p_bo3 p_bo4 - p_bo1 p_bo2 (ovc) -")),
    ("offdiagonal", 2, ("D r_vdw alpha r_s r_pi r_pi2",)),
    ("angle", 3, ("theta0 p_val1 p_val2 p_coa1 p_val7 p_pen1 p_val4",)),
    ("torsion", 4, ("V1 V2 V3 p_tor1 p_cot1",)),
    ("hbond", 3, ("r_hb p_hb1 p_hb2 p_hb3",)),
)
"""Sections after those of general numbers and elements: name, number of elements, names of the numbers of each line."""

_SWITCHED = re.compile(r"ffield offdiagonal |ffield atom \S+ [rea]_core$")
"""Labels of numbers that count only if they are positive."""


class _Lines:
    """Lines of a file with words, one after the other."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.row = 0

    def skip(self) -> None:
        """Leave a line out."""
        self.row += 1

    def next(self, count: int) -> list[Span]:
        """Words of the next line that is not empty, at least `count`.

        Raises
        ------
        PotentialError
            If there are fewer, or no line.
        """
        while self.row < len(self.reader.lines):
            row, line = self.row, self.reader.lines[self.row]
            self.row += 1
            words = [(row, word.start(), word.end()) for word in re.finditer(r"[^\s!]+", line.split("!", 1)[0])]
            if words:
                if len(words) < count:
                    raise PotentialError(
                        f"{self.reader.path}, line {row + 1}: {len(words)} words, expected at least {count}"
                    )
                return words
        raise PotentialError(f"{self.reader.path} ends after line {self.row}, where more numbers are expected")

    def integer(self, span: Span) -> int:
        """A word as an integer."""
        try:
            return int(self.text(span))
        except ValueError:
            raise PotentialError(
                f"{self.reader.path}, line {span[0] + 1}: '{self.text(span)}' is not a whole number"
            ) from None

    def number(self, span: Span) -> float:
        """A word as a number."""
        require_numbers(self.reader.path, self.reader.lines, [span])
        return float(self.text(span))

    def text(self, span: Span) -> str:
        """A word."""
        row, start, stop = span
        return self.reader.lines[row][start:stop]


def from_deck(deck: Deck, patterns: Sequence[str]) -> list[FileNumbers]:
    """Numbers of a deck's elements in its force field, labelled ``ffield bond C-H De1``.

    Raises
    ------
    PotentialError
        If the file is not found or not of this format, or it has too many numbers and there are no patterns.
    """
    found = []
    for number, line, style, first in last_lines(deck, STYLES):
        elements = elements_after(line.args[first + 1 :])
        reader = Reader(named_file(deck, line))
        present = {element.upper(): element for element in elements if element}
        words = deck.pair_style
        lg = "lgvdw" in words and words[words.index("lgvdw") + 1] in ("yes", "on", "true")
        parameters = offered(_parameters(_Lines(reader), present, lg), patterns)
        found.append(FileNumbers(reader.lines, parameters, number, first, file_suffix(style), elements))
    return require_few(found, patterns)


def _parameters(lines: _Lines, present: Mapping[str, str], lg: bool) -> list[FileParameter]:
    lines.skip()
    parameters = []
    for index in range(1, lines.integer(lines.next(1)[0]) + 1):
        span = lines.next(1)[0]
        lines.number(span)
        parameters.append(FileParameter(f"ffield general {index}", (span,), index in _ON_REQUEST_GENERAL))
    count, elements = lines.integer(lines.next(1)[0]), []
    for _ in range(3):
        lines.skip()
    for _ in range(count):
        symbol, *spans = lines.next(9)
        elements.append(lines.text(symbol))
        for row in range(1, 4 + lg):
            spans += lines.next(2 if row == 4 else 8)[: len(_ATOM[row].split())]
        if elements[-1].upper() in present:
            label = f"ffield atom {present[elements[-1].upper()]}"
            parameters += _named(lines, spans, " ".join(_ATOM[: 4 + lg]), label)
    missing = set(present) - {element.upper() for element in elements}
    if missing:
        raise PotentialError(f"{lines.reader.path} has no element {', '.join(present[name] for name in missing)}")
    for name, indices, names in _SECTIONS:
        parameters += _section(lines, name, indices, names, [present.get(e.upper()) for e in elements])
    return parameters


def _section(
    lines: _Lines, name: str, indices: int, names: Sequence[str], elements: Sequence[str | None]
) -> list[FileParameter]:
    """Parameters of one section, for entries whose elements are all in the deck; index 0 stands for any, ``X``."""
    found: list[FileParameter] = []
    seen: Counter[str] = Counter()
    count = lines.integer(lines.next(1)[0])
    if name == "bond":
        lines.skip()
    for _ in range(count):
        words = lines.next(indices + len(names[0].split()))
        spans = words[indices : indices + len(names[0].split())]
        for more in names[1:]:
            spans += lines.next(len(more.split()))[: len(more.split())]
        numbers = [lines.integer(word) for word in words[:indices]]
        symbols = ["X" if k == 0 else elements[k - 1] if k <= len(elements) else None for k in numbers]
        if None in symbols:
            continue
        group = f"ffield {name} {'-'.join(map(str, symbols))}"
        seen[group] += 1
        label = group if seen[group] == 1 else f"{group}:{seen[group]}"
        found += _named(lines, spans, " ".join(names), label)
    return found


def _named(lines: _Lines, spans: Sequence[Span], names: str, label: str) -> list[FileParameter]:
    """Parameters of an entry; what counts only if positive is on request where it is not."""
    found = []
    for name, span in zip(names.split(), spans, strict=True):
        if name != "-":
            full = f"{label} {name.strip('()')}"
            on_request = name.startswith("(") or (lines.number(span) <= 0 and _SWITCHED.match(full) is not None)
            found.append(FileParameter(full, (span,), on_request))
    return found


def _sources(engine: Engine, patterns: Sequence[str]) -> list[FileNumbers]:
    return engine.on_root(lambda: from_deck(engine.deck, patterns))


FAMILY = PotentialFamily(_sources, "reaxff", order=45)
"""The family, as it is registered under ``lammps_implicit.potentials``."""
