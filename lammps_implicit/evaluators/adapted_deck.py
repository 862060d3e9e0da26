"""Decks that hide their commands, or end or crash the process: copies that do not, for LAMMPS to run in their place.

LAMMPS itself cannot be told to ignore ``quit`` and ``echo``. All other text stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

QUIT = "li_quit"
"""What ``quit`` is replaced by: no command, so that LAMMPS stops there and stays alive."""

REPLICAS = "li_replicas_"
"""What commands that need several replicas are prefixed with, likewise: LAMMPS with one crashes when it is closed after
them."""

_OF_REPLICAS = ("neb", "neb/spin", "tad", "temper", "temper/npt", "temper/grem")
"""Commands that work with several partitions only (LAMMPS documentation)."""

_WORD = r'""".*?"""|"[^"]*"|\'[^\']*\'|[^\s"\']+'

_FIRST = re.compile(rf"\s*({_WORD})", re.DOTALL)

_COMMAND = re.compile(r'(?:""".*?"""|&[ \t]*\r?\n|[^\n])*\n|(?:""".*?"""|&[ \t]*\r?\n|[^\n])+\Z', re.DOTALL)
"""A command with its continuation lines, or a line of anything else; together they are the whole text."""

_MOST = 100
"""Files that are looked into at most."""

Edit = Callable[[str, str], str]
"""Takes the name of a command and its text, and returns another text."""


def adapted_deck(path: Path, folder: Path) -> Path:
    """Return the deck, or a copy that stops at ``quit`` and at what needs replicas, and hides no command.

    Files that it includes or jumps to, by names without variables, are treated alike.

    Parameters
    ----------
    path : Path
        Absolute path of the deck.
    folder : Path
        Where copies are written.
    """
    texts = _reachable(path)
    copies = {
        file: folder / f"{number}-{file.name}"
        for number, (file, text) in enumerate(texts.items())
        if _edited(text, _tamed) != text
    }
    while True:  # who names a copied file is copied too
        more = [file for file, text in texts.items() if file not in copies and _names(text, path.parent) & set(copies)]
        if not more:
            break
        copies |= {file: folder / f"{len(copies) + number}+{file.name}" for number, file in enumerate(more)}

    def adapt(command: str, line: str) -> str:
        named = _named(command, line)
        copy = copies.get((path.parent / named).absolute()) if named else None
        return _tamed(command, line) if copy is None else line.replace(named, str(copy), 1)

    for file, copy in copies.items():
        copy.write_text(_edited(texts[file], adapt), encoding="utf-8", errors="surrogateescape", newline="")
    return copies.get(path, path)


def _reachable(path: Path) -> dict[Path, str]:
    """Text of the deck and of the files that it names, directly or not, which can be read."""
    texts: dict[Path, str] = {}
    waiting = [path]
    while waiting and len(texts) < _MOST:
        file = waiting.pop(0)
        if file in texts:
            continue
        try:
            with open(file, encoding="utf-8", errors="surrogateescape", newline="") as opened:
                texts[file] = opened.read()
        except OSError:  # LAMMPS tells
            continue
        waiting += sorted(_names(texts[file], path.parent))
    return texts


def _names(text: str, start: Path) -> set[Path]:
    """Files that a text includes or jumps to, relative to `start`."""
    found: set[Path] = set()

    def note(command: str, line: str) -> str:
        named = _named(command, line)
        if named:
            found.add((start / named).absolute())
        return line

    _edited(text, note)
    return found


def _edited(text: str, edit: Edit) -> str:
    return "".join(_edited_line(line, edit) for line in _COMMAND.findall(text))


def _edited_line(line: str, edit: Edit) -> str:
    """A command, edited; of an ``if``, the commands that it may execute."""
    first = _FIRST.match(line)
    if first is None:
        return line
    if first[1] != "if":
        return edit(first[1], line)

    def word(found: re.Match[str]) -> str:
        quote = found[0][0] if found[0][0] in "\"'" else ""
        inner = found[0].strip(quote) if quote else found[0]
        return quote + _edited_line(inner, edit) + quote if inner != "if" else found[0]

    return re.sub(_WORD, word, line, flags=re.DOTALL)


def _tamed(command: str, line: str) -> str:
    """``quit``, and what needs replicas, as commands that LAMMPS does not know; ``echo`` without effect."""
    if command in _OF_REPLICAS:
        return line.replace(command, REPLICAS + command, 1)
    if command == "quit":
        return line.replace("quit", QUIT, 1)
    if command == "echo" and not re.search(r"\b(screen|both)\b", line):
        return re.sub(r"(echo\s+)\w+", r"\1both", line, count=1)
    return line


def _named(command: str, line: str) -> str:
    """The file that an ``include`` or ``jump`` command names; empty for other commands, ``SELF`` and variables."""
    words = re.findall(_WORD, line, flags=re.DOTALL)
    if command not in ("include", "jump") or len(words) < 2:
        return ""
    name = str(words[1]).strip("\"'")
    return "" if name == "SELF" or "$" in name else name
