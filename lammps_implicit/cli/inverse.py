"""The command ``invert``."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Optional

import typer
from mpi4py import MPI
from pydantic import BaseModel

from lammps_implicit.cli.configuration_help import ConfiguredCommand
from lammps_implicit.cli.console import columns, say
from lammps_implicit.cli.options import OverwriteOption
from lammps_implicit.errors import OutputError
from lammps_implicit.files import locked, make_folder, refuse_folder, refuse_inputs, refuse_to_overwrite
from lammps_implicit.inverse import run
from lammps_implicit.inverse.config import (
    Bound,
    CellSettings,
    Equality,
    Hold,
    InversionSettings,
    Loss,
    ParameterSettings,
    inputs,
)
from lammps_implicit.inverse.kinds import Aim
from lammps_implicit.inverse.loss import LOSSES
from lammps_implicit.inverse.run import HISTORY, PLOT, STRUCTURES, TUNED
from lammps_implicit.mpi.on_root import on_root
from lammps_implicit.observables.configuration import read_configuration
from lammps_implicit.observables.decks import BarrierEnds, PositionSource
from lammps_implicit.observables.kind import OBSERVABLES


class InvertCommand(ConfiguredCommand):
    """The command ``invert``, with its settings in the help."""

    def sections(self) -> list[tuple[str, type[BaseModel]]]:
        """Sections of the configuration, all registered kinds of loss terms and observables included."""
        return [
            ("Settings of CONFIG", InversionSettings),
            ("cells: NAME", CellSettings),
            ("cells: NAME: barrier", BarrierEnds),
            ("loss", Loss),
            ("loss: observables: NAME", Aim),
            *(("loss: terms, each", model) for _, model in LOSSES.items()),
            ("target or sites", PositionSource),
            ("hold", Hold),
            ("parameters", ParameterSettings),
            ("parameters: bounds: PATTERN", Bound),
            ("parameters: equalities, each", Equality),
            *(("observables: NAME", model) for model in dict.fromkeys(model for _, model in OBSERVABLES.items())),
        ]


def invert(
    config: Annotated[
        Path, typer.Argument(help="YAML configuration: cells, loss, free parameters; all settings are listed below.")
    ],
    output: Annotated[
        Optional[Path],
        typer.Option(
            "-o", "--output", help="Folder for the results. Default: the name of CONFIG with '-output' appended."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run from its last checkpoint.")
    ] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Find parameters that match given targets.

    Tunes the parameters until relaxed structures, energies and volumes are what the configuration asks for.
    """
    folder = Path(f"{config.stem}-output") if output is None else output
    settings = on_root(MPI.COMM_WORLD, lambda: read_configuration(config, InversionSettings))
    on_root(MPI.COMM_WORLD, lambda: _prepare(folder, resume, overwrite, [config, *inputs(settings)]))
    with ExitStack() as lock:
        begin = partial(_begin, folder, settings.structures, resume, overwrite, lock)
        inversion = run.invert(settings, folder, resume=resume, say=say, clear=begin)
    columns(inversion.rows())
    say("wrote " + ", ".join(map(str, inversion.files)))


def _prepare(folder: Path, resume: bool, overwrite: bool, inputs: list[Path]) -> None:
    """Refuse to mix two runs in the results folder, or to overwrite input files; nothing is written yet."""
    if resume and overwrite:
        raise OutputError("give either --resume or --overwrite, not both")
    if resume and not (folder / HISTORY).exists():
        raise OutputError(f"--resume: there is no run to continue, {folder / HISTORY} does not exist")
    for path in _expected(folder, resume or overwrite):
        refuse_inputs(path, *inputs)
    refuse_folder(folder)
    if folder.is_dir():
        for name in (HISTORY, PLOT):
            refuse_to_overwrite(folder / name, True)


def _expected(folder: Path, asked: bool) -> list[Path]:
    """Files that an earlier run left in a folder, which are an error if they are not asked for."""
    there = _results(folder)
    if there and not asked:
        raise OutputError(f"{there[0]} exists already: choose another folder (-o), or pass --resume or --overwrite")
    return there


def _results(folder: Path) -> list[Path]:
    """Files that an earlier run left in a folder."""
    names = [folder / HISTORY, folder / PLOT]
    tuned = folder.glob(f"{TUNED}.*")
    return [path for path in (*names, *tuned, *(folder / STRUCTURES).glob("[0-9][0-9][0-9]_*.*")) if path.exists()]


def _begin(folder: Path, structures: bool, resume: bool, overwrite: bool, lock: ExitStack) -> None:
    """Make the results folder, without the results of an earlier run, and lock it; called once all input is read."""
    make_folder(folder / STRUCTURES if structures else folder)
    lock.enter_context(locked(folder / HISTORY))
    for path in _expected(folder, resume or overwrite):  # perhaps of a run that began after this one
        if overwrite:
            path.unlink()
