"""The commands of a deck that set up its potential, to be issued again with other parameters.

These are ``pair_style``, ``pair_coeff``, ``pair_modify``, and the ``bond_coeff``, ``angle_coeff``, … lines.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import BONDED, Deck, PairCoeff, Setting
from lammps_implicit.evaluators.potential_folders import potential_file
from lammps_implicit.potentials.number_files import is_number

_KEEPING = "threebody"
"""Argument of ``pair_style sw`` with which LAMMPS does not read a file again (measured)."""

_NEEDS_RESET = ("uf3", "pod", "eam")
"""Styles that keep the coefficients they read first (``eam``: from a file of the same name), or crash, unless
``pair_style none`` comes in between (observed). All others with files read again as if they were new: forces, and
those of the first file once more, are the same to the last bit."""

_FILES = {"snap": 2, "pod": 2, "uf3": 1, "mliap": 0, "kim": 0, "dispersion/d3": 0} | dict.fromkeys(
    (
        "adp",
        "airebo",
        "airebo/morse",
        "comb",
        "comb3",
        "eam",
        "eam/alloy",
        "eam/cd",
        "eam/cd/old",
        "eam/fs",
        "eam/he",
        "edip",
        "edip/multi",
        "extep",
        "gw",
        "gw/zbl",
        "lcbop",
        "nb3b/harmonic",
        "nb3b/screened",
        "reaxff",
        "rebo",
        "rebomos",
        "sw",
        "sw/mod",
        "table",
        "tersoff",
        "tersoff/mod",
        "tersoff/mod/c",
        "tersoff/zbl",
        "vashishta",
        "vashishta/table",
    ),
    1,
)
"""Number of file names after the style in ``pair_coeff`` lines of these styles; elements follow them (LAMMPS
documentation)."""

_FILE_AFTER = {"model": 2, "descriptor": 2, "unified": 1, "list": 1}
"""Distance of a file name from a keyword of ``pair_style``, as in ``mliap model linear FILE`` (LAMMPS
documentation)."""

_ACCELERATED = ("/omp", "/opt", "/intel", "/kk", "/gpu")
"""Suffixes of accelerated variants of pair styles (LAMMPS documentation)."""


@dataclass
class PotentialCommands:
    """The commands of a deck that set up its potential as lists of words, for sources of parameters to change.

    Attributes
    ----------
    style : list of str
        Arguments of ``pair_style``, files with their paths; empty if the deck has none, or has it from a restart file.
    coeffs : list of list of str
        Arguments of each ``pair_coeff``, likewise.
    modifies : list of tuple of str
        Arguments of each ``pair_modify``.
    bonded : list of list of str
        ``bond_coeff``, ``angle_coeff``, … commands with their arguments, likewise.
    settings : list of str
        Commands to issue before all others.
    final : list of str
        Commands to issue after all others, such as ``set`` for charges.
    renewed : bool
        Whether ``pair_style`` and all pair commands after it must be issued again.
    """

    style: list[str]
    coeffs: list[list[str]]
    modifies: list[tuple[str, ...]]
    bonded: list[list[str]] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    final: list[str] = field(default_factory=list)
    renewed: bool = False
    _changed: dict[tuple[int, int], str] = field(default_factory=dict)
    _changed_bonded: dict[tuple[int, int], str] = field(default_factory=dict)

    @classmethod
    def of(cls, deck: Deck) -> PotentialCommands:
        """The commands of a deck."""
        style, *coeffs = [
            [_resolved(word, folder) if place in files else word for place, word in enumerate(args)]
            for args, files, folder in _lines_with_files(deck)
        ]
        bonded = [bonded_words(deck, line) for line in deck.bonded_coeffs]
        return cls([] if "pair" in deck.from_restart else style, coeffs, list(deck.pair_modifies), bonded)

    def change(self, line: int, word: int, text: str) -> None:
        """Replace a word of a ``pair_coeff`` line.

        Parameters
        ----------
        line, word : int
            Indices into `coeffs`.
        text : str
            The new word.

        Raises
        ------
        PotentialError
            If another source of parameters has changed it already.
        """
        _change(self.coeffs, self._changed, (line, word), text, "pair_coeff ")

    def change_bonded(self, line: int, word: int, text: str) -> None:
        """Replace a word of a command of bonded interactions; as `change`, with indices into `bonded`."""
        _change(self.bonded, self._changed_bonded, (line, word), text, "")

    def renew_bonded(self, line: int, words: Sequence[str]) -> None:
        """Replace a command of bonded interactions by other words, of which LAMMPS may have to substitute variables."""
        self._changed_bonded[line, 0] = words[0]
        self.bonded[line] = list(words)

    def lines(self) -> list[str]:
        """The fewest commands that install the changes.

        With a changed line come the lines of the same sub-style or kind after it, which may override it.
        """
        again = [] if self.renewed else self._following()
        hybrid = bool(self.style) and self.style[0].startswith("hybrid")
        styles = {words[2] for words in again if len(words) > 2} if hybrid else set(self.style[:1] if again else ())
        if any(plain_style(style) == "sw" for style in styles):
            styles |= {_KEEPING} & set(self.style)
        if self.renewed or any(map(_needs_reset, styles)):
            return self.complete_lines()
        return [
            *self.settings,
            *(_command("pair_coeff", words) for words in again),
            *self._bonded_lines(),
            *self.final,
        ]

    def complete_lines(self) -> list[str]:
        """Commands that set up the complete potential from scratch, but for bonded interactions that are unchanged."""
        reset = any(map(_needs_reset, self.style))
        return [
            *self.settings,
            *(["pair_style none"] if reset else []),
            *([_command("pair_style", self.style)] if self.style else []),
            *(_command("pair_coeff", words) for words in self.coeffs),
            *(_command("pair_modify", words) for words in self.modifies),
            *self._bonded_lines(),
            *self.final,
        ]

    def _following(self) -> list[list[str]]:
        """The first ``pair_coeff`` line that has changed, and those after it that may override it."""
        lines = {line for line, _ in self._changed}
        if not lines:
            return []
        after = self.coeffs[min(lines) :]
        if not self.style or not self.style[0].startswith(("hybrid/overlay", "hybrid/scaled")):
            return after
        changed = {self.coeffs[line][2] for line in lines}
        return [words for words in after if words[2] in changed]

    def _bonded_lines(self) -> list[str]:
        """For each kind, the first line of bonded interactions that has changed, and those after it."""
        first: dict[str, int] = {}
        for line, _ in sorted(self._changed_bonded):
            first.setdefault(self.bonded[line][0], line)
        return [
            _command(words[0], words[1:])
            for line, words in enumerate(self.bonded)
            if line >= first.get(words[0], len(self.bonded))
        ]


PairCommands = PotentialCommands
"""Earlier name of `PotentialCommands`, for packages that add families."""


def _change(
    lines: list[list[str]], changed: dict[tuple[int, int], str], place: tuple[int, int], text: str, command: str
) -> None:
    """Replace a word, and note which it was.

    Raises
    ------
    PotentialError
        If it has been replaced already.
    """
    line, word = place
    if place in changed:
        words = list(lines[line])
        for (other, index), before in changed.items():
            if other == line:
                words[index] = before
        raise PotentialError(
            f"two parameters change the word '{words[word]}' of '{command}{' '.join(words)}': choose the "
            "parameters of one family only"
        )
    changed[place] = lines[line][word]
    lines[line][word] = text


def bonded_words(deck: Deck, setting: Setting, written: bool = False) -> list[str]:
    """Words of a ``bond_coeff``, ``angle_coeff``, … command, the file of a table with its path.

    Parameters
    ----------
    deck : Deck
    setting : Setting
    written : bool
        Whether to take them as they are before variables are substituted.
    """
    words = list(setting.written if written else setting.words)
    _, first = bonded_style_of(deck, setting)
    if len(words) == len(setting.words) > first and not is_number(words[first]) and "$" not in words[first]:
        words[first] = _resolved(words[first], setting.directory)
    return words


def bonded_style_of(deck: Deck, setting: Setting) -> tuple[str, int]:
    """Style of a ``bond_coeff``, ``angle_coeff``, … command, and index of the first coefficient.

    With the keyword of a coupling of class 2 force fields: ``class2 bb``.
    """
    style, *_ = deck.bonded_styles.get(BONDED[setting.words[0]], ("",))
    first = 2
    if style.startswith("hybrid"):
        style, first = setting.words[2] if len(setting.words) > 2 else "", 3
    if style.startswith("class2") and len(setting.words) > first and not is_number(setting.words[first]):
        return f"{style} {setting.words[first]}", first + 1
    return style, first


def named_places(deck: Deck) -> list[tuple[Path, int, int]]:
    """Files that the pair commands of a deck name.

    Returns
    -------
    list of (Path, int, int)
        The file; index of the ``pair_coeff`` line, -1 for ``pair_style``; index of the word.
    """
    return [
        (path, number, place)
        for number, (args, files, folder) in enumerate(_lines_with_files(deck), -1)
        for place in sorted(files)
        if place < len(args) and (path := potential_file(args[place], folder)) is not None
    ]


def unsubstituted_lines(deck: Deck) -> list[list[str]]:
    """Arguments of ``pair_style`` and of each ``pair_coeff`` with their variables, files with their paths."""
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
    """Pair style of a ``pair_coeff`` line, and index of the first word after it.

    A style that the deck has several times comes with its number: ``eam/alloy:2``.
    """
    if not deck.pair_style[0].startswith("hybrid"):
        return deck.pair_style[0], 2
    style = line.args[2]
    if len(line.args) > 3 and deck.pair_style.count(style) > 1:
        return f"{style}:{line.args[3]}", 4
    return style, 3


def pair_styles(deck: Deck) -> list[str]:
    """Pair styles in force, those of a hybrid style as far as ``pair_coeff`` lines use them; see `style_of`."""
    if not deck.pair_style:
        return []
    if not deck.pair_style[0].startswith("hybrid"):
        return [deck.pair_style[0]]
    return list(dict.fromkeys(style_of(deck, line)[0] for line in deck.pair_coeffs))


def plain_style(style: str) -> str:
    """A pair style without the suffix of an accelerated variant and without the number of a repeated style."""
    style = style.partition(":")[0]
    for suffix in _ACCELERATED:
        style = style.removesuffix(suffix)
    return style


def coefficient_file(deck: Deck, line: PairCoeff, number: int = 0) -> Path | None:
    """The file that is word `number`, from 0, after the style of a ``pair_coeff`` line; None if it is not found."""
    _, first = style_of(deck, line)
    return potential_file(line.args[first + number], line.directory) if first + number < len(line.args) else None


def elements_after(words: Sequence[str]) -> tuple[str | None, ...]:
    """Elements of the atom types from the last words of a ``pair_coeff`` line; None for ``NULL``."""
    return tuple(None if word == "NULL" else word for word in words)


def _lines_with_files(deck: Deck) -> list[tuple[tuple[str, ...], Collection[int], Path]]:
    """Arguments of ``pair_style`` and of each ``pair_coeff``, indices of file names among them, and their folder."""
    folder = deck.raw_potential[0][1] if deck.raw_potential else Path()
    of_style = (deck.pair_style, _files_of_style(deck), folder)
    return [of_style, *((line.args, _files_of_line(deck, line), line.directory) for line in deck.pair_coeffs)]


def _files_of_style(deck: Deck) -> set[int]:
    """Indices of file names in ``pair_style``: after known keywords, and words that look like paths."""
    words = deck.pair_style or ("none",)
    hybrid = words[0].startswith("hybrid")
    styles = {words[0], *(line.args[2] for line in deck.pair_coeffs if hybrid)}
    known = {place + _FILE_AFTER[word] for place, word in enumerate(words) if word in _FILE_AFTER}
    return known | {place for place, word in enumerate(words) if word not in styles and _like_path(word)}


def _files_of_line(deck: Deck, line: PairCoeff) -> set[int]:
    """Indices of file names in a ``pair_coeff`` line.

    For styles not in `_FILES` these are the first word, unless it is a number, and words that look like paths.
    """
    style, first = style_of(deck, line)
    count = _FILES.get(plain_style(style))
    if count is not None:
        return set(range(first, first + count))
    words = line.args[first:]
    return {first + place for place, word in enumerate(words) if _like_path(word) or not (place or is_number(word))}


def _places(raw: Sequence[str], count: int) -> list[int | None]:
    """Index of each word among the `count` words after the substitution of variables; None where it is unknown.

    A variable may hold several words, so only indices up to the first variable and after the last one are known.
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


def _needs_reset(word: str) -> bool:
    return plain_style(word) in _NEEDS_RESET or word == _KEEPING


def _command(name: str, words: Sequence[str]) -> str:
    # LAMMPS substitutes no variables between quotes.
    return " ".join([name, *(word if "$" in word else _quoted(word) for word in words)])


def _quoted(word: str) -> str:
    return f'"{word}"' if any(character in word for character in " \t#&") else word
