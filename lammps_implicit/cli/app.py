"""The command line ``lammps-implicit``: its commands, its error messages and exit status."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

import typer
from mpi4py import MPI
from typer.core import TyperCommand

from lammps_implicit.cli import ensembles, installation, minima
from lammps_implicit.cli.check import check
from lammps_implicit.cli.inverse import InvertCommand, invert
from lammps_implicit.cli.observables import ObservablesCommand, observables
from lammps_implicit.cli.petsc_options import hand_to_petsc
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.mpi.interrupts import stop_on_signals
from lammps_implicit.mpi.shutdown import end_together

app = typer.Typer(
    help="Implicit derivatives of LAMMPS minima: how relaxed structures, energies and volumes depend on the parameters "
    "of the potential.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


COMMANDS: tuple[tuple[Callable[..., None], type[TyperCommand]], ...] = (
    (installation.doctor, TyperCommand),
    (installation.demo, TyperCommand),
    (check, TyperCommand),
    (minima.relax, TyperCommand),
    (minima.sensitivity, TyperCommand),
    (minima.predict, TyperCommand),
    (observables, ObservablesCommand),
    (ensembles.propagate, TyperCommand),
    (ensembles.validate, TyperCommand),
    (ensembles.merge, TyperCommand),
    (ensembles.report, TyperCommand),
    (invert, InvertCommand),
    (installation.bench, TyperCommand),
)
"""Functions of the commands, in the order in which the help lists them, and how each shows its help."""

for function, kind in COMMANDS:
    app.command(cls=kind)(function)


def main() -> NoReturn:
    """Run the command line; an error the user can act on becomes one message and exit status 1.

    An exception on one rank ends all ranks within seconds, so that none waits for it forever.
    """
    stop_on_signals()
    os.environ["JAX_ENABLE_X64"] = "1"  # for whichever command needs JAX: nobody else uses it in this process
    try:
        app(prog_name="lammps-implicit", args=hand_to_petsc(sys.argv[1:]), standalone_mode=True)
    except LammpsImplicitError as error:
        message = f"error: {error}"
        _end(lambda: print(message, file=sys.stderr, flush=True))
    except Exception:
        _end(traceback.print_exc)
    sys.exit(0)


def _end(report: Callable[[], None]) -> NoReturn:
    """Report an error and end all ranks."""
    end_together(MPI.COMM_WORLD, report)
    sys.exit(1)
