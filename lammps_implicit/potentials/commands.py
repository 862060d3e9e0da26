"""The ``pair_style``, ``pair_coeff`` and ``pair_modify`` lines of a deck, to be issued again with other parameters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import Deck, PairCoeff
from lammps_implicit.evaluators.potential_folders import potential_file
from lammps_implicit.potentials.number_files import is_number

LEFT_BEFORE = ("uf3", "pod")
"""Styles that keep what they read first, or crash, unless the pair style is ``none`` in between."""

FILES = {"snap": 2, "pod": 2, "uf3": 1, "eam/alloy": 1, "eam/fs": 1, "mliap": 0, "kim": 0, "dispersion/d3": 0}
"""Number of file names that ``pair_coeff`` lines of these styles begin with; elements follow them."""

FILE_AFTER = {"model": 2, "descriptor": 2, "unified": 1, "list": 1}
"""Distance of a file name in ``pair_style`` from a keyword: ``mliap model linear FILE``."""

ACCELERATED = ("/omp", "/opt", "/intel", "/kk", "/gpu")
"""Suffixes of accelerated variants of a pair style."""


@dataclass
class PairCommands:
    """Lines that sources of parameters change, each as its words.

    Attributes
    ----------
    style : list of str
        Arguments of ``pair_style``, files with their folders.
    coeffs : list of list of str
        Arguments of each ``pair_coeff``, likewise.
    modifies : list of tuple of str
        Arguments of each ``pair_modify``.
    settings : list of str
        Commands that come before all others.
    renewed : bool
        Whether the style is to be issued again, and all that follows it.
    """

    style: list[str]
    coeffs: list[list[str]]
    modifies: list[tuple[str, ...]]
    settings: list[str] = field(default_factory=list)
    renewed: bool = False
    _changed: dict[tuple[int, int], str] = field(default_factory=dict)

    @classmethod
    def of(cls, deck: Deck) -> PairCommands:
        """Those of a deck."""
        style, *coeffs = [
            [_resolved(word, folder) if place in files else word for place, word in enumerate(args)]
            for args, files, folder in _lines_with_files(deck)
        ]
        return cls(style, coeffs, list(deck.pair_modifies))

    def change(self, line: int, word: int, text: str) -> None:
        """Write another word into a ``pair_coeff`` line.

        Raises
        ------
        PotentialError
            If it was changed before: two sources of parameters cannot both decide on it.
        """
        if (line, word) in self._changed:
            words = list(self.coeffs[line])
            for (other, place), before in self._changed.items():
                if other == line:
                    words[place] = before
            raise PotentialError(
                f"two parameters change the word '{words[word]}' of 'pair_coeff {' '.join(words)}': choose the "
                "parameters of one family only"
            )
        self._changed[line, word] = self.coeffs[line][word]
        self.coeffs[line][word] = text

    def lines(self) -> list[str]:
        """Commands that bring about what was changed.

        As few as will do: a ``pair_coeff`` line takes those of the same sub-style after it along, which may replace it.
        """
        again = [] if self.renewed else self._following()
        if self.renewed or any(_kept(words[2]) for words in again if len(words) > 2):
            return self.complete_lines()
        return [_command("pair_coeff", words) for words in again]

    def complete_lines(self) -> list[str]:
        """Commands that set up the whole potential from scratch."""
        left = any(map(_kept, self.style))
        return [
            *self.settings,
            *(["pair_style none"] if left else []),
            _command("pair_style", self.style),
            *(_command("pair_coeff", words) for words in self.coeffs),
            *(_command("pair_modify", words) for words in self.modifies),
        ]

    def _following(self) -> list[list[str]]:
        """The first ``pair_coeff`` line that has changed, and those after it that may replace it."""
        lines = {line for line, _ in self._changed}
        after = self.coeffs[min(lines) :]
        if not self.style[0].startswith("hybrid/overlay"):
            return after
        changed = {self.coeffs[line][2] for line in lines}
        return [words for words in after if words[2] in changed]


def unsubstituted_lines(deck: Deck) -> list[list[str]]:
    """Arguments of ``pair_style`` and of each ``pair_coeff`` with their variables, files with their folders."""
    lines = []
    for (raw, folder), (args, files, _) in zip(deck.raw_potential, _lines_with_files(deck), strict=True):
        words = list(raw[1:])
        for index, place in enumerate(_places(words, len(args))):
            if place is not None and place in files:
                path = _resolved(args[place], folder)
                if "$" not in words[index]:
                    words[index] = path
                elif Path(path) == folder / args[place]:
                    words[index] = f"{folder}/{words[index]}"
        lines.append(words)
    return lines


def style_of(deck: Deck, line: PairCoeff) -> tuple[str, int]:
    """Pair style of a line, with its number where the deck has it more than once, and the place of its first word."""
    if not deck.pair_style[0].startswith("hybrid"):
        return deck.pair_style[0], 2
    style = line.args[2]
    if len(line.args) > 3 and deck.pair_style.count(style) > 1:
        return f"{style}:{line.args[3]}", 4
    return style, 3


def plain_style(style: str) -> str:
    """A pair style without the suffix of an accelerated variant, or the number of a repeated style."""
    style = style.partition(":")[0]
    for suffix in ACCELERATED:
        style = style.removesuffix(suffix)
    return style


def coefficient_file(deck: Deck, line: PairCoeff, number: int = 0) -> Path | None:
    """The file that a ``pair_coeff`` line names as its first, second, … word after the style; None if not found."""
    _, first = style_of(deck, line)
    return potential_file(line.args[first + number], line.directory) if first + number < len(line.args) else None


def elements_after(words: Sequence[str]) -> tuple[str | None, ...]:
    """Elements of the atom types at the end of a ``pair_coeff`` line; None for ``NULL``."""
    return tuple(None if word == "NULL" else word for word in words)


def _lines_with_files(deck: Deck) -> list[tuple[tuple[str, ...], Collection[int], Path]]:
    """Arguments of ``pair_style`` and each ``pair_coeff``, places of file names among them, and their folder."""
    folder = deck.raw_potential[0][1] if deck.raw_potential else Path()
    of_style = (deck.pair_style, _files_of_style(deck), folder)
    return [of_style, *((line.args, _files_of_line(deck, line), line.directory) for line in deck.pair_coeffs)]


def _files_of_style(deck: Deck) -> set[int]:
    """Places of file names in ``pair_style``: after the keywords known, else what looks like a path."""
    words = deck.pair_style
    hybrid = words[0].startswith("hybrid")
    styles = {words[0], *(line.args[2] for line in deck.pair_coeffs if hybrid)}
    known = {place + FILE_AFTER[word] for place, word in enumerate(words) if word in FILE_AFTER}
    return known | {place for place, word in enumerate(words) if word not in styles and _like_path(word)}


def _files_of_line(deck: Deck, line: PairCoeff) -> set[int]:
    """Places of file names in a ``pair_coeff`` line.

    Those of styles that are not known are its first word, unless that is a number, and what looks like a path.
    """
    style, first = style_of(deck, line)
    count = FILES.get(plain_style(style))
    if count is not None:
        return set(range(first, first + count))
    words = line.args[first:]
    return {first + place for place, word in enumerate(words) if _like_path(word) or not (place or is_number(word))}


def _places(raw: Sequence[str], count: int) -> list[int | None]:
    """Place of each word among the `count` that it and its neighbours become once variables are substituted.

    A variable may hold several words, so that only what stands up to the first and after the last variable is known.
    """
    if len(raw) == count:
        return list(range(count))
    held = [index for index, word in enumerate(raw) if "$" in word]
    shift = count - len(raw)
    return [
        index if not held or index <= held[0] else index + shift if index > held[-1] else None
        for index in range(len(raw))
    ]


def _resolved(word: str, folder: Path) -> str:
    path = potential_file(word, folder)
    return word if path is None else str(path)


def _like_path(word: str) -> bool:
    return ("." in word or "/" in word) and not is_number(word)


def _kept(word: str) -> bool:
    return plain_style(word) in LEFT_BEFORE


def _command(name: str, words: Sequence[str]) -> str:
    # Between quotes a variable would not be substituted.
    return " ".join([name, *(word if "$" in word else _quoted(word) for word in words)])


def _quoted(word: str) -> str:
    return f'"{word}"' if any(character in word for character in " \t#&") else word
