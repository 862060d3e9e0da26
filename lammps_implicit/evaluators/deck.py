"""The settings of an input deck, read from the commands that LAMMPS echoed while it ran the deck.

LAMMPS echoes every command with its variables substituted, and each command of an include file, a loop or an ``if``
when it is executed. Reading this transcript requires no parser of LAMMPS' input language.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lammps_implicit.errors import DeckError
from lammps_implicit.evaluators.data_coefficients import data_commands

_BLOCK = '"""'

_QUOTED = r'""".*?"""|"[^"]*"|\'[^\']*\''
"""Text in which LAMMPS substitutes no variables when it reads a command."""

_TRUE = ("yes", "on", "true")

_LONGEST_VALUE = 1000
"""Lines by which variables may lengthen the output of a ``print`` command."""


BONDED = {f"{kind}_coeff": kind for kind in ("bond", "angle", "dihedral", "improper")}
"""Commands that set coefficients of bonded interactions, and their kinds."""


@dataclass(frozen=True)
class PairCoeff:
    """One ``pair_coeff`` command: its arguments, and the working directory when it was issued."""

    args: tuple[str, ...]
    directory: Path


@dataclass(frozen=True)
class Setting:
    """A command that sets coefficients of bonded interactions, charges or the dielectric constant.

    Attributes
    ----------
    words : tuple of str
        The command and its arguments.
    written : tuple of str
        The same before variables were substituted.
    directory : Path
        The working directory when it was issued.
    """

    words: tuple[str, ...]
    written: tuple[str, ...]
    directory: Path


@dataclass(frozen=True)
class Fix:
    """One ``fix`` command: its ID, group, style and further arguments, and the working directory when it was issued."""

    id: str
    group: str
    style: str
    args: tuple[str, ...]
    directory: Path = Path()

    def __str__(self) -> str:
        return f"fix {self.id} {self.group} {' '.join((self.style, *self.args))}"

    def command(self, id: str | None = None) -> str:
        """The command, with another ID if one is given; words that LAMMPS would split are quoted."""
        words = (self.id if id is None else id, self.group, self.style, *self.args)
        return "fix " + " ".join(f'"{word}"' if any(sign in word for sign in " \t#&") else word for word in words)


@dataclass
class History:
    """What a deck has done that its last structure depends on.

    Attributes
    ----------
    minimisations : int
        Number of ``minimize`` commands.
    stopped : str
        LAMMPS' reason for the end of the last one.
    looped : bool
        Whether the deck jumps.
    dynamics : str
        The last ``run`` command of more than 0 steps after the last minimisation; empty if there was none.
    quit : bool
        Whether the deck said ``quit``.
    read : bool
        Whether this was read from LAMMPS' output, rather than left at its defaults.
    """

    minimisations: int = 0
    stopped: str = ""
    looped: bool = False
    dynamics: str = ""
    quit: bool = False
    read: bool = False

    def take(self, command: str, args: tuple[str, ...]) -> None:
        """Take in a command that the deck has issued."""
        if command == "minimize":
            self.minimisations += 1
            self.dynamics = self.stopped = ""
        elif command == "run" and args and args[0] != "0":
            self.dynamics = " ".join((command, *args[:1]))
        elif command == "jump":
            self.looped = True

    def __str__(self) -> str:
        """Why the last structure may be no minimum, in brackets after a sentence; empty if that is not known."""
        if not self.read:
            return ""
        if self.dynamics:
            since = "its last minimisation" if self.minimisations else "no minimisation"
            return f" (it runs dynamics after {since}: '{self.dynamics}')"
        if not self.minimisations:
            return " (it minimises nothing)"
        return f" (its last minimisation stopped with '{self.stopped}')" if self.stopped else ""


