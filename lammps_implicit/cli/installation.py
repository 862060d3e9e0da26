"""Commands that try out the installation: ``doctor``, ``demo``, ``bench``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from lammps_implicit.benchmarks.suite import run_suite
from lammps_implicit.cli.console import columns, say
from lammps_implicit.cli.demo import run_demo
from lammps_implicit.cli.doctor import as_json as shown_as_json
from lammps_implicit.cli.doctor import examine, ready, show
from lammps_implicit.cli.options import OverwriteOption, number
from lammps_implicit.errors import LammpsImplicitError


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Check the installation.

    Looks at versions, MPI, LAMMPS, PETSc, JAX, threads, folders and files, says what to do about what is wrong, and
    compares derivatives of a small cell with relaxing it again; under mpirun on every rank.
    """
    if as_json:
        checks = list(examine())
        say(shown_as_json(checks))
    else:
        checks = show(examine())
    if not ready(checks):
        raise LammpsImplicitError("the installation is incomplete: see what is marked BAD, and what to do about it")
    if not as_json:
        say("ready")


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")] = Path("demo-output"),
    overwrite: OverwriteOption = False,
) -> None:
    """Run a worked example: a vacancy in W.

    Differentiates it by all 56 SNAP parameters, and compares predictions with relaxing again.
    """
    summary = run_demo(output, overwrite)
    columns(summary.rows)
    say("Files to look at:")
    for path, text in summary.files:
        say(f"  {path}: {text}")


def bench(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")] = Path("bench-output"),
    largest: Annotated[
        float,
        typer.Option(
            "--largest",
            metavar="ATOMS",
            parser=number(infinite=True),
            help="Leave out cells larger than this; the smallest is always kept.",
        ),
    ] = math.inf,
    overwrite: OverwriteOption = False,
) -> None:
    """Measure costs on this machine.

    Compares this package with other ways to the same results; takes a few minutes.
    """
    run_suite(output, overwrite, largest)
