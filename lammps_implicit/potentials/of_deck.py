"""The potential of a deck, from the registered families; start of LAMMPS with a deck."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mpi4py import MPI

from lammps_implicit.errors import DeckError, PotentialError
from lammps_implicit.evaluators.deck import deck_path
from lammps_implicit.evaluators.effects import require_effects_as_read, require_potential_as_read
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.potentials.commands import named_places
from lammps_implicit.potentials.installed import InstalledPotential
from lammps_implicit.potentials.interface import Potential, PotentialFamily, SelectablePotential, Source
from lammps_implicit.potentials.labels import EXCLUDES, matches, select, split_patterns, wanted
from lammps_implicit.potentials.named_files import require_sane_files
from lammps_implicit.potentials.pair_coefficients import by_name
from lammps_implicit.potentials.without_parameters import WithoutParameters
from lammps_implicit.registry import Registry

FAMILIES: Registry[PotentialFamily] = Registry(
    "lammps_implicit.potentials", "potential family", lambda item: isinstance(item, PotentialFamily)
)
"""Potential families by name."""


def start_lammps(
    deck: str | os.PathLike[str],
    comm: MPI.Comm | None = None,
    parameters: str | Sequence[str] | None = None,
    variables: Mapping[str, str] | None = None,
    replicate: Sequence[int] = (1, 1, 1),
    **_: Any,
) -> tuple[Engine, Potential]:
    """Run a deck in LAMMPS, take over at the state it ends in, and find its potential.

    Parameters
    ----------
    deck : path-like
        The deck; it runs in its own folder.
    comm : MPI.Comm, optional
        Default: ``MPI.COMM_WORLD``.
    parameters : str or sequence of str, optional
        Shell patterns of parameter labels: see `from_engine`. Default: all that there are, possibly none. An empty
        sequence asks for none: nothing of the potential needs to be known then.
    variables : mapping of str to str, optional
        Index variables of the deck to set, as ``lmp -var name value`` does.
    replicate : sequence of three int
        How often the final cell is repeated along each of its vectors: see `LammpsSession.replicate`.
    **_
        Settings of other evaluators, ignored: see `evaluators.registry.StartEvaluator`.

    Returns
    -------
    engine : Engine
        To be settled next: see `Engine.settle`.
    potential : Potential

    Raises
    ------
    DeckError, PotentialError
        If the deck does not run, or has none of the parameters asked for; LAMMPS has been closed then.
    """
    path = deck_path(deck)
    engine = Engine.start(comm, variables)
    try:
        engine.on_root(lambda: require_sane_files(path, variables or {}))
        run(engine, path)
        if tuple(replicate) != (1, 1, 1):
            engine.replicate(replicate)
        potential = potential_of(engine, parameters)
        engine.take_over()
        require_effects_as_read(engine)
        if not isinstance(potential, WithoutParameters):
            potential.define(engine)
            require_potential_as_read(engine)
    except BaseException:
        engine.close()
        raise
    return engine, potential


def potential_of(engine: Engine, parameters: str | Sequence[str] | None = None) -> Potential:
    """As `from_engine`; a potential without parameters where there are none and none are asked for by name.

    Parameters
    ----------
    engine : Engine
        Its deck has run.
    parameters : str or sequence of str, optional
        As for `start_lammps`.

    Returns
    -------
    Potential
        A `WithoutParameters`, which says why, where there are none.

    Raises
    ------
    PotentialError
        If parameters are asked for that there are not.
    """
    if parameters is not None and len(parameters) == 0:
        return WithoutParameters.of(engine, "no parameters were asked for: leave out parameters=() to have all")
    try:
        return from_engine(engine, parameters)
    except PotentialError as error:
        if parameters is not None:
            raise
        return WithoutParameters.of(engine, str(error))


def run(engine: Engine, path: Path) -> None:
    """Run a deck; where LAMMPS stops at a potential file that one of our readers finds fault with, say in which line.

    Raises
    ------
    DeckError
        If LAMMPS stops.
    """
    try:
        engine.run_deck(path)
    except DeckError as error:
        fault = _fault_in_file(engine, path)
        raise DeckError(f"{error}; {fault}" if fault and fault not in str(error) else str(error)) from None


def _fault_in_file(engine: Engine, path: Path) -> str:
    """What a reader finds wrong in a file that the last ``pair_coeff`` line of a deck names; empty if nothing."""
    try:
        engine.read_so_far(path)
    except DeckError:
        return ""
    if not engine.deck.pair_coeffs or not engine.deck.pair_style:
        return ""
    files = [str(file) for file, line, _ in named_places(engine.deck) if line == len(engine.deck.pair_coeffs) - 1]
    for _, family in FAMILIES.items():
        try:
            family.sources(engine, ["*"])
        except PotentialError as fault:
            if any(file in str(fault) for file in files):
                return str(fault)
    return ""


def from_engine(engine: Engine, parameters: str | Sequence[str] | None = None) -> Potential:
    """The deck's potential with the parameters that match the patterns.

    If one family has a potential of its own with all parameters asked for, it is used: SNAP with LAMMPS' descriptors.
    Otherwise parameters of all families in the deck are combined; families that are ``on_request`` take part if a
    pattern asks for their parameters or if there are no others. A family with a prefix gets all patterns: variables,
    ``var:eps``.

    Parameters
    ----------
    engine : Engine
        Its deck has run.
    parameters : str or sequence of str, optional
        Shell patterns of labels (``"Be:*"``, ``"W:[1-9]"``, ``"lj/cut 1-2 sigma"``) or of variables (``"var:eps"``); a
        string may hold several, separated by commas. Those that start with ``!`` exclude. Default: all.

    Returns
    -------
    Potential

    Raises
    ------
    PotentialError
        If the deck has no parameters of any family, or no label matches a pattern.
    """
    given = [] if parameters is None else _by_name(engine, split_patterns(parameters))
    patterns = wanted(given)
    families = sorted((family for _, family in FAMILIES.items()), key=lambda family: family.order)
    for family in families:
        if family.prefix and any(pattern.startswith(family.prefix) for pattern in patterns):
            found = _installed(engine, family.sources(engine, patterns))
            return found.select(select(found.names, given))
    if engine.deck.pair_style in ((), ("none",)) and not engine.deck.bonded_coeffs:
        raise PotentialError(_undeclared(engine.pair_style))
    style = " ".join(engine.deck.pair_style)
    if not engine.deck.pair_coeffs and not engine.deck.bonded_coeffs:
        raise PotentialError(
            f"the deck has 'pair_style {style}' and no pair_coeff lines: its coefficients come from a data or restart "
            "file, and are not known; write them as 'pair_coeff' lines after it"
        )
    potential = _chosen(engine, [family for family in families if not family.prefix], patterns)
    if potential is None:
        offers = "; ".join(family.offers for family in families)
        raise PotentialError(
            f"'pair_style {style}' has no parameters that can be differentiated; supported are {offers}. It relaxes "
            "all the same ('lammps-implicit relax'); to differentiate, name a number that pair_style or pair_coeff "
            "lines take from a variable, with --parameters var:NAME"
        )
    return potential.select(select(potential.names, given)) if given else potential


def _by_name(engine: Engine, patterns: Sequence[str]) -> list[str]:
    """Patterns with those of pair coefficients by position replaced by their names."""
    found = []
    for pattern in patterns:
        sign = EXCLUDES if pattern.startswith(EXCLUDES) else ""
        found += [sign + label for label in by_name(engine.deck, pattern.removeprefix(EXCLUDES))] or [pattern]
    return found


def _chosen(engine: Engine, families: Sequence[PotentialFamily], patterns: Sequence[str]) -> SelectablePotential | None:
    """The potential with all parameters that the families offer; None if there are none."""
    wholes = []
    for family in families:
        whole = None if family.whole is None else family.whole(engine)
        if whole is not None and _match_all(whole.names, patterns):
            return whole
        if whole is not None:
            wholes.append(whole)
    requested = [list(family.sources(engine, patterns)) if family.on_request else [] for family in families]
    try:
        others = [[] if family.on_request else list(family.sources(engine, patterns)) for family in families]
    except PotentialError:
        if not (patterns and _match_all(_labels(source for found in requested for source in found), patterns)):
            raise
        others = [[]] * len(families)  # unsupported styles stay fixed beside the parameters asked for
    sources: list[Source] = []
    for on_request, found in zip(requested, others, strict=True):
        left = [pattern for pattern in patterns if not matches(_labels(sources), pattern)]
        sources += found + [source for source in on_request if any(matches(source.names, label) for label in left)]
    if not sources and wholes:
        return wholes[0]  # `select` then reports the pattern that matches nothing
    if not sources:
        fallbacks = (found for family, found in zip(families, requested, strict=True) if family.fallback)
        sources = next(filter(None, fallbacks), [])
    return _installed(engine, sources) if sources else None


def _undeclared(pair_style: str) -> str:
    """Why a deck without a ``pair_style`` line has no parameters."""
    if pair_style == "none":
        return "the deck declares no pair_style, so that there are no parameters of pairs to differentiate by"
    return (
        f"the deck declares no pair_style: LAMMPS has '{pair_style}' from a restart file, and its numbers are not "
        f"known; write the lines 'pair_style {pair_style} ...' and 'pair_coeff ...' after read_restart"
    )


def _installed(engine: Engine, sources: Sequence[Source]) -> InstalledPotential:
    repeated = [label for label, count in Counter(_labels(sources)).items() if count > 1]
    if repeated:
        raise PotentialError(f"two parameters of the deck have the label '{repeated[0]}': labels must be unique")
    return InstalledPotential.of(sources, engine.deck, engine.n_types)


def _labels(sources: Iterable[Source]) -> list[str]:
    return [label for source in sources for label in source.names]


def _match_all(names: Sequence[str], patterns: Sequence[str]) -> bool:
    return all(matches(names, pattern) for pattern in patterns)
