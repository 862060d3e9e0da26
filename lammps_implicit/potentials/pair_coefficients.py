"""Numbers in ``pair_coeff`` lines as parameters: Lennard-Jones, Morse, Buckingham and any other style.

Lines in the sections of a data file count alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import Deck, PairCoeff
from lammps_implicit.potentials.commands import PotentialCommands, pair_styles, plain_style, style_of
from lammps_implicit.potentials.labels import matches
from lammps_implicit.potentials.number_files import is_number
from lammps_implicit.potentials.style_arguments import NO_PARAMETER, pair_arguments

_RANDOM = ("dpd", "mdpd", "edpd", "tdpd", "sdpd", "brownian", "dsmc")
"""Beginnings of the names of pair styles whose forces are random (LAMMPS documentation)."""

_FURTHER = {"atm": 1, "hbond/": 2}
"""Beginnings of the names of styles whose lines are about third atoms too, and number of words for these."""


@dataclass(frozen=True)
class PairCoefficients:
    """Numbers in ``pair_coeff`` lines, in the units of the deck; a `Source`.

    Attributes
    ----------
    lines : tuple of PairCoeff
        All lines of the deck, in order: later ones may override earlier ones.
    places : tuple of tuples of (int, int)
        Indices of line and word of each parameter; several for numbers that LAMMPS wants to be equal.
    labels : tuple of str
        Labels of the parameters, such as ``lj/cut 1-2 sigma``.
    """

    lines: tuple[PairCoeff, ...]
    places: tuple[tuple[tuple[int, int], ...], ...]
    labels: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of the parameters."""
        return self.labels

    @property
    def values(self) -> FloatArray:
        """Their values in the deck."""
        return np.array([float(self.lines[line].args[word]) for (line, word), *_ in self.places])

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
        for places, value in zip(self.places, values, strict=True):
            for line, word in places:
                commands.change(line, word, repr(float(value)))
        return {}


def from_deck(deck: Deck, beside_words: bool = False, types: int = 0) -> PairCoefficients | None:
    """All coefficients in the ``pair_coeff`` lines of a deck.

    But for zeros of `without_derivative`.

    Parameters
    ----------
    deck : Deck
    beside_words : bool
        Whether to include numbers in lines that also have file names or other words, such as the cutoff of a table.
    types : int
        Number of atom types.

    Returns
    -------
    PairCoefficients or None
        None if there are no coefficients.
    """
    zeros = without_derivative(deck, types)
    found = {label: places for label, places in _places(deck, beside_words).items() if label not in zeros}
    if not found:
        return None
    return PairCoefficients(tuple(deck.pair_coeffs), tuple(found.values()), tuple(found))


def without_derivative(deck: Deck, types: int) -> dict[str, str]:
    """Labels of the zeros that cannot be anything else, and why: that they have no derivative, or that LAMMPS refuses.

    The coefficients of other pairs that LAMMPS makes of a zero go like its square root. The hydrogens of TIP4P water
    must have no epsilon.
    """
    mixed = _mixed_types(deck.pair_coeffs, types)
    found = {}
    for label, ((number, word), *_) in _places(deck, beside_words=False).items():
        line = deck.pair_coeffs[number]
        if float(line.args[word]):
            continue
        alike = _like_types(line, types)
        if mixed & alike:
            found[label] = (
                "LAMMPS mixes coefficients of other pairs from it, as its square root, which has no derivative: give "
                "pairs of different types pair_coeff lines of their own"
            )
        elif label.endswith(" epsilon") and alike & _tip4p_hydrogens(deck, style_of(deck, line)[0]):
            found[label] = "LAMMPS refuses any other value for the hydrogens of TIP4P water"
    return found


def _tip4p_hydrogens(deck: Deck, style: str) -> set[int]:
    """Atom type of the hydrogens, the second argument of a TIP4P pair style; empty for other styles."""
    words = list(deck.pair_style)
    if "/tip4p/" not in style or style not in words:
        return set()
    hydrogen = words[words.index(style) + 2]
    return {int(hydrogen)} if hydrogen.isdecimal() else set()


def by_name(deck: Deck, pattern: str) -> list[str]:
    """Labels by name of coefficients whose labels by position match a pattern: ``buck/coul/long 1-1 1`` is ``A``.

    Parameters
    ----------
    deck : Deck
    pattern : str
        Shell pattern.

    Returns
    -------
    list of str
        Empty if the pattern does not end in a position, or matches labels by name.
    """
    places = _places(deck, beside_words=False)
    if not pattern.rpartition(" ")[2].isdecimal() or matches(list(places), pattern):
        return []
    found = []
    for label, of_label in places.items():
        for line, word in of_label:
            _, first = style_of(deck, deck.pair_coeffs[line])
            if matches([f"{label.rpartition(' ')[0]} {word - first + 1}"], pattern):
                found.append(label)
    return list(dict.fromkeys(found))


