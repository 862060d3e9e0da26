"""The command line ``lammps-implicit``: its commands, and how it ends."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

import typer
from mpi4py import MPI

from lammps_implicit.cli import ensembles, installation, minima, observables
from lammps_implicit.cli.inverse import ConfiguredCommand, invert
from lammps_implicit.cli.petsc_options import hand_to_petsc
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.mpi.interrupts import stop_on_signals
from lammps_implicit.mpi.shutdown import end_together

app = typer.Typer(
    help="How a relaxed structure, its energy and volume depend on the parameters of its potential.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


for command in (
    installation.doctor,
    installation.demo,
    minima.relax,
    minima.sensitivity,
    minima.predict,
    observables.observables,
    installation.bench,
    ensembles.propagate,
    ensembles.validate,
    ensembles.merge,
    ensembles.report,
):
    app.command()(command)
app.command(cls=ConfiguredCommand)(invert)


def main() -> NoReturn:
    """Run the command line: one message and exit status 1 for an error a user can act on.

    An exception on one rank ends all within seconds, lest the rest wait for it.
    """
    stop_on_signals()
    try:
        app(prog_name="lammps-implicit", args=hand_to_petsc(sys.argv[1:]), standalone_mode=True)
    except LammpsImplicitError as error:
        message = f"error: {error}"
        _end(lambda: print(message, file=sys.stderr, flush=True))
    except Exception:
        _end(traceback.print_exc)
    sys.exit(0)


def _end(report: Callable[[], None]) -> NoReturn:

    end_together(MPI.COMM_WORLD, report)
    sys.exit(1)
