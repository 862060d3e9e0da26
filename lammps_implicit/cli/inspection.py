"""The command ``inspect``: what a deck is, and what can be done with it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from lammps_implicit.cli.console import say
from lammps_implicit.cli.options import DeckArgument, ParametersOption, VariableOption, read_variables
from lammps_implicit.conformance.finding import counted
from lammps_implicit.inspection import Inspection, inspect_deck
from lammps_implicit.inspection.report import Plan
from lammps_implicit.potentials.found import FoundFamily

_SHOWN = 8
"""Items of a long list that are shown without ``--all``."""

_LARGE = 2**30
"""Bytes above which a Jacobian is stored as two factors."""


def inspect(
    deck: DeckArgument,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Show long lists whole.")] = False,
    parameters: ParametersOption = None,
    variables: VariableOption = None,
) -> None:
    """Say what a deck is, what would be differentiated of it, how, and what stands in the way.

    Runs the deck, and little else; a deck that fails is reported as far as it came. Exit status 1 if it fails, or
    leaves something that cannot be taken over.
    """
    seen = inspect_deck(deck, variables=read_variables(variables), parameters=parameters)
    if json:
        say(seen.to_json())
    else:
        asked = shlex.join([str(deck), *(word for setting in variables or [] for word in ("--var", setting))])
        for heading, lines in _sections(seen, math.inf if everything else _SHOWN, asked, parameters):
            for number, line in enumerate(lines):
                say(f"{heading if not number else '':<13}{line}")
    if not seen.usable:
        raise typer.Exit(1)


def _sections(seen: Inspection, shown: float, asked: str, parameters: str | None) -> Iterator[tuple[str, list[str]]]:
    """Headings and their lines; `asked` are deck and variables as they were written."""
    yield "deck", [_first(seen)]
    if seen.failed:
        yield "stopped", [seen.failed]
    yield "types", _shortened((_type(seen, k) for k in range(len(seen.types))), shown)
    yield "cell", _cell(seen)
    yield "styles", [f"{command} {words}" for command, words in seen.styles.items()]
    yield "fixes", [f"'{fix.fix}': {fix.text if fix.role != 'refused' else 'refused, see below'}" for fix in seen.fixes]
    if seen.held:
        yield "held", [f"{seen.held} of {seen.dimension * seen.atoms} components"]
    yield "minimised", _minimised(seen)
    yield "ends", _ends(seen)
    yield "parameters", [line for family in seen.families for line in _family(family, shown)]
    yield "left out", list(seen.left_out)
    if seen.plan is not None:
        yield "derivatives", _derivatives(seen.plan)
    yield "notes", list(seen.notes)
    yield "in the way", [text for text in seen.obstacles if text != seen.failed] or ([] if seen.failed else ["nothing"])
    if seen.usable:
        yield "next", [_next(seen, asked, parameters)]


def _first(seen: Inspection) -> str:
    if not seen.atoms:
        return f"{seen.deck}: no atoms, units {seen.units}"
    return (
        f"{seen.deck}: {counted(seen.atoms, 'atom')}, {counted(len(seen.types), 'type')}, units {seen.units}, "
        f"{seen.dimension}-D, boundary {seen.boundary}, {counted(seen.ranks, 'rank')}, {seen.seconds:.1f} s"
    )


def _type(seen: Inspection, index: int) -> str:
    kind = seen.types[index]
    charge = f", charge {kind.charge:+.6g} in all" if any(other.charge for other in seen.types) else ""
    named = f" {kind.element}" if kind.element else ""
    return f"{kind.number}{named}: {counted(kind.count, 'atom')}, mass {kind.mass:.6g}{charge}"


def _cell(seen: Inspection) -> list[str]:
    if not seen.cell:
        return []
    (lx, *_), (xy, ly, _), (xz, yz, lz) = seen.cell
    tilts = f", tilts xy {xy:.5g}, xz {xz:.5g}, yz {yz:.5g}" if any((xy, xz, yz)) else ""
    return [f"{lx:.6g} x {ly:.6g} x {lz:.6g} {seen.length_unit}{tilts}"]


def _minimised(seen: Inspection) -> list[str]:
    if not seen.minimisations:
        return ["never"]
    last = seen.minimisations[-1]
    steps = f"{counted(last.iterations, 'step')}, {counted(last.evaluations, 'force evaluation')}"
    doubt = "" if seen.relaxed or not last.gave_up else f" ({last.gave_up})"
    return [
        f"{counted(len(seen.minimisations), 'time')}; the last stopped with '{last.criterion}' after {steps}, largest "
        f"force {last.force:.2e}{doubt}"
    ]


def _ends(seen: Inspection) -> list[str]:
    if seen.relaxed is None:
        return []
    verdict = "relaxed" if seen.relaxed else "not relaxed"
    return [
        f"energy {seen.energy:.9g} {seen.energy_unit}, largest force {seen.largest_force:.2e} {seen.force_unit}: "
        f"{verdict}, by the limit of {seen.force_limit:.2g}"
    ]


def _family(family: FoundFamily, shown: float) -> list[str]:
    if family.refusal:
        return [f"{family.name}: none: {family.refusal}"]
    count = len(family.values)
    asking = "" if family.default else ": ask with --parameters"
    taken = "" if len(family.default) == count else f", {len(family.default) or 'none'} of them by default{asking}"
    pairs = (f"{label} = {value:.8g}" for label, value in family.values.items())
    return [f"{family.name}: {count}{taken}", *(f"  {line}" for line in _shortened(pairs, shown))]


def _derivatives(plan: Plan) -> list[str]:
    lines = [f"by {counted(len(plan.labels), 'parameter')}: {plan.method}"]
    for product, count in plan.evaluations.items():
        seconds = "" if math.isnan(plan.seconds) else f", {plan.time(product):.2g} s"
        lines.append(f"{product}: about {counted(count, 'force evaluation')}{seconds}")
    stored = ", stored as two factors" if plan.jacobian_bytes > _LARGE else ""
    lines.append(f"Jacobian: {_size(plan.jacobian_bytes)} of memory{stored}")
    return lines


def _next(seen: Inspection, asked: str, parameters: str | None) -> str:
    """A command that can be run as it is."""
    relax = "" if seen.relaxed else " --relax"
    if seen.plan is not None:
        chosen = "" if parameters is None else f" --parameters {shlex.quote(parameters)}"
        return f"lammps-implicit sensitivity {asked} -o result.h5{chosen}{relax}"
    label = next((label for family in seen.families for label in family.values), "")
    if label:
        return f"lammps-implicit sensitivity {asked} --parameters '{label}' -o result.h5{relax}, with those you want"
    return f"lammps-implicit relax {asked} -o relaxed.data"


def _shortened(lines: Iterable[str], shown: float) -> list[str]:
    known = list(lines)
    if len(known) <= shown:
        return known
    return [*known[: int(shown)], f"… {len(known) - int(shown)} more (--all)"]


def _size(count: int) -> str:
    power = min(int(math.log(max(count, 1), 1024)), 4)
    return f"{count / 1024**power:.3g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
