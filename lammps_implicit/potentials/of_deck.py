"""Potentials: how to install parameters Θ in LAMMPS, and fast paths to descriptors where LAMMPS has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from lammps_implicit.errors import PotentialError
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.potentials import eam, file_families, pair_coefficients, variables
from lammps_implicit.potentials.file_families import FileFamily
from lammps_implicit.potentials.installed import InstalledPotential
from lammps_implicit.potentials.interface import Potential, Source
from lammps_implicit.potentials.labels import _split, matches, select
from lammps_implicit.potentials.snap import STYLES, SnapFile, SnapPotential

SUPPORTED = ("snap", *file_families.FAMILIES, *eam.STYLES)


def start_lammps(
    deck: Path,
    comm: MPI.Comm,
    parameters: str | Sequence[str] | None = None,
    variables: Mapping[str, str] | None = None,
    **_: Any,
) -> tuple[Engine, Potential]:
    """Run a deck in LAMMPS and take over at its end; `evaluators.registry.Start` says what is given and returned."""
    engine = Engine.start(comm, variables)
    try:
        engine.run_deck(deck)
        potential = from_engine(engine, parameters)
        engine.take_over()
        potential.define(engine)
    except BaseException:
        engine.close()
        raise
    return engine, potential


def from_engine(engine: Engine, parameters: str | Sequence[str] | None = None) -> SnapPotential | InstalledPotential:
    """Return the deck's potential with the parameters that match the patterns.

    Where the deck has SNAP and all patterns are labels of its coefficients, they are taken with LAMMPS' descriptors.
    Else the coefficients of all ML-IAP, UF3 and POD styles are parameters, factors of tabulated EAM, SNAP's if a
    pattern asks for them, and, likewise or where there is nothing else, the numbers of ``pair_coeff`` lines; or the
    variables that patterns with ``var:`` name.

    Parameters
    ----------
    engine : Engine
        After its deck ran.
    parameters : str or sequence of str, optional
        Shell patterns on labels (``"Be:*"``, ``"W:[1-9]"``, ``"lj/cut 1-2 sigma"``) or variables (``"var:eps"``); a
        string may hold several separated by commas. Default: all.

    Raises
    ------
    PotentialError
        If no supported style is in the deck or no label matches a pattern.
    """
    patterns = [] if parameters is None else _split(parameters)
    if any(pattern.startswith(variables.PREFIX) for pattern in patterns):
        return _variables(engine, patterns)
    potential = engine.on_root(lambda: _of_deck(engine, patterns))
    if not patterns:
        return potential
    return replace(potential, selected=select(potential.names, patterns))


def _of_deck(engine: Engine, patterns: Sequence[str]) -> SnapPotential | InstalledPotential:
    deck = engine.deck
    if not deck.pair_style:
        raise PotentialError("the deck declares no pair_style")
    snap = SnapPotential.from_deck(deck) if any(word in STYLES for word in deck.pair_style) else None
    if snap is not None and all(matches(snap.names, pattern) for pattern in patterns):
        return snap
    numbers = pair_coefficients.from_deck(deck, beside_words=bool(patterns))
    sources: list[Source]
    try:
        sources = [*file_families.from_deck(deck), *eam.from_deck(deck)]
    except PotentialError:
        if numbers is None or not (patterns and all(matches(numbers.names, pattern) for pattern in patterns)):
            raise
        sources = []  # what is not supported stays as it is beside the numbers that are asked for
    if snap is not None:  # whose labels are those of ML-IAP
        sources = [source.prefixed() if isinstance(source, FileFamily) else source for source in sources]
    for pattern in patterns:
        pair_coefficients.require_number(deck, pattern)
    if snap is not None and any(matches(snap.names, pattern) for pattern in patterns):
        sources.insert(0, SnapFile.from_deck(deck, snap))
    labels = [label for source in sources for label in source.names]
    wanted = [pattern for pattern in patterns if not matches(labels, pattern)]
    asked = numbers is not None and any(matches(numbers.names, pattern) for pattern in wanted)
    if numbers is not None and (asked or not (sources or snap)):
        sources.append(numbers)
    if not sources:
        if snap is not None:
            return snap  # select says which pattern matches nothing
        raise PotentialError(
            f"'pair_style {' '.join(deck.pair_style)}' has no parameters that can be differentiated: no numbers in its "
            f"pair_coeff lines, and none of {', '.join(SUPPORTED)}; a variable it uses can be one (var:NAME)"
        )
    return InstalledPotential.of(sources, deck, engine.n_types)


def _variables(engine: Engine, patterns: Sequence[str]) -> InstalledPotential:
    values = []
    for name in patterns:
        if not name.startswith(variables.PREFIX):
            raise PotentialError(f"'{name}': variables are taken by themselves, not with other parameters")
        values.append(engine.variable(name.removeprefix(variables.PREFIX)))
    source = engine.on_root(lambda: variables.from_deck(engine.deck, patterns, np.array(values)))
    return InstalledPotential.of([source], engine.deck, engine.n_types)
