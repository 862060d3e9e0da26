"""The ``pair_style``, ``pair_coeff`` and ``pair_modify`` lines of a deck, to be issued again with other parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lammps_implicit.evaluators.deck import Deck, PairCoeff
from lammps_implicit.evaluators.potential_folders import potential_folders

LEFT_BEFORE = ("uf3", "pod")
"""Styles that keep what they read first, or crash, unless the pair style is ``none`` in between."""


@dataclass
class PairCommands:
    """Lines that sources of parameters change, each its own words.

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
    _changed: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, deck: Deck) -> PairCommands:
        """Those of a deck."""
        folder = deck.raw_potential[0][1] if deck.raw_potential else Path()
        style = [found(word, folder) for word in deck.pair_style]
        coeffs = [[found(word, line.directory) for word in line.args] for line in deck.pair_coeffs]
        return cls(style, coeffs, list(deck.pair_modifies))

    def change(self, line: int, word: int, text: str) -> None:
        """Write another word into a ``pair_coeff`` line."""
        self.coeffs[line][word] = text
        self._changed.add(line)

    def lines(self) -> list[str]:
        """Commands that bring about what was changed.

        As few as will do: a ``pair_coeff`` line takes those of the same sub-style after it along, which may replace it.
        """
        again = [] if self.renewed else self._following()
        if self.renewed or any(_kept(words[2]) for words in again if len(words) > 2):
            left = any(map(_kept, self.style))
            return [
                *self.settings,
                *(["pair_style none"] if left else []),
                _command("pair_style", self.style),
                *(_command("pair_coeff", words) for words in self.coeffs),
                *(_command("pair_modify", words) for words in self.modifies),
            ]
        return [_command("pair_coeff", words) for words in again]

    def _following(self) -> list[list[str]]:
        """The first ``pair_coeff`` line that has changed, and those after it that may replace it."""
        after = self.coeffs[min(self._changed) :]
        if not self.style[0].startswith("hybrid/overlay"):
            return after
        changed = {self.coeffs[line][2] for line in self._changed}
        return [words for words in after if words[2] in changed]


def found(word: str, directory: Path) -> str:
    """The path of a file that the deck named, or the word itself."""
    folders: Sequence[Path] = [directory, *potential_folders()]
    return next((str(folder / word) for folder in folders if (folder / word).is_file()), word)


def style_of(deck: Deck, line: PairCoeff) -> tuple[str, int]:
    """Pair style of a line, with its number where the deck has it more than once, and the place of its first word."""
    if not deck.pair_style[0].startswith("hybrid"):
        return deck.pair_style[0], 2
    style = line.args[2]
    if len(line.args) > 3 and deck.pair_style.count(style) > 1:
        return f"{style}:{line.args[3]}", 4
    return style, 3


def _kept(word: str) -> bool:
    return word.partition("/")[0] in LEFT_BEFORE


def _command(name: str, words: Sequence[str]) -> str:
    # Between quotes a variable would not be substituted.
    return " ".join([name, *(word if "$" in word else _quoted(word) for word in words)])


def _quoted(word: str) -> str:
    return f'"{word}"' if any(character in word for character in " \t#&") else word
