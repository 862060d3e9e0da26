"""`inspect_deck`: run a deck, and say what it is and what can be done with it."""

from __future__ import annotations

import contextlib
import math
import os
import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from lammps_implicit.conformance.costs import estimate_costs
from lammps_implicit.conformance.pressures import allowed_strains
from lammps_implicit.errors import DeckError, LammpsImplicitError
from lammps_implicit.evaluators.deck import Deck, deck_path
from lammps_implicit.evaluators.effects import require_effects_as_read
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.inspection.fixes import role_of
from lammps_implicit.inspection.minimisations import minimisations
from lammps_implicit.inspection.report import AtomType, Inspection, Plan
from lammps_implicit.potentials.found import found_parameters
from lammps_implicit.potentials.installed import InstalledPotential
from lammps_implicit.potentials.named_files import require_sane_files
from lammps_implicit.potentials.of_deck import potential_of, run
from lammps_implicit.units import units_of

FORCE_LIMIT = 1e-2
"""eV/Å; forces up to this count as a minimum: the default of the commands."""

_TIMED, _PATIENCE = 3, 1.0
"""Force evaluations that are timed at most, and seconds after which one will do."""


def inspect_deck(
    deck: str | os.PathLike[str],
    *,
    variables: Mapping[str, str] | None = None,
    parameters: str | None = None,
    comm: MPI.Comm | None = None,
) -> Inspection:
    """Run a deck, and say what it is, what would be differentiated of it, at what cost, and what stands in the way.

    A handful of force evaluations after the deck. A deck that fails is reported as far as it came. Collective.

    Parameters
    ----------
    deck : path-like
        It runs in its own folder.
    variables : mapping of str to str, optional
        Index variables of the deck.
    parameters : str, optional
        Patterns of the parameters that would be differentiated by. Default: all.
    comm : MPI.Comm, optional
        Default: ``MPI.COMM_WORLD``.

    Returns
    -------
    Inspection

    Raises
    ------
    LammpsImplicitError
        If the deck cannot be read, a variable is none, or there are none of the parameters asked for.

    Examples
    --------
    >>> from lammps_implicit.inspection import inspect_deck
    >>> seen = inspect_deck("lammps_scripts/in.ta_vacancy", variables={"n": "2"})
    >>> seen.atoms, len(seen.plan.labels), seen.relaxed
    (15, 31, True)
    """
    start, path = time.monotonic(), deck_path(deck)
    comm = MPI.COMM_WORLD if comm is None else comm
    engine = Engine.start(comm, variables)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            seen = _inspected(engine, path, variables or {}, parameters)
        notes = tuple(dict.fromkeys(str(warning.message) for warning in caught))
        return replace(seen, notes=comm.bcast(notes), seconds=time.monotonic() - start)
    finally:
        engine.close()


def _inspected(engine: Engine, path: Path, variables: Mapping[str, str], parameters: str | None) -> Inspection:
    failed = ""
    try:
        engine.on_root(lambda: require_sane_files(path, variables))
        run(engine, path)
    except DeckError as error:
        failed = str(error)
        with contextlib.suppress(DeckError):  # of what cannot be read from its commands
            engine.read_so_far(path)
    seen = _described(engine, Inspection(path.name, failed=failed, ranks=engine.comm.size))
    if failed:
        return replace(seen, obstacles=(failed,))
    found = found_parameters(engine)
    seen = replace(seen, families=found.families, left_out=found.left_out)
    potential = potential_of(engine, parameters)
    seen = _with_elements(seen, potential.elements)
    try:
        units_of(engine.deck.units)
        engine.take_over()
        forces = engine.settle()
        seen = replace(
            seen,
            held=int(engine.sum(int(np.count_nonzero(~engine.free[:, : engine.deck.dimension])))),
            largest_force=engine.max_abs(forces),
            energy=engine.energy,
        )
        require_effects_as_read(engine)
    except DeckError as error:
        seen = replace(seen, refused=str(error))
    obstacles = [seen.refused] if seen.refused else _not_relaxed(seen)
    if not len(potential.theta):
        obstacles.append(getattr(potential, "reason", "there are no parameters"))
    return replace(seen, plan=_plan(engine, seen, potential), obstacles=tuple(obstacles))