@dataclass
class Deck:
    """Settings in force after a deck has run.

    Attributes
    ----------
    units : str
        LAMMPS unit style (``lj`` is LAMMPS' default).
    dimension : int
        2 or 3.
    skin : float or None
        Skin distance of the last ``neighbor`` command, in the deck's unit of length; None for LAMMPS' default.
    pair_style : tuple of str
        Arguments of the last ``pair_style`` command.
    pair_coeffs : list of PairCoeff
        ``pair_coeff`` commands issued for that pair style.
    fixes : dict of str to Fix
        Fixes still defined, by ID.
    pair_modifies : list of tuple of str
        Arguments of the ``pair_modify`` commands issued for that pair style.
    kspace : list of tuple of str
        Words of the last ``kspace_style`` command and of the ``kspace_modify`` commands, which apply to it.
    bonded : set of str
        Which ``*_coeff`` commands of bonded interactions were issued: ``bond``, ``angle``, ``dihedral``, ``improper``.
    raw_potential : list of (tuple of str, Path)
        Words of the last ``pair_style`` command and its ``pair_coeff`` commands before variables were substituted,
        each with the working directory when it was issued.
    bonded_styles : dict of str to tuple of str
        Arguments of the last ``bond_style``, ``angle_style``, … command, by kind.
    bonded_coeffs : list of Setting
        ``bond_coeff``, ``angle_coeff``, … commands for these styles, and what data files set instead of them.
    charges : list of Setting
        ``set`` commands that set charges.
    dielectric : Setting or None
        The last ``dielectric`` command.
    from_data : set of str
        Whose coefficients a data file has set: ``pair``, ``bond``, ``angle``, ``dihedral``, ``improper``.
    restarted : bool
        Whether the deck has read a restart file.
    from_restart : set of str
        Whose styles and coefficients it has from there, as `from_data`: see `fill_from_restart`.
    definitions : dict of str to tuple of str
        Arguments after the name of each compute (``c_NAME``) and variable (``v_NAME``), by that reference.
    run_style : str
        Style of the last ``run_style`` command.
    with_energy : set of str
        IDs of the fixes whose energy LAMMPS minimises with (``fix_modify ID energy yes``).
    history : History
        Minimisations and runs, since LAMMPS started.
    """

    units: str = "lj"
    dimension: int = 3
    skin: float | None = None
    pair_style: tuple[str, ...] = ()
    pair_coeffs: list[PairCoeff] = field(default_factory=list)
    fixes: dict[str, Fix] = field(default_factory=dict)
    pair_modifies: list[tuple[str, ...]] = field(default_factory=list)
    kspace: list[tuple[str, ...]] = field(default_factory=list)
    bonded: set[str] = field(default_factory=set)
    raw_potential: list[tuple[tuple[str, ...], Path]] = field(default_factory=list)
    bonded_styles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    bonded_coeffs: list[Setting] = field(default_factory=list)
    charges: list[Setting] = field(default_factory=list)
    dielectric: Setting | None = None
    from_data: set[str] = field(default_factory=set)
    restarted: bool = False
    from_restart: set[str] = field(default_factory=set)
    definitions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    run_style: str = "verlet"
    with_energy: set[str] = field(default_factory=set)
    history: History = field(default_factory=History)

    @property
    def pressure(self) -> tuple[float, ...]:
        """Target of the deck's ``fix box/relax``: components (xx, yy, zz, yz, xz, xy) in LAMMPS' unit of pressure.

        Zero for components that are not given, and for decks without that fix.
        """
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
    """Return the absolute path of a deck.

    Raises
    ------
    DeckError
        If it is not a readable file.
    """
    deck = Path(path).absolute()
    if not deck.is_file():
        raise DeckError(f"input deck {path} does not exist or is not a file: check its path")
    if not os.access(deck, os.R_OK):
        raise DeckError(f"input deck {path} cannot be read: you have no read permission")
    return deck


