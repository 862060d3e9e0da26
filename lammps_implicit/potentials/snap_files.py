"""SNAP coefficient and parameter files, read, changed and written without loss of comments or precision.

For the formats see https://docs.lammps.org/pair_snap.html
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.files import written_whole
from lammps_implicit.units import decimal

# LAMMPS separates words at these characters and lines at newlines only, where Python's own rules are wider.
_WORD = re.compile(r"[^ \t\r\n\f\"']+")


LARGEST_TWOJMAX = 40
"""Beyond this LAMMPS asks for so much memory that it ends the process; potentials in use have up to 14."""


@dataclass(frozen=True)
class ElementBlock:
    """First line of an element's block of coefficients.

    Attributes
    ----------
    element : str
        Name as in the file.
    radius : float
        Cutoff radius in units of ``rcutfac``; the cutoff of a pair is ``(R_i + R_j) * rcutfac``.
    weight : float
        Dimensionless weight as a neighbour.
    """

    element: str
    radius: float
    weight: float


@dataclass(frozen=True)
class CoefficientFile:
    """A ``.snapcoeff`` file: all coefficients of all elements, constant terms included.

    Attributes
    ----------
    blocks : tuple of ElementBlock
        One per element, in file order.
    theta : (P,) float array
        All coefficients in file order, eV per unit of the descriptor (``units metal``).
    lines : tuple of str
        Lines of the file with their line ends.
    spans : tuple of (int, int, int)
        Line, first column, and column after the last of each coefficient.
    """

    blocks: tuple[ElementBlock, ...]
    theta: FloatArray
    lines: tuple[str, ...]
    spans: tuple[tuple[int, int, int], ...]

    @property
    def coefficients_per_element(self) -> int:
        """Number of coefficients of each element, including the constant term."""
        return len(self.theta) // len(self.blocks)

    @property
    def names(self) -> tuple[str, ...]:
        """Labels ``element:index`` in file order; index 0 is the constant term."""
        count = self.coefficients_per_element
        return tuple(f"{block.element}:{k}" for block in self.blocks for k in range(count))

    def with_theta(self, theta: ArrayLike) -> CoefficientFile:
        """The same file with other coefficients; comments and numbers that do not change stay as written.

        Parameters
        ----------
        theta : (P,) array_like
            New coefficients, in file order.

        Raises
        ------
        PotentialError
            If their number differs, or one is not finite.
        """
        new = np.array(theta, dtype=float)
        if new.shape != self.theta.shape:
            raise PotentialError(
                f"{len(self.theta)} coefficients expected, but an array of shape {new.shape} was given"
            )
        if not np.isfinite(new).all():
            raise PotentialError(f"coefficient {self.names[int(np.argmin(np.isfinite(new)))]} is not a finite number")
        lines = list(self.lines)
        for value, old, (row, start, stop) in zip(new, self.theta, self.spans, strict=True):
            if value != old:
                lines[row] = lines[row][:start] + repr(float(value)) + lines[row][stop:]
        return parse_coefficients("".join(lines), "rewritten coefficients")

    def text(self) -> str:
        """Text of the file."""
        return "".join(self.lines)

    def write(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write the file; raises as `files.written_whole`."""
        _write_text(path, self.text(), overwrite)

    def with_comment(self, *comments: str) -> CoefficientFile:
        """The same file with comment lines added at its top."""
        head = tuple(f"# {line}\n" for comment in comments for line in comment.splitlines())
        shifted = tuple((row + len(head), start, stop) for row, start, stop in self.spans)
        return replace(self, lines=head + self.lines, spans=shifted)


def parse_coefficients(text: str, source: str) -> CoefficientFile:
    """Parse the text of a ``.snapcoeff`` file.

    Parameters
    ----------
    text : str
        The file's text.
    source : str
        Name used in error messages.

    Raises
    ------
    PotentialError
        If the text is not in LAMMPS' format, or has not as many coefficients as its header says.
    """
    lines = tuple(io.StringIO(text, newline="\n"))
    rows = [(row, _words(line)) for row, line in enumerate(lines)]
    rows = [(row, words) for row, words in rows if words]
    if not rows or len(rows[0][1]) != 2:
        raise PotentialError(
            f"{source}: not a SNAP coefficient file: no line with the counts of elements and coefficients"
        )
    elements, count = (int(_number(match, source, rows[0][0])) for match in rows[0][1])
    if elements < 1 or count < 1:
        raise PotentialError(
            f"{source}: its first line announces {elements} elements and {count} coefficients; both must be at least 1"
        )
    blocks: list[ElementBlock] = []
    values: list[float] = []
    spans: list[tuple[int, int, int]] = []
    body = rows[1:]
    for start in range(0, elements * (count + 1), count + 1):
        chunk = body[start : start + count + 1]
        if len(chunk) != count + 1 or len(chunk[0][1]) != 3:
            raise PotentialError(
                f"{source}: {elements} elements of {count} coefficients announced, but the file does not hold them "
                f"(element {len(blocks) + 1} is cut short or its line 'name radius weight' is missing)"
            )
        row, (name, radius, weight) = chunk[0]
        block = ElementBlock(name.group(), _number(radius, source, row), _number(weight, source, row))
        if block.radius <= 0:
            raise PotentialError(
                f"{source}, line {row + 1}: the radius of {block.element} is {block.radius:g}, not above 0"
            )
        blocks.append(block)
        for row, words in chunk[1:]:
            if len(words) != 1:
                raise PotentialError(f"{source}, line {row + 1}: one coefficient expected, {len(words)} words found")
            values.append(_number(words[0], source, row))
            spans.append((row, words[0].start(), words[0].end()))
    return CoefficientFile(tuple(blocks), np.array(values), lines, tuple(spans))


