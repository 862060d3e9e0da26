"""The command ``check``: a conformance report of a deck and its potential."""

from __future__ import annotations

import math
import sys
import textwrap
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Optional

import typer
from mpi4py import MPI

from lammps_implicit.cli.console import say
from lammps_implicit.cli.options import (
    DeckArgument,
    EvaluatorOption,
    OverwriteOption,
    ParametersOption,
    VariableOption,
    read_variables,
    whole,
)
from lammps_implicit.conformance.checking import check_deck
from lammps_implicit.conformance.finding import Verdict, counted
from lammps_implicit.conformance.plots import plot_conformance
from lammps_implicit.conformance.report import Conformance
from lammps_implicit.conformance.smoothness import LINES
from lammps_implicit.errors import OutputError
from lammps_implicit.files import refuse_inputs, refuse_to_overwrite, write_figure
from lammps_implicit.mpi.on_root import on_root
from lammps_implicit.mpi.ranks import rank
from lammps_implicit.progress import progress

_STYLES = {Verdict.good: "green", Verdict.limited: "yellow", Verdict.bad: "bold red", Verdict.unmeasured: "dim"}

_NARROWEST = 30
"""Columns that texts take at least."""


def check(
    deck: DeckArgument,
    output: Annotated[Optional[Path], typer.Option("-o", "--output", help="PNG file for a plot.")] = None,
    json: Annotated[Optional[Path], typer.Option("--json", help="JSON file with all numbers.")] = None,
    lines: Annotated[
        int, typer.Option("--lines", parser=whole(1, 1000), help="Random lines to scan for kinks.")
    ] = LINES,
    ranks: Annotated[
        bool, typer.Option("--ranks/--no-ranks", help="Run the deck again on another number of ranks, and compare.")
    ] = True,
    parameters: ParametersOption = None,
    variables: VariableOption = None,
    evaluator: EvaluatorOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Check energies, forces and smoothness of a deck's potential.

    Runs the deck and measures: forces against energies, pressures, where forces have kinks and which pairs cause them,
    noise, invariance, ranks, and what derivatives will cost. The potential needs no parameters. Exit status 1 if bad.
    """
    outputs = [path for path in (output, json) if path is not None]
    for path in outputs:
        refuse_to_overwrite(path, overwrite)
        refuse_inputs(path, deck)
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise OutputError(f"{output} would be both the plot and the JSON file: give two names")
    settings = read_variables(variables)
    with progress("checking", rank() == 0) as update:
        report = check_deck(
            deck,
            variables=settings,
            parameters=parameters,
            evaluator=evaluator or "lammps",
            lines=lines,
            ranks=ranks,
            progress=update,
        )
    if rank() == 0:
        _show(report)
    on_root(MPI.COMM_WORLD, lambda: _write(report, output, json, overwrite))
    for path in outputs:
        say(f"wrote {path}")
    if report.verdict is Verdict.bad:
        raise typer.Exit(1)


def _write(report: Conformance, output: Path | None, json: Path | None, overwrite: bool) -> None:
    if output is not None:
        write_figure(output, plot_conformance(report), overwrite)
    if json is not None:
        report.write_json(json, overwrite)


def _show(report: Conformance) -> None:
    """Print the report: coloured on a terminal, plain lines elsewhere."""
    from rich.console import Console
    from rich.text import Text

    about = report.about
    console = Console(highlight=False, markup=False, file=sys.stdout)
    console.soft_wrap = not console.is_terminal  # files keep one line for each finding
    held = f", {counted(about['held components'], 'component')} held" if about["held components"] else ""
    console.print(
        f"{report.deck}: {counted(about['atoms'], 'atom')}, {counted(about['types'], 'type')}{held}, boundary "
        f"{about['periodic']}, {counted(about['ranks'], 'rank')}, pair_style {about['pair style']}"
    )
    if math.isfinite(about["energy"]):
        force = f"largest force {about['largest force']:.2e} {about['force unit']}"
        console.print(f"energy {about['energy']:.9g} {about['energy unit']}, {force}")
    for remark in report.remarks:
        console.print(remark)
    width = max(len(finding.name) for finding in report.findings)
    indent = " " * (15 + width)
    columns = console.width - len(indent) if console.is_terminal else math.inf
    for finding in report.findings:
        first, *rest = _wrapped(finding.text, columns)
        console.print(
            Text.assemble(
                (f"{finding.verdict.value:<13}", _STYLES[finding.verdict]), f"{finding.name:<{width}}  {first}"
            )
        )
        for line in rest:
            console.print(indent + line)
        if finding.remedy:
            for mark, line in zip_longest(["-> "], _wrapped(finding.remedy, columns - 3), fillvalue="   "):
                console.print(indent + mark + line)
    console.print(f"{counted(report.evaluations, 'force evaluation')}, {report.seconds:.1f} s")
    console.print(Text.assemble("overall ", (report.summary, _STYLES[report.verdict])))


def _wrapped(text: str, columns: float) -> list[str]:
    """Lines of a text no wider than these columns."""
    if not math.isfinite(columns):
        return [text]
    return textwrap.wrap(text, max(int(columns), _NARROWEST), break_on_hyphens=False) or [""]
