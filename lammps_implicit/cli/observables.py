"""The command ``observables``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from mpi4py import MPI

from lammps_implicit.cli.console import columns, say
from lammps_implicit.cli.minima import _read_ensemble
from lammps_implicit.cli.options import OverwriteOption, ThirdOption, require_exists
from lammps_implicit.files import beside, refuse_to_overwrite, write_figure
from lammps_implicit.mpi.on_root import on_root
from lammps_implicit.observables.config import StudySettings
from lammps_implicit.observables.configuration import read_configuration
from lammps_implicit.observables.study import plot_study, run_study, table, write_study


def observables(
    config: Annotated[Path, typer.Argument(help="YAML file that names the decks of the bulk and the defects.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="HDF5 file; a plot of the same name is written beside it.")
    ] = Path("observables.h5"),
    ensemble: ThirdOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Formation energies and volumes, lattice and elastic constants, with their gradients."""
    (plot,) = beside(output, ".png")
    for path in (output, plot):
        refuse_to_overwrite(path, overwrite)
    require_exists(ensemble)
    settings = read_configuration(config, StudySettings)
    known = None if ensemble is None else partial(_read_ensemble, ensemble)
    study = run_study(settings, say=say, ensemble=known)

    def write() -> None:
        write_study(output, study, overwrite)
        write_figure(plot, plot_study(study), overwrite)

    on_root(MPI.COMM_WORLD, write)
    columns([("observable", "value", "unit", "moves most"), *table(study)])
    say(f"wrote {output}, {plot}")
