"""The command line ``lammps-implicit``: its commands, its error messages and exit status."""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from functools import partial
from typing import Any, NoReturn

import typer
from mpi4py import MPI

from lammps_implicit.cli import ensembles, installation, minima
from lammps_implicit.cli.barriers import barrier
from lammps_implicit.cli.check import check
from lammps_implicit.cli.commands import Command
from lammps_implicit.cli.console import guard_standard_output, printable, require_printed
from lammps_implicit.cli.free_energy import free_energy
from lammps_implicit.cli.inspection import inspect
from lammps_implicit.cli.inverse import InvertCommand, invert
from lammps_implicit.cli.observables import ObservablesCommand, observables
from lammps_implicit.cli.petsc_options import hand_to_petsc
from lammps_implicit.cli.saddle_search import saddles
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.interrupts import stop_on_signals
from lammps_implicit.mpi.ranks import rank
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


COMMANDS: tuple[tuple[Callable[..., None], type[Command]], ...] = (
    (installation.doctor, Command),
    (installation.demo, Command),
    (inspect, Command),
    (check, Command),
    (minima.relax, Command),
    (minima.sensitivity, Command),
    (minima.predict, Command),
    (barrier, Command),
    (saddles, Command),
    (free_energy, Command),
    (observables, ObservablesCommand),
    (ensembles.propagate, Command),
    (ensembles.validate, Command),
    (ensembles.merge, Command),
    (ensembles.report, Command),
    (invert, InvertCommand),
    (installation.bench, Command),
)
"""Functions of the commands, in the order in which the help lists them, and how each shows its help."""

for function, kind in COMMANDS:
    app.command(cls=kind)(function)


_UsageError: Any = typer.BadParameter.__mro__[2]
"""Class of errors in the use of the command line: click's, or that of the copy of click which newer typers bring."""


def main() -> NoReturn:
    """Run the command line; an error the user can act on becomes one message and exit status 1.

    An exception on one rank ends all ranks within seconds, so that none waits for it forever.
    """
    stop_on_signals()
    warnings.showwarning = _show_warning
    guard_standard_output()
    os.environ["JAX_ENABLE_X64"] = "1"  # for whichever command needs JAX: nobody else uses it in this process
    silenced = nullcontext() if rank() == 0 else redirect_stdout(io.StringIO())  # help and usage: once, by rank 0
    status = 1
    try:
        with silenced:
            status = int(app(prog_name="lammps-implicit", args=hand_to_petsc(sys.argv[1:]), standalone_mode=False) or 0)
        require_printed()
    except LammpsImplicitError as error:
        _end(partial(_print_error, f"error: {error}"))
    except _UsageError as error:
        _end(error.show, error.exit_code)
    except SystemExit as leaving:
        _end(partial(_print_error, f"error: sys.exit({leaving.code!r}) was called while a command ran"))
    except Exception as error:
        limit = _limit(error)
        _end(partial(_print_error, f"error: {limit}") if limit else traceback.print_exc)
    sys.exit(status)


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """Print a warning as one line, without the place in the code it comes from."""
    _print_error(f"warning: {message}")


_LIMITS = {
    errno.ENOSPC: "make room, or set TMPDIR to a folder with space",
    errno.EDQUOT: "make room, or set TMPDIR to a folder with space",
    errno.EFBIG: "raise the limit of the size of files ('ulimit -f')",
    errno.EMFILE: "raise the limit of open files ('ulimit -n')",
    errno.ENFILE: "close other programs, or ask for more open files of this host",
    errno.EROFS: "choose a folder that can be written to, also for TMPDIR",
    errno.ENOMEM: "use more ranks or nodes, or raise the limit of memory ('ulimit -v')",
}
"""What to do about limits of the system."""


def _limit(error: Exception) -> str:
    """Say which limit of the system was met, and what to do; empty for other errors."""
    if isinstance(error, MemoryError):
        return f"there is not enough memory ({error or 'no size given'}): {_LIMITS[errno.ENOMEM]}"
    if isinstance(error, OSError) and error.errno in _LIMITS:
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror}{where}: {_LIMITS[error.errno]}"
    return ""


def _print_error(message: str) -> None:
    print(printable(message), file=sys.stderr, flush=True)


def _end(report: Callable[[], None], status: int = 1) -> NoReturn:
    """Report an error and end all ranks."""
    end_together(MPI.COMM_WORLD, report)
    sys.exit(status)
