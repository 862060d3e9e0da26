"""Numbers in the lines that set coefficients of pairs and of bonded interactions, as one family of parameters."""

from __future__ import annotations

from collections.abc import Sequence

from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.potentials import bonded, pair_coefficients
from lammps_implicit.potentials.interface import PotentialFamily, Source


def _sources(engine: Engine, patterns: Sequence[str]) -> list[Source]:
    """Coefficients in the deck's lines. No file is read, so every rank finds them by itself."""
    pair_coefficients.require_numbers(engine.deck, patterns, engine.n_types)
    found = [
        pair_coefficients.from_deck(engine.deck, bool(patterns), engine.n_types),
        bonded.from_deck(engine.deck),
    ]
    return [source for source in found if source is not None]


FAMILY = PotentialFamily(
    _sources, "numbers of pair_coeff, bond_coeff, angle_coeff, … lines", order=100, on_request=True
)
"""The family, as it is registered under ``lammps_implicit.potentials``."""
