"""Variables that a user sets before a deck runs, as LAMMPS commands."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lammps_implicit.errors import DeckError

_QUOTES = ('"', "'", '"""')


def index_variables(variables: Mapping[str, object]) -> list[str]:
    """Commands that set index variables before a deck runs, so that its own ``variable NAME index`` is ignored.

    LAMMPS' option ``-var`` does the same, but takes a value that begins with a hyphen for its next option.

    Parameters
    ----------
    variables : mapping of str to object
        Values by name; a value may be several words.

    Raises
    ------
    DeckError
        If LAMMPS would not accept a name, or not read back a value.
    """
    return [_command(name, str(value)) for name, value in variables.items()]


def _command(name: str, value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise DeckError(f"variable '{name}': names of LAMMPS' variables are letters, digits and underscores")
    words = value.split()
    if not words:
        raise DeckError(f"variable '{name}' has no value")
    return " ".join(["variable", name, "index", *(_quoted(name, word) for word in words)])


def _quoted(name: str, word: str) -> str:
    quote = next((quote for quote in _QUOTES if quote not in word and not word.endswith(quote[0])), None)
    if quote is None or not word.isprintable():
        raise DeckError(
            f"variable '{name}': LAMMPS cannot read the value {word!r}; leave out quotes and unprintable signs"
        )
    return f"{quote}{word}{quote}"
