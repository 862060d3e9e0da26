"""Commands that try out the installation: ``doctor``, ``demo``, ``bench``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from lammps_implicit.benchmarks.suite import run_suite
from lammps_implicit.cli.console import columns, say
from lammps_implicit.cli.demo import run_demo
from lammps_implicit.cli.doctor import examine
from lammps_implicit.cli.options import OverwriteOption
from lammps_implicit.errors import LammpsImplicitError


def doctor() -> None:
    """Check the installation.

    Looks at versions, LAMMPS' packages, MPI and potential files, and solves a small system.
    """
    checks = examine()
    for check in checks:
        say(f"{'ok ' if check.good else 'BAD' if check.needed else '-- '}  {check.name}: {check.finding}")
    if any(check.needed and not check.good for check in checks):
        raise LammpsImplicitError("the installation is incomplete: see the lines marked BAD")
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
            "--largest", metavar="ATOMS", help="Leave out cells larger than this; the smallest is always kept."
        ),
    ] = math.inf,
    overwrite: OverwriteOption = False,
) -> None:
    """Measure costs on this machine.

    Compares this package with other ways to the same results; takes a few minutes.
    """
    run_suite(output, overwrite, largest)
