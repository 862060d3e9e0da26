"""Numbers of ``bond_coeff``, ``angle_coeff``, ``dihedral_coeff`` and ``improper_coeff`` as parameters.

Lines in the sections of a data file count alike. Integers, such as the multiplicity of a dihedral, are no parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.deck import BONDED, Deck
from lammps_implicit.potentials.commands import PotentialCommands, bonded_style_of
from lammps_implicit.potentials.number_files import is_number
from lammps_implicit.potentials.style_arguments import NO_PARAMETER, bonded_arguments


@dataclass(frozen=True)
class BondedCoefficients:
    """Numbers of bonded interactions, in the units of the deck; a `Source`.

    Attributes
    ----------
    places : tuple of (int, int)
        Indices of each parameter among `Deck.bonded_coeffs` and the words of the line.
    names : tuple of str
        Labels of the parameters, such as ``bond harmonic 1 K`` or ``angle class2 2 bb M``.
    values : (P,) float array
        Values in the deck.
    """

    places: tuple[tuple[int, int], ...]
    names: tuple[str, ...]
    values: FloatArray

    @property
    def linear(self) -> bool:
        """U is not linear in all of them."""
        return False

    @property
    def elements(self) -> tuple[str | None, ...]:
        """Empty: the lines do not name elements."""
        return ()

    def edit(self, commands: PotentialCommands, values: FloatArray, stem: Path) -> dict[Path, str]:
        """Write the values into their lines: see `Source.edit`; there are no files."""
        for (line, word), value in zip(self.places, values, strict=True):
            commands.change_bonded(line, word, repr(float(value)))
        return {}


def from_deck(deck: Deck) -> BondedCoefficients | None:
    """All coefficients of bonded interactions of a deck; None if there are none."""
    found: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(deck.bonded_coeffs):
        kind = BONDED[line.words[0]]
        style, first = bonded_style_of(deck, line)
        rest = line.words[first:]
        known = bonded_arguments(kind, style, rest)
        if known is None and not all(map(is_number, rest)):
            continue  # tables and expressions
        name, _, keyword = style.partition(" ")
        of = f"{kind} {name} {line.words[1]} {keyword}".rstrip()
        names = known if known is not None else tuple(str(k) for k in range(1, len(rest) + 1))
        # A later line with the same label overrides an earlier one.
        found |= {
            f"{of} {argument}": (number, first + place)
            for place, argument in enumerate(names[: len(rest)])
            if argument != NO_PARAMETER and is_number(rest[place])
        }
    if not found:
        return None
    values = np.array([float(deck.bonded_coeffs[line].words[word]) for line, word in found.values()])
    return BondedCoefficients(tuple(found.values()), tuple(found), values)
