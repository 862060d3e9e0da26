"""ML-IAP models that are linear in their coefficients: ``pair_style mliap model linear|quadratic``.

A. P. Thompson et al., J. Comput. Phys. 285, 316 (2015); the quadratic model: M. A. Wood, A. P. Thompson, J. Chem. Phys.
148, 241721 (2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.evaluators.potential_folders import potential_file
from lammps_implicit.potentials.coefficient_files import CoefficientFileSource, style_line
from lammps_implicit.potentials.commands import elements_after, plain_style, style_of
from lammps_implicit.potentials.interface import PotentialFamily
from lammps_implicit.potentials.number_files import Reader
from lammps_implicit.potentials.snap import has_snap

STYLE = "mliap"
"""The pair style."""

_MODELS = ("linear", "quadratic")
"""Models that are linear in their coefficients."""


def from_deck(deck: Deck) -> list[CoefficientFileSource]:
    """Coefficients of the ML-IAP model of a deck; an empty list if it has none.

    Labels are ``Ta:0``, or ``mliap Ta:0`` if the deck has SNAP too.

    Raises
    ------
    PotentialError
        If the file is not a model file, or the model is not linear in its coefficients.
    """
    line = style_line(deck, STYLE)
    if line is None:
        return []
    start = next(place for place, word in enumerate(deck.pair_style) if plain_style(word) == STYLE)
    words = deck.pair_style[start:]
    model = words.index("model") if "model" in words else -2
    kind = words[model + 1] if model >= 0 else ""
    if kind not in _MODELS or "descriptor" not in words:
        raise PotentialError(f"pair_style mliap model {kind}: only models linear in their coefficients are supported")
    folder = deck.raw_potential[0][1]
    path, descriptor = (_file(words[place + 2], folder) for place in (model, words.index("descriptor")))
    reader = Reader(path)
    (_, head), *rows = reader.rows()
    count, each = (int(match.group()) for match in head[:2])
    elements = _elements(descriptor)
    if len(elements) != count:
        elements = [str(k) for k in range(1, count + 1)]
    prefix = "mliap " if has_snap(deck) else ""
    file = reader.file(rows, [f"{prefix}{element}:{k}" for element in elements for k in range(each)])
    _, first = style_of(deck, line)
    return [CoefficientFileSource(STYLE, file, path, elements_after(line.args[first:]))]


def _elements(descriptor: Path) -> list[str]:
    """Elements listed in a descriptor file; empty if it does not list them."""
    rows = ([match.group() for match in words] for _, words in Reader(descriptor).rows())
    return next((row[1:] for row in rows if row[0] == "elems"), [])


def _file(word: str, folder: Path) -> Path:
    path = potential_file(word, folder)
    if path is None:
        raise PotentialError(f"pair_style mliap: file {word} is not found in {folder} or LAMMPS' potential folders")
    return path


def _sources(engine: Engine, patterns: Sequence[str]) -> list[CoefficientFileSource]:
    return engine.on_root(lambda: from_deck(engine.deck))


FAMILY = PotentialFamily(_sources, "mliap", order=10)
"""The family, as it is registered under ``lammps_implicit.potentials``."""
