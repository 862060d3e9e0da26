"""Modified embedded-atom method: numbers of its library and of its parameter file.

M. I. Baskes, Phys. Rev. B 46, 2727 (1992); https://docs.lammps.org/pair_meam.html
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import Deck, PairCoeff
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.evaluators.potential_folders import potential_file
from lammps_implicit.potentials.commands import elements_after, plain_style
from lammps_implicit.potentials.file_numbers import (
    FileNumbers,
    FileParameter,
    file_suffix,
    last_lines,
    offered,
    require_few,
)
from lammps_implicit.potentials.interface import PotentialFamily
from lammps_implicit.potentials.number_files import Reader, Span, require_numbers

STYLES = ("meam", "meam/c", "meam/ms")
"""Pair styles with a library and a parameter file."""

_LIBRARY = "lat z ielement atwt alpha b0 b1 b2 b3 {}alat esub asub t0 t1 t2 t3 {}rho0 ibar"

_SETTINGS = ("lat", "z", "ielement", "atwt", "t0", "ibar")
"""Words of the library that are no parameters: what LAMMPS takes from the lattice, or wants to be 1."""

_INDICES = {"Ec": 2, "alpha": 2, "re": 2, "delta": 2, "attrac": 2, "repuls": 2, "Cmin": 3, "Cmax": 3, "rho0": 1}
"""Continuous numbers of parameter files, and how many elements each has."""

_ON_REQUEST = {"rc": 0, "delr": 0, "gsmooth_factor": 0, "theta": 2}
"""Cutoff and widths of switching functions."""

_OVERRULED = {"esub": "{0}-{0} Ec", "alpha": "{0}-{0} alpha", "alat": "{0}-{0} re", "rho0": "{0} rho0"}
"""Numbers of the library that do not matter if the parameter file has another one."""

_QUOTES = "'\""


@dataclass(frozen=True)
class _Files:
    """Words of a ``pair_coeff`` line: the library, its elements, the parameter file, element of each atom type."""

    library: Path
    listed: tuple[str, ...]
    parameters: Path | None
    elements: tuple[str | None, ...]


def from_deck(deck: Deck, n_types: int, patterns: Sequence[str]) -> list[FileNumbers]:
    """Numbers of the deck's elements, labelled ``meam Si rho0``, ``meam Si-C Ec``, ``meam Si-Si-C Cmin``.

    Lattices, flags and what a later number overrules are no parameters.

    Raises
    ------
    PotentialError
        If a file is not found or not of this format.
    """
    found = []
    for number, line, style, first in last_lines(deck, STYLES):
        files, suffix = _files(line, first, n_types), file_suffix(style)
        present = {element for element in files.elements if element}
        own: list[FileNumbers] = []
        if files.parameters is not None:
            reader = Reader(files.parameters)
            chosen = tuple(_parameter_file(reader, style, files.listed, present))
            own = [FileNumbers(reader.lines, chosen, number, len(line.args) - n_types - 1, suffix, files.elements)]
        reader = Reader(files.library)
        overruled = {parameter.label for source in own for parameter in source.parameters}
        library = tuple(_library(reader, style, present, overruled))
        found.append(FileNumbers(reader.lines, library, number, first, f"{suffix}.library", files.elements))
        found += own
    chosen = offered([parameter for source in found for parameter in source.parameters], patterns)
    kept = [replace(s, parameters=tuple(p for p in s.parameters if p in chosen)) for s in found]
    return require_few(kept, patterns)


def _files(line: PairCoeff, first: int, n_types: int) -> _Files:
    words = line.args[first:]
    listed, name, types = words[1 : -n_types - 1], words[-n_types - 1], words[-n_types:]
    return _Files(
        _found(words[0], line), tuple(listed), None if name == "NULL" else _found(name, line), elements_after(types)
    )


def _found(name: str, line: PairCoeff) -> Path:
    path = potential_file(name, line.directory)
    if path is None:
        raise PotentialError(f"pair_coeff {' '.join(line.args)}: the file {name} is not found")
    return path


def _library(reader: Reader, style: str, present: Collection[str], overruled: Collection[str]) -> list[FileParameter]:
    """Numbers of the first entry of each element, as LAMMPS reads them: entries of a fixed number of words."""
    extra = ("b1m b2m b3m ", "t1m t2m t3m ") if plain_style(style) == "meam/ms" else ("", "")
    names = _LIBRARY.format(*extra).split()
    words = [(row, match.start(), match.end()) for row, matches in reader.rows() for match in matches]
    parameters, done = [], set()
    for start in range(0, len(words), 1 + len(names)):
        entry = words[start : start + 1 + len(names)]
        element = _text(reader, entry[0])
        if len(entry) <= len(names):
            raise PotentialError(
                f"{reader.path}, line {entry[0][0] + 1}: the entry {element} has {len(entry) - 1} words, expected "
                f"{len(names)}: {' '.join(names)}"
            )
        if element not in present or element in done:
            continue
        done.add(element)
        spans = {name: span for name, span in zip(names, entry[1:], strict=True) if name not in _SETTINGS}
        require_numbers(reader.path, reader.lines, list(spans.values()))
        for name, span in spans.items():
            other = _OVERRULED.get(name)
            if other is None or f"{style} {other.format(element)}" not in overruled:
                parameters.append(FileParameter(f"{style} {element} {name}", (span,)))
    missing = set(present) - done
    if missing:
        raise PotentialError(f"{reader.path} has no entry for {', '.join(sorted(missing))}")
    return parameters


def _parameter_file(reader: Reader, style: str, listed: Sequence[str], present: Collection[str]) -> list[FileParameter]:
    """Numbers of lines such as ``Cmin(1,1,2) = 0.49``; of those with the same label the last, which counts."""
    found: dict[str, FileParameter] = {}
    for row, line in enumerate(reader.lines):
        words = list(re.finditer(r"[^=(),\s'\"]+", line.split("#", 1)[0]))
        if not words:
            continue
        name, *indices = (word.group() for word in words[:-1]) if len(words) > 1 else (words[0].group(),)
        count = (_INDICES | _ON_REQUEST).get(name)
        if count is None:
            continue
        if len(indices) != count or not all(re.fullmatch(r"\d+", i) and 0 < int(i) <= len(listed) for i in indices):
            raise PotentialError(
                f"{reader.path}, line {row + 1}: '{line.strip()}' is not '{name}', {count} numbers of elements from 1 "
                f"to {len(listed)}, and a value"
            )
        numbers = [int(index) for index in indices]
        elements = [listed[number - 1] for number in numbers]
        if not set(elements) <= set(present) or numbers[:2] != sorted(numbers[:2]):
            continue  # LAMMPS takes what belongs to a pair from the lower element
        span = (row, words[-1].start(), words[-1].end())
        require_numbers(reader.path, reader.lines, [span])
        label = " ".join([style, "-".join(elements), name]) if elements else f"{style} {name}"
        found[label] = FileParameter(label, (span,), name in _ON_REQUEST)
    return list(found.values())


def _text(reader: Reader, span: Span) -> str:
    row, start, stop = span
    return reader.lines[row][start:stop].strip(_QUOTES)


def _sources(engine: Engine, patterns: Sequence[str]) -> list[FileNumbers]:
    return engine.on_root(lambda: from_deck(engine.deck, engine.n_types, patterns))


FAMILY = PotentialFamily(_sources, ", ".join(STYLES), order=43)
"""The family, as it is registered under ``lammps_implicit.potentials``."""
