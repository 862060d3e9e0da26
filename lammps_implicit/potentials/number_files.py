"""Text files that contain parameters: when they are rewritten, everything else is kept as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.units import decimal

LONGEST = 2**26
"""Bytes, 64 MiB, of the longest file that `require_finite` reads: below a second, and tables are shorter."""

_NOT_FINITE = re.compile(rb"(?<!\S)[-+]?(?:nan|inf|infinity)(?!\S)", re.IGNORECASE)

_ELEMENTS = 4
"""Largest number of elements, or other words, before the numbers of a line."""

_WORD = re.compile(r"\S+")

Span = tuple[int, int, int]
"""Line, first column, and column after the last of a word."""


@dataclass(frozen=True)
class NumberFile:
    """A text file and the positions of its parameters.

    Attributes
    ----------
    lines : tuple of str
        With their line ends.
    spans : tuple of (int, int, int)
        Line, first column, and column after the last of each parameter.
    names : tuple of str
        Labels of the parameters.
    """

    lines: tuple[str, ...]
    spans: tuple[Span, ...]
    names: tuple[str, ...]

    @property
    def values(self) -> FloatArray:
        """Values of the parameters, (P,)."""
        return np.array([float(self.lines[row][start:stop]) for row, start, stop in self.spans])

    def text(self, values: FloatArray) -> str:
        """Text of the file with other values, (P,); numbers that do not change stay as they were written."""
        lines = list(self.lines)
        pairs = list(zip(values, self.values, self.spans, strict=True))
        for value, old, (row, start, stop) in reversed(pairs):  # from the end, so that columns before stay valid
            if value != old:
                lines[row] = lines[row][:start] + repr(float(value)) + lines[row][stop:]
        return "".join(lines)


def text_of(path: Path) -> str:
    """Text of a file with its line ends; where it is not UTF-8, as older files, Latin-1, which has all bytes but zeros.

    Raises
    ------
    PotentialError
        If the file cannot be read, or is no text.
    """
    content = b""
    try:
        content = path.read_bytes()
        return content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        if not content or b"\0" in content:
            raise PotentialError(f"cannot read {path}: {error}") from None
        return content.decode("latin-1")


class Reader:
    """Words of a text file, line by line, without comments.

    Parameters
    ----------
    path : Path

    Raises
    ------
    PotentialError
        If the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = tuple(text_of(path).splitlines(keepends=True))

    def rows(self) -> list[tuple[int, list[re.Match[str]]]]:
        """Number, from 0, and words of each line that is not empty."""
        split = [(row, list(_WORD.finditer(line.split("#", 1)[0]))) for row, line in enumerate(self.lines)]
        return [(row, words) for row, words in split if words]

    def file(self, rows: Sequence[tuple[int, list[re.Match[str]]]], names: Sequence[str]) -> NumberFile:
        """The file with the words of some lines as parameters.

        Parameters
        ----------
        rows : sequence
            Some of `rows`, whose words are all parameters.
        names : sequence of str
            Labels of the parameters.

        Raises
        ------
        PotentialError
            If a word is not a number, or their count is not that of the names.
        """
        spans = [(row, word.start(), word.end()) for row, words in rows for word in words]
        if len(spans) != len(names):
            raise PotentialError(f"{self.path}: {len(spans)} coefficients, expected {len(names)}")
        require_numbers(self.path, self.lines, spans)
        return NumberFile(self.lines, tuple(spans), tuple(names))


def require_numbers(path: Path, lines: Sequence[str], spans: Sequence[Span]) -> None:
    """Check that numbers stand where they are expected.

    Raises
    ------
    PotentialError
    """
    for row, start, stop in spans:
        try:
            decimal(lines[row][start:stop])
        except ValueError as error:
            raise PotentialError(f"{path}, line {row + 1}: {error}") from None


def require_finite(path: Path) -> None:
    """Check that no number in a text file is infinite or NaN: LAMMPS would minimise for ever.

    That is a number in a line of numbers, after the elements of an entry of a potential file (``Si Si Si nan``), after
    an equals sign (``rc = nan``), or before its name (``nan A_CC``).

    Parameters
    ----------
    path : Path
        Files that are longer than `LONGEST`, or cannot be read, are left to LAMMPS.

    Raises
    ------
    PotentialError
    """
    try:
        content = path.read_bytes() if path.stat().st_size <= LONGEST else b""
    except OSError:
        return
    for match in _NOT_FINITE.finditer(content):
        start = content.rfind(b"\n", 0, match.start()) + 1
        *before, word = content[start : match.end()].decode("utf-8", "replace").split()
        after = content[match.end() :].partition(b"\n")[0].decode("utf-8", "replace").split()
        continued = content[:start].rstrip(b" \t\r\n").endswith(b"&")
        if not continued and _stands_as_number(before, after):
            row = content.count(b"\n", 0, start) + 1
            raise PotentialError(f"{path}, line {row}: '{word}' is not a finite number")


def _stands_as_number(before: Sequence[str], after: Sequence[str]) -> bool:
    """Whether a word of a file is meant as a number, given the words before and after it in its line."""
    if not before:
        return len(after) < 2 or is_number(after[0])
    if before[-1] == "=":
        return len(before) <= _ELEMENTS
    elements = next((k for k, word in enumerate(before) if is_number(word)), len(before))
    return (
        elements <= _ELEMENTS
        and all(word[0].isupper() for word in before[:elements])
        and all(map(is_number, before[elements:]))
    )


def is_number(word: str) -> bool:
    """Whether a word can be read as a number."""
    try:
        float(word)
    except ValueError:
        return False
    return True
