"""What an input deck declared, read from the commands LAMMPS echoed while it ran.

LAMMPS writes every command again after substituting variables, and each command of an include file, a loop or an
``if`` as it executes it. Reading that transcript needs no knowledge of LAMMPS' input language.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from lammps_implicit.errors import DeckError

_BLOCK = '"""'


@dataclass(frozen=True)
class PairCoeff:
    """One ``pair_coeff`` command: its arguments and the folder it was issued from."""

    args: tuple[str, ...]
    directory: Path


@dataclass(frozen=True)
class Fix:
    """One ``fix`` command."""

    id: str
    group: str
    style: str
    args: tuple[str, ...]

    def __str__(self) -> str:
        return f"fix {self.id} {self.group} {' '.join((self.style, *self.args))}"


@dataclass
class Deck:
    """State that a deck's commands left behind.

    Attributes
    ----------
    units : str
        LAMMPS' unit style; its default is ``lj``.
    dimension : int
        2 or 3.
    skin : float or None
        Of the last ``neighbor`` command; None for LAMMPS' default.
    pair_style : tuple of str
        Arguments of the last ``pair_style``.
    pair_coeffs : list of PairCoeff
        Those issued since.
    fixes : dict of str to Fix
        Fixes still defined, by ID.
    pair_modifies : list of tuple of str
        Arguments of ``pair_modify`` since.
    raw_potential : list of (tuple of str, Path)
        Words of the last ``pair_style`` and of the ``pair_coeff`` lines since, variables not substituted, and the
        folders they were issued from.
    """

    units: str = "lj"
    dimension: int = 3
    skin: float | None = None
    pair_style: tuple[str, ...] = ()
    pair_coeffs: list[PairCoeff] = field(default_factory=list)
    fixes: dict[str, Fix] = field(default_factory=dict)
    pair_modifies: list[tuple[str, ...]] = field(default_factory=list)
    raw_potential: list[tuple[tuple[str, ...], Path]] = field(default_factory=list)

    @property
    def pressure(self) -> tuple[float, ...]:
        """What its ``fix box/relax`` holds the cell at: components (xx, yy, zz, yz, xz, xy) in LAMMPS' unit."""
        held = dict.fromkeys(("x", "y", "z", "yz", "xz", "xy"), 0.0)
        for fix in self.fixes.values():
            if fix.style == "box/relax":
                words = iter(fix.args)
                for word in words:
                    if word in ("iso", "aniso", "tri"):
                        held.update(dict.fromkeys("xyz", float(next(words))))
                    elif word in held:
                        held[word] = float(next(words))
                    elif word in ("couple", "dilate", "vmax", "nreset", "scalexy", "scaleyz", "scalexz"):
                        next(words)
        return tuple(held.values())


def deck_path(path: str | os.PathLike[str]) -> Path:
    """Return the deck's absolute path.

    Raises
    ------
    DeckError
        If there is no readable file.
    """
    deck = Path(path).absolute()
    if not deck.is_file():
        raise DeckError(f"input deck {path} does not exist or is not a file")
    if not os.access(deck, os.R_OK):
        raise DeckError(f"input deck {path} cannot be read: permission denied")
    return deck


def read_transcript(text: str, directory: Path) -> Deck:
    """Read the commands LAMMPS echoed into a `Deck`.

    Parameters
    ----------
    text : str
        Everything LAMMPS printed with ``-echo screen``.
    directory : Path
        Working directory when the deck started.

    Raises
    ------
    DeckError
        If the deck turned the echo off, so that its later commands are unknown.
    """
    deck = Deck()
    raw: list[str] = []
    printed: list[re.Pattern[str]] = []
    lines = iter(text.splitlines())
    for line in lines:
        if printed and printed[0].fullmatch(line.strip()):
            printed.pop(0)  # what a print command wrote is not a command, however much it looks like one
            continue
        while line.count(_BLOCK) % 2:  # a text of several lines
            line += "\n" + next(lines, _BLOCK)
        words = _words(line)
        if not words:
            continue
        if words[0] != "print" and any("$" in word for word in words):
            # LAMMPS writes the line again with the values of its variables, one after the other.
            raw = raw or words
            continue
        raw, written = [], raw or words
        command, args = words[0], tuple(words[1:])
        if command == "clear":
            deck = Deck()
        elif command == "print" and args:
            printed = [_as_printed(row) for row in args[0].strip("\n").splitlines()]
        elif command == "shell" and args[:1] == ("cd",) and len(args) > 1:
            directory = Path(os.path.normpath(directory / args[1]))
        elif command == "echo" and args and args[0] not in ("screen", "both"):
            raise DeckError(
                f"the deck hides its own commands with 'echo {args[0]}', so its potential and fixes cannot be read "
                "back: remove that line, or write 'echo both'"
            )
        else:
            if command == "pair_style":
                deck.raw_potential = deck.raw_potential[1:] if _same_style(deck, args) else []
                deck.raw_potential.insert(0, (tuple(written), directory))
            _declare(deck, command, args, directory)
            if command == "pair_coeff":
                deck.raw_potential.append((tuple(written), directory))
    return deck


def _declare(deck: Deck, command: str, args: tuple[str, ...], directory: Path) -> None:
    if command == "units" and len(args) == 1:
        deck.units = args[0]
    elif command == "dimension" and args in (("2",), ("3",)):
        deck.dimension = int(args[0])
    elif command == "neighbor" and len(args) == 2:
        deck.skin = float(args[0])
    elif command == "pair_style" and args:
        if not _same_style(deck, args):
            deck.pair_coeffs, deck.pair_modifies = [], []
        deck.pair_style = args
    elif command == "pair_coeff" and len(args) >= 2:
        deck.pair_coeffs.append(PairCoeff(args, directory))
    elif command == "pair_modify" and args:
        deck.pair_modifies.append(args)
    elif command == "fix" and len(args) >= 3:
        deck.fixes[args[0]] = Fix(args[0], args[1], args[2], args[3:])
    elif command == "unfix" and len(args) == 1:
        deck.fixes.pop(args[0], None)


def _same_style(deck: Deck, args: tuple[str, ...]) -> bool:
    """Whether a ``pair_style`` only changes settings of the one before: coefficients and modifications stay."""
    return args[:1] == deck.pair_style[:1] and args[:1] not in ((), ("hybrid",), ("hybrid/overlay",))


def _as_printed(row: str) -> re.Pattern[str]:
    """Pattern of what ``print`` writes for a row of its text: variables, substituted only then, match anything."""
    parts = re.split(r"\$\{[^}]*\}|\$\([^)]*\)|\$\w", row.strip())
    return re.compile(".*".join(map(re.escape, parts)))


def _words(line: str) -> list[str]:
    """Split a command as LAMMPS does: quotes keep blanks, ``#`` outside quotes starts a comment."""
    if not line[:1].isalpha() and not line[:1].isspace():
        return []
    if _BLOCK in line:
        start, block, end = [*line.split(_BLOCK), "", ""][:3]
        return [*start.split(), block, *end.split()]
    try:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
        lexer.whitespace_split = True
        lexer.commenters = "#"
        lexer.escape = ""
        return list(lexer)
    except ValueError:  # an unbalanced quote: LAMMPS' own messages, not a command
        return line.split("#", 1)[0].split()