def _places(deck: Deck, beside_words: bool) -> dict[str, tuple[tuple[int, int], ...]]:
    """Labels of all coefficients, and the indices of line and word of each."""
    found: dict[str, tuple[tuple[int, int], ...]] = {}
    for number, line in enumerate(deck.pair_coeffs):
        style, first = style_of(deck, line)
        known = pair_arguments(style)
        rest = line.args[first:]
        if known is None and not beside_words and not all(map(is_number, rest)):
            continue
        names = known if known is not None else tuple(str(k) for k in range(1, len(rest) + 1))
        places: dict[str, tuple[tuple[int, int], ...]] = {
            name: ((number, first + place),)
            for place, name in enumerate(names[: len(rest)])
            if name != NO_PARAMETER and is_number(rest[place])
        }
        if plain_style(style) == "zbl" and _holds_like_pairs(line) and len(places) == 2:
            places = {"Z": (*places["Zi"], *places["Zj"])}
        pair = " ".join([f"{line.args[0]}-{line.args[1]}", *_further_types(style, rest)])
        # A later line with the same label overrides an earlier one.
        found |= {f"{style} {pair} {name}": place for name, place in places.items()}
    return found


def _further_types(style: str, words: Sequence[str]) -> Sequence[str]:
    """First words after a style that say for which third atoms coefficients are."""
    return words[: next((count for name, count in _FURTHER.items() if style.startswith(name)), 0)]


def _holds_like_pairs(line: PairCoeff) -> bool:
    """Whether a ``pair_coeff`` line is also about pairs of atoms of one type."""
    one, two = line.args[:2]
    if one == two:
        return True
    (low, high), (other_low, other_high) = _bounds(one), _bounds(two)
    return max(low, other_low) <= min(high, other_high)


def _mixed_types(lines: Sequence[PairCoeff], types: int) -> set[int]:
    """Atom types whose pairs with some other type have no line, so that LAMMPS makes their coefficients."""
    kinds = range(1, types + 1)
    given = {
        pair
        for line in lines
        for one, two in [(_types(word, types) for word in line.args[:2])]
        for pair in product(one, two)
    }
    return {a for a in kinds for b in kinds if a != b and (a, b) not in given and (b, a) not in given}


def _like_types(line: PairCoeff, types: int) -> set[int]:
    """Types of which a ``pair_coeff`` line sets the coefficients of pairs of their own."""
    one, two = (_types(word, types) for word in line.args[:2])
    return set(one) & set(two)


def _types(word: str, types: int) -> range:
    """Atom types that a word such as ``2``, ``*`` or ``2*4`` stands for; none for the label of a type."""
    low, high = _bounds(word)
    return range(int(low), int(min(high, types)) + 1) if low <= types else range(0)


def _bounds(word: str) -> tuple[float, float]:
    """Lowest and highest atom type that a word stands for; none lies between those of the label of a type."""
    low, star, high = word.partition("*")
    if not all(part.isdecimal() for part in (low, high) if part):
        return float("inf"), 0.0
    return float(low or 1), float(high or ("inf" if star else low))


def _require_number(deck: Deck, label: str) -> None:
    """Check that a label such as ``table 1-1 2`` does not refer to a word that is not a number.

    Raises
    ------
    PotentialError
        If it does.
    """
    for line in deck.pair_coeffs:
        style, first = style_of(deck, line)
        for place, word in enumerate(line.args[first:], 1):
            if label == f"{style} {line.args[0]}-{line.args[1]} {place}" and not is_number(word):
                raise PotentialError(f"'{label}' is '{word}' in the deck, which is no number: it cannot be a parameter")


def require_numbers(deck: Deck, patterns: Sequence[str], types: int) -> None:
    """Check that the pair styles of a deck have a minimum, and that no label is that of a word which is no number.

    Raises
    ------
    PotentialError
        If forces are random, or a pattern is the label of a word that is no number, such as ``table 1-1 2``, or of a
        zero that has no derivative.
    """
    random = [style for style in pair_styles(deck) if plain_style(style).startswith(_RANDOM)]
    if random:
        raise PotentialError(f"the forces of pair_style {random[0]} are random: they have no minimum to differentiate")
    zeros = without_derivative(deck, types) if patterns else {}
    for pattern in patterns:
        _require_number(deck, pattern)
        if pattern in zeros:
            raise PotentialError(f"'{pattern}' is zero, and {zeros[pattern]}")
