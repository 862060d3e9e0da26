"""POD, proper orthogonal descriptors: N. C. Nguyen, Phys. Rev. B 107, 144103 (2023)."""

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

STYLE = "pod"
"""The pair style."""


def from_deck(deck: Deck) -> list[CoefficientFileSource]:
    """Coefficients of the POD of a deck, labelled ``pod 0``, …; an empty list if it has none.

    Raises
    ------
    PotentialError
        If the coefficient file, the second that ``pair_coeff`` names, is not found or not of this format.
    """
    line = style_line(deck, STYLE)
    if line is None:
        return []
    path = named_file(deck, line, 1)
    _, first = style_of(deck, line)
    return [CoefficientFileSource(STYLE, _read(path), path, elements_after(line.args[first + 2 :]))]


def _read(path: Path) -> NumberFile:
    reader = Reader(path)
    (_, head), *rows = reader.rows()
    if not head[0].group().startswith("model_coefficients") or len(head) < 2:
        raise PotentialError(
            f"{path}: not a POD coefficient file: its first line is not 'model_coefficients:' with their number"
        )
    return reader.file(rows, [f"pod {k}" for k in range(int(head[1].group()))])


def _sources(engine: Engine, patterns: Sequence[str]) -> list[CoefficientFileSource]:
    return engine.on_root(lambda: from_deck(engine.deck))


FAMILY = PotentialFamily(_sources, "pod", order=30)
"""The family, as it is registered under ``lammps_implicit.potentials``."""