def is_coefficient_file(text: str) -> bool:
    """Whether the text of a potential is that of a ``.snapcoeff`` file rather than of another family."""
    return not text.lstrip().startswith("{")


def read_coefficients(path: str | Path) -> CoefficientFile:
    """Read a ``.snapcoeff`` file.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    PotentialError
        If the file cannot be read, or as for `parse_coefficients`.
    """
    return parse_coefficients(_read_text(path), str(path))


@dataclass(frozen=True)
class ParameterFile:
    """A ``.snapparam`` file: settings of the descriptors.

    Attributes
    ----------
    values : dict of str to tuple of str
        Values of each keyword as written (``sinner`` and ``dinner`` have one per element).
    text : str
        Text of the file.
    """

    values: dict[str, tuple[str, ...]]
    text: str

    def write(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write the file as it was read; raises as `files.written_whole`."""
        _write_text(path, self.text, overwrite)

    def number(self, keyword: str, default: float) -> float:
        """Value of a keyword, or `default` if the file does not have it."""
        return float(self.values[keyword][0]) if keyword in self.values else default

    def flag(self, keyword: str, default: bool = False) -> bool:
        """Value of a 0/1 keyword as a bool."""
        return bool(int(self.number(keyword, float(default))))


def parse_parameters(text: str, source: str) -> ParameterFile:
    """Parse the text of a ``.snapparam`` file.

    Parameters
    ----------
    text : str
        The file's text.
    source : str
        Name used in error messages.

    Raises
    ------
    PotentialError
        If a line is not ``keyword value``, a required keyword is missing, ``twojmax`` exceeds `LARGEST_TWOJMAX`, or
        ``rcutfac`` is not positive.
    """
    values: dict[str, tuple[str, ...]] = {}
    for row, line in enumerate(io.StringIO(text, newline="\n")):
        words = [match.group() for match in _words(line)]
        if len(words) == 1:
            raise PotentialError(f"{source}, line {row + 1}: keyword '{words[0]}' has no value")
        if words:
            values[words[0]] = tuple(words[1:])
    for keyword in ("rcutfac", "twojmax"):
        if keyword not in values:
            raise PotentialError(f"{source}: required keyword '{keyword}' is missing")
    require_moderate(text, source)
    for word in values["rcutfac"][:1]:
        if not _decimal(word, source) > 0:
            raise PotentialError(f"{source}: rcutfac {word} is not a positive radius")
    return ParameterFile(values, text)


def require_moderate(text: str, source: str) -> None:
    """Check that LAMMPS has memory for what the text of a file of descriptors asks for; other texts pass.

    Raises
    ------
    PotentialError
        If its ``twojmax`` exceeds `LARGEST_TWOJMAX`.
    """
    for line in io.StringIO(text, newline="\n"):
        words = [match.group() for match in _words(line)]
        for word in words[1:] if words[:1] == ["twojmax"] else []:
            if word.isdecimal() and int(word) > LARGEST_TWOJMAX:
                raise PotentialError(f"{source}: twojmax {word} is more than LAMMPS has memory for ({LARGEST_TWOJMAX})")


def read_parameters(path: str | Path) -> ParameterFile:
    """Read a ``.snapparam`` file.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    PotentialError
        If the file cannot be read, or as for `parse_parameters`.
    """
    return parse_parameters(_read_text(path), str(path))


def bispectrum_components(twojmax: int) -> list[tuple[int, int, int]]:
    """Bispectrum components (2j1, 2j2, 2j), 0 ≤ 2j2 ≤ 2j1 ≤ 2j ≤ twojmax, in the order of LAMMPS' coefficients.

    See Thompson et al., J. Comput. Phys. 285, 316 (2015), eq. 12 and the text below it.

    Parameters
    ----------
    twojmax : int
        Twice the largest angular momentum.
    """
    return [
        (j1, j2, j)
        for j1 in range(twojmax + 1)
        for j2 in range(j1 + 1)
        for j in range(j1 - j2, min(twojmax, j1 + j2) + 1, 2)
        if j >= j1
    ]


def expected_coefficients(parameters: ParameterFile, elements: int) -> int:
    """Number of coefficients per element, constant term included, that follows from the descriptor settings.

    Parameters
    ----------
    parameters : ParameterFile
    elements : int
        Number of elements, which matters with ``chemflag``.
    """
    linear = len(bispectrum_components(int(parameters.number("twojmax", 0))))
    if parameters.flag("chemflag"):
        linear *= elements**3
    quadratic = linear * (linear + 1) // 2 if parameters.flag("quadraticflag") else 0
    return 1 + linear + quadratic


def _words(line: str) -> list[re.Match[str]]:
    return list(_WORD.finditer(line.split("#", 1)[0]))


def _number(match: re.Match[str], source: str, row: int) -> float:
    return _decimal(match.group(), f"{source}, line {row + 1}")


def _decimal(word: str, source: str) -> float:
    try:
        return decimal(word)
    except ValueError as error:
        raise PotentialError(f"{source}: {error}") from None


def _read_text(path: str | Path) -> str:
    try:
        with open(path, encoding="utf-8", newline="") as file:  # newline="": keep the file's own line ends
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise PotentialError(f"cannot read {path}: {error}") from None


def _write_text(path: str | os.PathLike[str], text: str, overwrite: bool) -> None:
    with written_whole(path, overwrite) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(text)