def read_transcript(text: str, directory: Path) -> Deck:
    """Collect a deck's settings from LAMMPS' screen output.

    Parameters
    ----------
    text : str
        Everything LAMMPS printed with ``-echo screen``.
    directory : Path
        Working directory when the deck started.

    Returns
    -------
    Deck

    Raises
    ------
    DeckError
        If the deck turned the echo off, so that its later commands are unknown.
    """
    deck = Deck(history=History(read=True))
    raw: list[str] = []
    lines = iter(text.split("\n"))  # not `splitlines`: LAMMPS ends lines at line feeds only
    for line in lines:
        while line.count(_BLOCK) % 2:  # a quoted string of several lines
            line += "\n" + next(lines, _BLOCK)
        words = _words(line)
        if not words:
            continue
        if _to_be_substituted(line):
            # LAMMPS echoes the line again each time it has substituted a variable.
            raw = raw or words
            continue
        raw, written = [], raw or words
        command, args = words[0], tuple(words[1:])
        deck.history.take(command, args)
        if command == "clear":
            deck = Deck(history=deck.history)
        elif command == "Stopping":
            deck.history.stopped = " ".join(args).removeprefix("criterion = ")
        elif command == "print" and args:
            # Its output follows at once, and is no command even if it looks like one.
            lines = _after_output(lines, _printed_rows(args))
        elif command == "shell" and args[:1] == ("cd",) and len(args) > 1:
            directory = Path(os.path.normpath(directory / args[1]))
        elif command == "echo" and args and args[0] not in ("screen", "both"):
            raise DeckError(
                f"the deck hides its own commands with 'echo {args[0]}', so that its potential and fixes are "
                "not known: remove that line, or write 'echo both'"
            )
        else:
            if command == "pair_style":
                deck.raw_potential = deck.raw_potential[1:] if _same_style(deck, args) else []
                deck.raw_potential.insert(0, (tuple(written), directory))
            _declare(deck, command, args, directory)
            if command == "pair_coeff":
                deck.raw_potential.append((tuple(written), directory))
            _declare_setting(deck, Setting(tuple(words), tuple(written), directory))
    return deck


def _declare_setting(deck: Deck, setting: Setting) -> None:
    """Note a command about bonded interactions or charges; of data files, the commands that their sections replace."""
    command, *args = setting.words
    kind = command.removesuffix("_style")
    if command in BONDED and args:
        deck.bonded_coeffs.append(setting)
    elif kind in BONDED.values() and args:
        # LAMMPS makes the style anew, even if it is the same.
        deck.bonded_styles[kind] = tuple(args)
        deck.bonded_coeffs = [line for line in deck.bonded_coeffs if BONDED[line.words[0]] != kind]
    elif command == "set" and "charge" in args[2:]:
        deck.charges.append(setting)
    elif command == "dielectric" and args:
        deck.dielectric = setting
    elif command == "read_restart":
        deck.restarted = True
    elif command == "read_data" and args:
        for words in data_commands(args, setting.directory, deck.pair_style, deck.bonded_styles):
            line = Setting(words, words, setting.directory)
            deck.from_data.add(words[0].removesuffix("_coeff"))
            if words[0] in BONDED:
                deck.bonded_coeffs.append(line)
            else:
                deck.pair_coeffs.append(PairCoeff(words[1:], setting.directory))
                deck.raw_potential.append((words, setting.directory))


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
    elif command == "kspace_style" and args:
        deck.kspace = [(command, *args)]
    elif command == "kspace_modify" and args:
        deck.kspace.append((command, *args))
    elif command in BONDED and args:
        deck.bonded.add(BONDED[command])
    elif command == "fix" and len(args) >= 3:
        deck.fixes[args[0]] = Fix(args[0], args[1], args[2], args[3:], directory)
    elif command == "fix_modify" and args[1:3] == ("energy", "yes"):
        deck.with_energy.add(args[0])
    elif command == "run_style" and args:
        deck.run_style = args[0]
    elif command in ("compute", "variable") and len(args) >= 2:
        deck.definitions[f"{command[0]}_{args[0]}"] = args[1:]
    elif command == "unfix" and len(args) == 1:
        deck.fixes.pop(args[0], None)


