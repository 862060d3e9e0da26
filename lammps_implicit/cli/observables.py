"""The command ``observables``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from mpi4py import MPI
from pydantic import BaseModel

from lammps_implicit.cli.configuration_help import ConfiguredCommand
from lammps_implicit.cli.console import columns, say
from lammps_implicit.cli.minima import read_ensemble_directions
from lammps_implicit.cli.options import (
    AcceptMeanOption,
    CovarianceOption,
    EnsembleDirectionsOption,
    OverwriteOption,
    RelaxOption,
    require_exists,
)
from lammps_implicit.files import beside, refuse_inputs, refuse_to_overwrite, write_figure
from lammps_implicit.mpi.on_root import on_root
from lammps_implicit.observables.config import Binding, Bulk, Defect, StudySettings
from lammps_implicit.observables.configuration import read_configuration
from lammps_implicit.observables.decks import BarrierEnds, DeckSettings, PositionSource
from lammps_implicit.observables.kind import OBSERVABLES
from lammps_implicit.observables.study import plot_study, run_study, table, write_study


class ObservablesCommand(ConfiguredCommand):
    """The command ``observables``, with its settings in the help."""

    def sections(self) -> list[tuple[str, type[BaseModel]]]:
        """Sections of the configuration, all registered kinds of observables included."""
        return [
            ("Settings of CONFIG", StudySettings),
            ("bulk", Bulk),
            ("defects: NAME", Defect),
            ("defects: NAME: barrier", BarrierEnds),
            ("reservoirs: ELEMENT", DeckSettings),
            ("bindings: NAME", Binding),
            *(("observables: NAME", model) for model in dict.fromkeys(model for _, model in OBSERVABLES.items())),
            ("sites", PositionSource),
        ]


def observables(
    config: Annotated[
        Path,
        typer.Argument(help="YAML configuration: decks of the bulk and the defects; all settings are listed below."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="HDF5 file; a plot is written beside it, with the ending .png.")
    ] = Path("observables.h5"),
    ensemble: EnsembleDirectionsOption = None,
    covariance: CovarianceOption = False,
    accept_mean: AcceptMeanOption = False,
    relax: RelaxOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Compute observables with their derivatives.

    Formation energies and volumes of defects, binding energies, lattice and elastic constants, and others by name.
    """
    (plot,) = beside(output, ".png")
    for path in (output, plot):
        refuse_to_overwrite(path, overwrite)
        refuse_inputs(path, config, *([] if ensemble is None else [ensemble]))
    require_exists(ensemble)
    settings = read_configuration(config, StudySettings)
    for deck in settings.with_decks().values() if relax else ():
        deck.relax = True
    read = None
    if ensemble is not None:
        read = partial(read_ensemble_directions, ensemble, covariance=covariance, accept_mean=accept_mean)
    study = run_study(settings, say=say, ensemble=read)

    shown = len(study.parameters.names) > 0

    def write() -> None:
        write_study(output, study, overwrite)
        if shown:
            write_figure(plot, plot_study(study), overwrite)

    on_root(MPI.COMM_WORLD, write)
    columns([("observable", "value", "unit", "most sensitive to"), *table(study)])
    say(f"  accuracy of derivatives  {study.quality.finding}")
    limited: dict[str, list[str]] = {}
    for name, found in study.observables.items():
        limited.setdefault(found.caution, []).append(name)
    for reason, names in limited.items():
        if reason:
            say(f"  limited are              {', '.join(names)}: {reason}")
    say(f"wrote {output}, {plot}" if shown else f"wrote {output}")