def _described(engine: Engine, seen: Inspection) -> Inspection:
    """What the deck has set and what LAMMPS holds, as far as it came."""
    deck = engine.deck if engine.deck is not None else Deck()
    text = engine.on_root(lambda: _transcript(engine))
    seen = replace(
        seen,
        units=deck.units,
        dimension=deck.dimension,
        styles=_styles(deck),
        fixes=tuple(role_of(fix) for fix in deck.fixes.values()),
        minimisations=tuple(minimisations(text)),
    )
    with contextlib.suppress(DeckError):  # reported when it is taken over
        units = units_of(deck.units)
        seen = replace(
            seen,
            force_limit=FORCE_LIMIT * units.force_factor,
            length_unit=units.length,
            force_unit=units.force,
            energy_unit=units.energy,
        )
    if seen.failed and not engine.n_atoms:
        return seen
    follows = "s" if engine.follows_atoms else "f"
    return replace(
        seen,
        atoms=engine.n_atoms,
        boundary=" ".join("p" if flag else follows for flag in engine.periodic),
        cell=tuple(tuple(map(float, row)) for row in engine.cell),
        types=_types(engine),
    )


def _types(engine: Engine) -> tuple[AtomType, ...]:
    charges, types = engine.charges()
    masses, number = engine.masses(), engine.n_types
    counts = engine.comm.allreduce(np.bincount(types, minlength=number + 1)[1:])
    sums = engine.comm.allreduce(np.bincount(types, charges, minlength=number + 1)[1:])
    return tuple(
        AtomType(k + 1, "", float(masses[k]), int(counts[k]), float(sums[k])) for k in range(min(number, len(masses)))
    )


def _with_elements(seen: Inspection, elements: Any) -> Inspection:
    named = [*(element or "" for element in elements), *[""] * len(seen.types)]
    return replace(seen, types=tuple(replace(kind, element=named[k]) for k, kind in enumerate(seen.types)))


def _styles(deck: Deck) -> dict[str, str]:
    styles = {"pair_style": " ".join(deck.pair_style)} if deck.pair_style else {}
    styles |= {f"{kind}_style": " ".join(words) for kind, words in deck.bonded_styles.items()}
    if deck.kspace:
        styles["kspace_style"] = " ".join(deck.kspace[0][1:])
    return styles


def _not_relaxed(seen: Inspection) -> list[str]:
    """What is to be done about a deck that does not end at a minimum."""
    if seen.relaxed is not False:
        return []
    what = (
        f"the deck ends with forces of up to {seen.largest_force:.2g} {seen.force_unit}, above {seen.force_limit:.2g}"
    )
    if not seen.minimisations:
        what += ", as it minimises nothing"
    return [f"{what}: add --relax, or 'minimize 0 1e-8 10000 100000' at its end"]


def _plan(engine: Engine, seen: Inspection, potential: Any) -> Plan | None:
    """How derivatives would be computed; a few force evaluations, to time them."""
    count = len(potential.theta)
    if not count or seen.failed:
        return None
    seconds, installing, strains = math.nan, math.nan, 0
    if not seen.refused:
        seconds = _seconds(engine)
        with contextlib.suppress(LammpsImplicitError):
            strains = len(allowed_strains(engine)[0])
        with contextlib.suppress(LammpsImplicitError):  # reported where derivatives are taken
            installing = _installing(engine, potential)
    costs = estimate_costs(engine, potential, "", strains)
    return Plan(
        tuple(potential.names),
        _method(potential),
        costs.evaluations,
        seconds,
        costs.installations,
        installing,
        24 * count * seen.atoms,
    )


def _method(potential: Any) -> str:
    """How the mixed derivative is computed, in words."""
    if not isinstance(potential, InstalledPotential):
        return "exact: linear in descriptors that LAMMPS computes"
    linear = int(np.count_nonzero(potential.linear))
    other = len(potential.theta) - linear
    parts = [f"exact for {linear} linear parameters (1 force evaluation each)"] if linear else []
    parts += [f"central differences for {other} parameters (2 force evaluations each)"] if other else []
    return "a sweep, " + ", ".join(parts)


def _seconds(engine: Engine) -> float:
    """Time of one force evaluation, the same on every rank."""
    start = time.monotonic()
    count, spent = 0, 0.0
    while count < _TIMED and spent < _PATIENCE:
        engine.forces()
        count, spent = count + 1, engine.max(time.monotonic() - start)
    return spent / count


def _installing(engine: Engine, potential: Any) -> float:
    """Time of one force evaluation at installed parameters, the same on every rank; NaN if none are installed."""
    if not isinstance(potential, InstalledPotential):
        return math.nan
    potential.define(engine)
    start = time.monotonic()
    potential.install(engine, np.zeros(len(potential.theta)))
    return engine.max(time.monotonic() - start)


def _transcript(engine: Engine) -> str:
    return (engine.scratch / "transcript").read_bytes().decode(errors="replace")
