"""Commands about the installation itself: ``doctor``, ``demo``, ``bench``."""

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
    """Check the installation: versions, LAMMPS packages, MPI, potential files, and a small solve."""
    checks = examine()
    for check in checks:
        say(f"{'ok ' if check.good else 'BAD' if check.needed else '-- '}  {check.name}: {check.finding}")
    if any(check.needed and not check.good for check in checks):
        raise LammpsImplicitError("the installation is not complete: see the lines marked BAD")
    say("ready")


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the files.")] = Path("demo-output"),
    overwrite: OverwriteOption = False,
) -> None:
    """Differentiate a W vacancy with respect to all 56 SNAP parameters, and check predictions by relaxing again."""
    summary = run_demo(output, overwrite)
    columns(summary.rows)
    say("Files to look at:")
    for path, text in summary.files:
        say(f"  {path}: {text}")


def bench(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the files.")] = Path("bench-output"),
    largest: Annotated[
        float, typer.Option("--largest", metavar="ATOMS", help="Leave out larger cells than this, but the smallest.")
    ] = math.inf,
    overwrite: OverwriteOption = False,
) -> None:
    """Measure what this package costs on this machine, and other ways to the same results: a few minutes."""
    run_suite(output, overwrite, largest)
