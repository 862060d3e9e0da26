"""Many-body potentials with an entry for each triple of elements: Stillinger-Weber, Tersoff, Vashishta, EDIP, …"""

from __future__ import annotations

from collections.abc import Sequence

from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.potentials.coefficient_files import named_file
from lammps_implicit.potentials.commands import elements_after, plain_style
from lammps_implicit.potentials.entry_files import parameters_of, read_entries
from lammps_implicit.potentials.entry_layouts import LAYOUTS
from lammps_implicit.potentials.file_numbers import FileNumbers, file_suffix, last_lines, offered, require_few
from lammps_implicit.potentials.interface import PotentialFamily
from lammps_implicit.potentials.number_files import Reader


def from_deck(deck: Deck, patterns: Sequence[str]) -> list[FileNumbers]:
    """Numbers of the entries of a deck's elements, labelled ``sw Si-Si-Si epsilon``.

    Raises
    ------
    PotentialError
        If a file is not found or not of its style's layout.
    """
    found = []
    for number, line, style, first in last_lines(deck, tuple(LAYOUTS)):
        layout, elements = LAYOUTS[plain_style(style)], elements_after(line.args[first + 1 :])
        reader = Reader(named_file(deck, line))
        present = {element for element in elements if element}
        parameters = parameters_of(read_entries(reader, layout, present), layout, style)
        found.append(
            FileNumbers(reader.lines, offered(parameters, patterns), number, first, file_suffix(style), elements)
        )
    return require_few(found, patterns)


def _sources(engine: Engine, patterns: Sequence[str]) -> list[FileNumbers]:
    return engine.on_root(lambda: from_deck(engine.deck, patterns))


FAMILY = PotentialFamily(_sources, ", ".join(LAYOUTS), order=42)
"""The family, as it is registered under ``lammps_implicit.potentials``."""