def _same_style(deck: Deck, args: tuple[str, ...]) -> bool:
    """Whether a ``pair_style`` command repeats the style in force: LAMMPS then keeps coefficients and modifications."""
    return args[:1] == deck.pair_style[:1] and not "".join(args[:1]).startswith("hybrid")


def _printed_rows(args: Sequence[str]) -> list[str]:
    """The rows that a ``print`` command with these arguments writes to the screen, before variables are substituted."""
    options = dict(zip(args[1::2], args[2::2], strict=False))
    rows = args[0].split("\n")
    # LAMMPS' universe has the same screen.
    copies = (options.get("screen", "yes") in _TRUE) + (options.get("universe", "no") in _TRUE)
    return rows * copies


def _after_output(lines: Iterator[str], rows: Sequence[str]) -> Iterator[str]:
    """The lines after the output of a ``print`` command; warnings raised by its variables may come before it.

    Raises
    ------
    DeckError
        If the output is not found.
    """
    if not rows:
        return lines
    pattern = re.compile("\n".join(map(_as_printed, rows)), re.DOTALL)
    found: list[str] = []
    for line in lines:
        if found or not line.startswith("WARNING"):
            found.append(line)
        if len(found) >= len(rows) and pattern.fullmatch("\n".join(row.rstrip() for row in found)):
            return lines
        if len(found) > len(rows) + _LONGEST_VALUE:
            break
    raise DeckError(f"the output of 'print {rows[0]}' is not found in LAMMPS' output: remove that line from the deck")


def _as_printed(row: str) -> str:
    """Pattern of the output of a row of a ``print`` command; variables, substituted on output, match anything."""
    parts = re.split(r"\$\{[^}]*\}|\$\([^$]*\)|\$\w", row)
    pattern = ".*".join(map(re.escape, [*parts[:-1], parts[-1].rstrip()]))
    return re.sub(r"[^\x00-\x7f]", ".{0,3}", pattern)  # LAMMPS replaces other characters by similar ones


def _to_be_substituted(line: str) -> bool:
    """Whether LAMMPS is about to substitute a variable in a command: a ``$`` outside quotes and comments."""
    bare = re.sub(_QUOTED, "", line, flags=re.DOTALL)
    return "$" in bare.split("#", 1)[0]


def _words(line: str) -> list[str]:
    """Split a command as LAMMPS does: quotes protect blanks, ``#`` outside quotes starts a comment."""
    if not line[:1].isalpha() and not line[:1].isspace():
        return []
    if _BLOCK in line:
        start, block, end = [*line.split(_BLOCK), "", ""][:3]
        return [*start.split(), block, *end.split()]
    try:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
        lexer.whitespace, lexer.whitespace_split = " \t\r\n\f", True
        lexer.commenters = "#"
        lexer.escape = ""
        return list(lexer)
    except ValueError:  # an unbalanced quote: a message of LAMMPS, not a command
        return line.split("#", 1)[0].split()


def writing_commands(path: Path, deck: Deck, bonded: bool) -> list[str]:
    """Commands that write a data file as a deck expects it: with coefficients of pairs, of bonds, …, or none.

    Parameters
    ----------
    path : Path
    deck : Deck
    bonded : bool
        Whether coefficients of bonded interactions belong to it.
    """
    write = f'write_data "{path}" noinit'
    if "pair" not in deck.from_data:
        return [write if bonded else f"{write} nocoeff"]
    if not any("tail" in words for words in deck.pair_modifies):
        return [f"{write} pair ij"]
    # LAMMPS mixes coefficients on one rank, and there waits for the others to sum up tail corrections.
    again = [f"pair_modify {' '.join(words)}" for words in deck.pair_modifies]
    return ["pair_modify tail no", f"{write} pair ij", *again]
