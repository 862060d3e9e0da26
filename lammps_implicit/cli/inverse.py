"""Command: ``invert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from mpi4py import MPI
from typer.core import TyperCommand

from lammps_implicit.cli.console import columns, say
from lammps_implicit.cli.options import OverwriteOption
from lammps_implicit.errors import OutputError
from lammps_implicit.files import refuse_inputs
from lammps_implicit.inverse import run
from lammps_implicit.inverse.config import InversionSettings, described, inputs
from lammps_implicit.inverse.run import HISTORY, PLOT, STRUCTURES, TUNED
from lammps_implicit.mpi.on_root import on_root
from lammps_implicit.observables.configuration import read_configuration


class ConfiguredCommand(TyperCommand):
    """A command whose help lists the settings of its configuration too."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:

        formatter.write(described() + "\n")


def invert(
    config: Annotated[Path, typer.Argument(help="YAML file: cells, the loss, what may change; see below.")],
    output: Annotated[
        Optional[Path],
        typer.Option("-o", "--output", help="Folder for results; default: the name of CONFIG with -output."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted run in the folder ended.")
    ] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Tune parameters until relaxed structures, energies and volumes are what is wanted."""
    folder = Path(f"{config.stem}-output") if output is None else output
    settings = on_root(MPI.COMM_WORLD, lambda: read_configuration(config, InversionSettings))
    on_root(MPI.COMM_WORLD, lambda: _prepare(folder, resume, overwrite, inputs(settings), settings.structures))
    inversion = run.invert(
        settings, folder, resume=resume, say=say, clear=lambda: _clear(folder) if overwrite else None
    )
    columns(inversion.rows())
    say("wrote " + ", ".join(map(str, inversion.files)))


def _prepare(folder: Path, resume: bool, overwrite: bool, inputs: list[Path], structures: bool) -> None:
    """Make the folder of results; refuse to mix two runs in it, or to write over what is read."""
    if resume and overwrite:
        raise OutputError("give --resume or --overwrite, not both")
    if resume and not (folder / HISTORY).exists():
        raise OutputError(f"there is nothing to go on with: {folder / HISTORY} does not exist")
    there = _results(folder)
    if there and not (resume or overwrite):
        raise OutputError(f"{there[0]} exists already: choose another folder (-o), or pass --resume or --overwrite")
    for path in there:
        refuse_inputs(path, *inputs)
    try:
        (folder / STRUCTURES if structures else folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}") from None


def _results(folder: Path) -> list[Path]:
    """What an earlier run left in a folder."""
    names = [folder / HISTORY, folder / PLOT]
    tuned = folder.glob(f"{TUNED}.*")
    return [path for path in (*names, *tuned, *(folder / STRUCTURES).glob("[0-9][0-9][0-9]_*.*")) if path.exists()]


def _clear(folder: Path) -> None:
    for path in _results(folder):
        path.unlink()
