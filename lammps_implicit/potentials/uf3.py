"""UF3, splines of pairs and triples: S. R. Xie, M. Rupp, R. G. Hennig, npj Comput. Mater. 9, 162 (2023)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.potentials.coefficient_files import CoefficientFileSource, named_file, style_line
from lammps_implicit.potentials.commands import elements_after, style_of
from lammps_implicit.potentials.interface import PotentialFamily
from lammps_implicit.potentials.number_files import NumberFile, Reader

STYLE = "uf3"
"""The pair style."""


def from_deck(deck: Deck) -> list[CoefficientFileSource]:
    """Spline coefficients of the UF3 of a deck, labelled ``2B W-W 0`` and ``3B W-W-W 0``; an empty list if it has none.

    Raises
    ------
    PotentialError
        If the file is not found or not of this format.
    """
    line = style_line(deck, STYLE)
    if line is None:
        return []
    path = named_file(deck, line)
    _, first = style_of(deck, line)
    return [CoefficientFileSource(STYLE, _read(path), path, elements_after(line.args[first + 1 :]))]


def _read(path: Path) -> NumberFile:
    """Read a file: one line of coefficients per pair, one block of lines per triple."""
    reader = Reader(path)
    rows, names, place = reader.rows(), [], 0
    chosen = []
    while place < len(rows):
        head = [match.group() for match in rows[place][1]]
        if head[0] == "2B":
            count, block = int(rows[place + 3][1][0].group()), rows[place + 4 : place + 5]
            label, place = f"2B {'-'.join(head[1:3])}", place + 5
        elif head[0] == "3B":
            first, second, third = (int(match.group()) for match in rows[place + 5][1])
            count, block = first * second * third, rows[place + 6 : place + 6 + first * second]
            label, place = f"3B {'-'.join(head[1:4])}", place + 6 + first * second
        else:
            raise PotentialError(
                f"{path}, line {rows[place][0] + 1}: a block that starts with '2B' or '3B' is expected"
            )
        chosen += block
        names += [f"{label} {k}" for k in range(count)]
    return reader.file(chosen, names)


def _sources(engine: Engine, patterns: Sequence[str]) -> list[CoefficientFileSource]:
    return engine.on_root(lambda: from_deck(engine.deck))


FAMILY = PotentialFamily(_sources, "uf3", order=20)
"""The family, as it is registered under ``lammps_implicit.potentials``."""
