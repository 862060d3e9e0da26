"""Potential files of entries, such as those of Stillinger-Weber and Tersoff: which number belongs to what."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from lammps_implicit.errors import PotentialError
from lammps_implicit.potentials.entry_layouts import Layout
from lammps_implicit.potentials.file_numbers import FileParameter
from lammps_implicit.potentials.number_files import Reader, Span, is_number, require_numbers


@dataclass(frozen=True)
class Entry:
    """An entry of a file.

    Attributes
    ----------
    elements : tuple of str
    spans : dict of str to (int, int, int)
        Where each named number stands.
    values : dict of str to float
        The numbers.
    """

    elements: tuple[str, ...]
    spans: dict[str, Span]
    values: dict[str, float]

    @property
    def is_pair(self) -> bool:
        """Whether its second and third element, if any, are the same: it then also holds what belongs to a pair."""
        return len(set(self.elements[1:])) <= 1


def read_entries(reader: Reader, layout: Layout, present: Collection[str]) -> list[Entry]:
    """Entries of a file whose elements are all present in the deck.

    As LAMMPS reads them: an entry starts on a line of its own and takes further lines until it has all its words.

    Parameters
    ----------
    reader : Reader
    layout : Layout
    present : collection of str
        Elements of the deck's atom types.

    Raises
    ------
    PotentialError
        If an entry has too few or too many numbers, or what should be a number is none.
    """
    entries = []
    for words in _entries(reader, layout):
        elements = tuple(_text(reader, span) for span in words[: layout.elements])
        if not set(elements) <= set(present):
            continue
        spans = {name: span for name, span in zip(layout.names, words[layout.elements :], strict=True) if name}
        require_numbers(reader.path, reader.lines, list(spans.values()))
        entries.append(Entry(elements, spans, {name: float(_text(reader, span)) for name, span in spans.items()}))
    return entries


def parameters_of(entries: Sequence[Entry], layout: Layout, prefix: str) -> list[FileParameter]:
    """Parameters of entries, labelled ``prefix Si-C-C lambda1``.

    Numbers that LAMMPS wants to be the same in two entries are one parameter, under the label of the first, as long as
    they are the same.
    """
    by_elements = {entry.elements: entry for entry in entries}
    parameters, done = [], set()
    for entry in entries:
        for name, span in entry.spans.items():
            unused = (name in layout.pair and not entry.is_pair) or (
                name in layout.alone and len(set(entry.elements)) > 1
            )
            if span in done or unused:
                continue
            spans = [span]
            for elements, twin in _twins(entry, name, layout):
                other = by_elements.get(elements)
                if other is not None and other.values[twin] == entry.values[name] and other.spans[twin] not in spans:
                    spans.append(other.spans[twin])
            done.update(spans)
            needed = layout.needs.get(name, ()) if name in layout.signed else (name, *layout.needs.get(name, ()))
            idle = any(entry.values[other] == 0 for other in needed)
            label = f"{prefix} {'-'.join(entry.elements)} {name}"
            parameters.append(FileParameter(label, tuple(spans), idle or name in layout.on_request))
    return parameters


def _twins(entry: Entry, name: str, layout: Layout) -> Iterator[tuple[tuple[str, ...], str]]:
    """Elements of the entries, and names in them, that hold the same number as one of an entry."""
    if entry.is_pair and name in layout.pair_twins:
        first, second, *_ = entry.elements
        yield (second, first, first), layout.pair_twins[name]
    if name in layout.triple_twins:
        first, second, third = entry.elements
        yield (first, third, second), name


def _entries(reader: Reader, layout: Layout) -> Iterator[list[Span]]:
    """Words of each entry."""
    wanted = layout.elements + len(layout.names)
    words: list[Span] = []
    for row, matches in reader.rows():
        line = [(row, match.start(), match.end()) for match in matches]
        if words and not _numeric(_text(reader, line[0])):
            raise _wrong(reader, words, layout)
        if (
            not words
            and layout.tail
            and len(line) >= layout.elements
            and _numeric(_text(reader, line[layout.elements - 1]))
        ):
            return
        words += line
        if len(words) > wanted:
            raise _wrong(reader, words, layout)
        if len(words) == wanted:
            yield words
            words = []
    if words:
        raise _wrong(reader, words, layout)


def _wrong(reader: Reader, words: Sequence[Span], layout: Layout) -> PotentialError:
    elements = "-".join(_text(reader, span) for span in words[: layout.elements])
    return PotentialError(
        f"{reader.path}, line {words[0][0] + 1}: the entry {elements} has {max(len(words) - layout.elements, 0)} "
        f"numbers, expected {len(layout.names)}: {' '.join(name or '…' for name in layout.names)}"
    )


def _numeric(word: str) -> bool:
    return is_number(word) or re.match(r"[-+]?\.?\d", word) is not None


def _text(reader: Reader, span: Span) -> str:
    row, start, stop = span
    return reader.lines[row][start:stop]
