"""Inputs: files that a command reads, over which nothing is written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from lammps_implicit.errors import OutputError

_TEXT_BYTES = 2**20
"""Bytes of the longest text that is searched for the names of further files; decks and configurations are shorter."""

_WORDS = re.compile(rb"[^\s'\"=,:;{}\[\]()]+")

_inputs: set[Path] = set()


def protect_inputs(names: Iterable[str | os.PathLike[str]], folders: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Declare the inputs of this command, so that no output replaces one of them.

    Files that their texts name are inputs too: decks of a configuration, data and potential files of a deck.

    Parameters
    ----------
    names : iterable of path
        Words that may name files; those that do not are left out.
    folders : iterable of path
        Where files are found besides the folder of the file that names them and the working directory.
    """
    _inputs.update(named_files(names, [Path.cwd(), *folders]))


def named_files(names: Iterable[str | os.PathLike[str]], folders: Iterable[str | os.PathLike[str]]) -> set[Path]:
    """Files among some words, and those that the texts of these name, and so on.

    Parameters
    ----------
    names : iterable of path
        Words that may name files.
    folders : iterable of path
        Where files are found besides the folder of the file that names them.

    Returns
    -------
    set of Path
        Without symbolic links.
    """
    places = list(map(Path, folders))
    waiting = [place / name for name in names for place in places]
    known: set[Path] = set()
    while waiting:
        path = waiting.pop()
        found = _regular_file(path)
        if found is None or found in known:
            continue
        known.add(found)
        waiting += [place / name for name in _named_in(found) for place in (path.parent, found.parent, *places)]
    return known


def forget_inputs() -> None:
    """Undo `protect_inputs`."""
    _inputs.clear()


def refuse_inputs(output: str | os.PathLike[str], *inputs: str | os.PathLike[str]) -> None:
    """Check that an output file is none of the given inputs, nor one that `protect_inputs` knows.

    Raises
    ------
    OutputError
        If it is.
    """
    target = Path(output)
    for path in (*_inputs, *map(Path, inputs)):
        if path.resolve() == target.resolve() or _same(path, target):
            raise OutputError(f"{output} is also an input file: choose another name for the output")


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


def _regular_file(path: Path) -> Path | None:
    try:
        return path.resolve() if path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # a word that is no name of a file
        return None


def _named_in(path: Path) -> set[str]:
    """Words of a short text, among which are the names of further files; none if it is not a text."""
    try:
        if path.stat().st_size > _TEXT_BYTES:
            return set()
        text = path.read_bytes()
    except OSError:
        return set()
    if b"\0" in text:
        return set()
    words = {os.fsdecode(word) for word in _WORDS.findall(text)}
    return {word for word in words if re.search(r"[^\d.+eE-]", word)}  # but numbers
