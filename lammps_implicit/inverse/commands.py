"""Command: ``invert``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from typer.core import TyperCommand

from lammps_implicit.console import columns, say
from lammps_implicit.errors import OutputError

if TYPE_CHECKING:
    from lammps_implicit.inverse.run import Inversion


class ConfiguredCommand(TyperCommand):
    """A command whose help lists the settings of its configuration too."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from lammps_implicit.inverse.config import described

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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the results of an earlier run.")] = False,
) -> None:
    """Tune parameters until relaxed structures, energies and volumes are what is wanted."""
    from mpi4py import MPI

    from lammps_implicit.inverse import run
    from lammps_implicit.inverse.config import read_configuration
    from lammps_implicit.parallel import on_root

    folder = Path(f"{config.stem}-output") if output is None else output
    configuration = on_root(MPI.COMM_WORLD, lambda: read_configuration(config))
    on_root(MPI.COMM_WORLD, lambda: _prepare(folder, resume, overwrite, configuration.structures))
    inversion = run.invert(configuration, folder, resume=resume, say=say)
    _tell(inversion)


def _prepare(folder: Path, resume: bool, overwrite: bool, structures: bool) -> None:
    """Make the folder of results; refuse to mix two runs in it."""
    from lammps_implicit.inverse.run import HISTORY, PLOT, STRUCTURES, TUNED

    known = folder / HISTORY
    if resume and overwrite:
        raise OutputError("give --resume or --overwrite, not both")
    if resume and not known.exists():
        raise OutputError(f"there is nothing to go on with: {known} does not exist")
    ours = [HISTORY, PLOT, f"{TUNED}.snapcoeff", f"{TUNED}.snapparam"]
    there = [folder / name for name in ours if (folder / name).exists()]
    if there and not (resume or overwrite):
        raise OutputError(f"{there[0]} exists already: choose another folder (-o), or pass --resume or --overwrite")
    try:
        (folder / STRUCTURES if structures else folder).mkdir(parents=True, exist_ok=True)
        if overwrite:
            for path in [*there, *(folder / STRUCTURES).glob("[0-9][0-9][0-9]_*.*")]:
                path.unlink()
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}") from None


def _tell(inversion: Inversion) -> None:
    import numpy as np

    history = inversion.descent.history
    first, last = history[0], history[-1]
    shares = inversion.change / inversion.scale
    most = int(np.argmax(np.abs(shares)))
    rows = [
        ("ended", inversion.descent.reason),
        ("iterations", str(last.number)),
        ("loss", f"{first.loss:.6g} -> {last.loss:.6g}"),
        *(
            (f"loss: {name}", f"{first.terms[name]:.6g} -> {last.terms[name]:.6g}")
            for name in first.terms
            if len(first.terms) > 1
        ),
        *((name, f"{value:.8g} -> {inversion.end[name]:.8g}") for name, value in inversion.start.items()),
        ("change of the parameters", f"{np.linalg.norm(shares):.3g} in units of their scales"),
        ("most of it", f"{inversion.names[most]} by {shares[most]:+.3g} of its scale"),
        ("evaluations", f"{last.forces} forces, {last.descriptors} descriptors"),
    ]
    columns(rows)
    say("wrote " + ", ".join(map(str, inversion.files)))
