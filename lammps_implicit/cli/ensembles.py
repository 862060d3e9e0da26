"""Commands on ensembles of parameters: ``propagate``, ``validate``, ``merge``, ``report``."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Optional

import numpy as np
import typer
from mpi4py import MPI

from lammps_implicit.cli.console import columns, say
from lammps_implicit.cli.options import AcceptMeanOption, CovarianceOption, FtolOption, OverwriteOption, number, whole
from lammps_implicit.ensembles import plots, propagation, validation
from lammps_implicit.ensembles.agreement import agreement, agreement_rows, outcome_lines
from lammps_implicit.ensembles.ensemble import Ensemble, read_ensemble
from lammps_implicit.ensembles.files import read_propagation, write_propagation
from lammps_implicit.ensembles.propagation import Distribution
from lammps_implicit.ensembles.report import driver_rows, html_report, summary_rows
from lammps_implicit.ensembles.shards import (
    MERGED_KIND,
    merge_shards,
    read_records,
    shard_files,
    shard_index,
    write_records,
)
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.files import beside, refuse_inputs, refuse_to_overwrite, write_figure, written_whole
from lammps_implicit.mpi.on_root import on_root
from lammps_implicit.mpi.ranks import rank
from lammps_implicit.observables.distances import distance_from_sensitivity
from lammps_implicit.observables.files import Derivatives, read_derivatives
from lammps_implicit.observables.observable import Observable
from lammps_implicit.potentials.interface import Parameters
from lammps_implicit.progress import progress
from lammps_implicit.results.format import BARRIER_KIND, SENSITIVITY_KIND
from lammps_implicit.results.sensitivity import read_sensitivity

ResultArgument = Annotated[
    Path, typer.Argument(help="HDF5 file from 'lammps-implicit sensitivity', 'observables' or 'barrier'.")
]
EnsembleOption = Annotated[
    Path,
    typer.Option(
        "--ensemble",
        help="Parameter samples (.npy, .csv, or .npz with 'samples'), a covariance (.npz with 'covariance' and "
        "optionally 'mean'), or a folder of .snapcoeff files.",
    ),
]
DrawsOption = Annotated[
    int, typer.Option("--draws", parser=whole(1), help="Number of samples to draw from a covariance.")
]
DrawSeedOption = Annotated[
    int, typer.Option("--draw-seed", parser=whole(), help="Random seed for drawing from a covariance.")
]
SingularOption = Annotated[
    bool,
    typer.Option("--allow-singular", help="Accept a singular covariance: some combinations of parameters do not vary."),
]
LimitOption = Annotated[
    float,
    typer.Option(
        "--limit",
        parser=number(),
        help="Flag samples whose estimated error exceeds this fraction of both their change and the spread.",
    ),
]


def propagate(
    result: ResultArgument,
    ensemble: EnsembleOption,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="HDF5 file; plots and an .xyz file are written beside it.")
    ],
    draws: DrawsOption = 100_000,
    draw_seed: DrawSeedOption = 0,
    allow_singular: SingularOption = False,
    covariance: CovarianceOption = False,
    accept_mean: AcceptMeanOption = False,
    limit: LimitOption = 0.1,
    distances: Annotated[
        Optional[list[str]],
        typer.Option(
            "--distance",
            metavar="ID-ID",
            help="Also propagate the distance between two atoms, given by ids; may be repeated.",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Propagate an ensemble of parameters to observables.

    Computes the distribution of every observable from its derivatives, without running LAMMPS.
    """
    reader = partial(
        read_ensemble,
        ensemble,
        draws=draws,
        seed=draw_seed,
        allow_singular=allow_singular,
        covariance=covariance,
        accept_mean=accept_mean,
    )
    _on_root(lambda: _propagate(result, ensemble, output, reader, limit, distances, overwrite))


def validate(
    result: ResultArgument,
    ensemble: EnsembleOption,
    samples: Annotated[
        int, typer.Option("--samples", parser=whole(1), help="Number of samples to relax again, over all shards.")
    ],
    shard: Annotated[
        str,
        typer.Option(
            "--shard",
            metavar="INDEX/COUNT",
            help="Part of the samples to relax in this run, as 0/4 to 3/4 or 1/4 to 4/4.",
        ),
    ] = "0/1",
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the files of all shards.")] = Path(
        "validation"
    ),
    seed: Annotated[
        int, typer.Option("--seed", parser=whole(), help="Random seed for choosing samples; the same for all shards.")
    ] = 0,
    ftol: FtolOption = 1e-8,
    draws: DrawsOption = 100_000,
    draw_seed: DrawSeedOption = 0,
    allow_singular: SingularOption = False,
    covariance: CovarianceOption = False,
    accept_mean: AcceptMeanOption = False,
    limit: LimitOption = 0.1,
    overwrite: OverwriteOption = False,
) -> None:
    """Relax samples again to check the predictions.

    An interrupted shard continues where it stopped.
    """
    part, parts = shard_index(shard)

    def read() -> tuple[Derivatives, Ensemble]:
        derivatives = read_derivatives(result)
        known = read_ensemble(
            ensemble, derivatives.parameters, draws, draw_seed, allow_singular, covariance, accept_mean
        )
        return derivatives, known

    derivatives, known = on_root(MPI.COMM_WORLD, read)
    with progress("validating", rank() == 0) as update:
        path = validation.validate(
            derivatives, known, samples, part, parts, output, seed, ftol, limit, overwrite, progress=update, say=say
        )
    say(f"wrote {path}")


def merge(
    shards: Annotated[list[Path], typer.Argument(help="Files of all shards, or the folder that holds them.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="HDF5 file; a plot is written beside it, with the ending .png.")
    ],
    overwrite: OverwriteOption = False,
) -> None:
    """Combine the shards of a validation.

    Compares them with the predictions.
    """
    _on_root(lambda: _merge(shards, output, overwrite))


def report(
    result: Annotated[Path, typer.Argument(help="HDF5 file from 'lammps-implicit propagate'.")],
    validation: Annotated[
        Optional[Path], typer.Option("--validation", help="HDF5 file from 'lammps-implicit merge'.")
    ] = None,
    output: Annotated[
        Optional[Path],
        typer.Option("-o", "--output", help="HTML file. Default: the name of RESULT with the ending .html."),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write an HTML report of a propagated ensemble."""
    _on_root(lambda: _report(result, validation, output or result.with_suffix(".html"), overwrite))


def _propagate(
    result: Path,
    ensemble: Path,
    output: Path,
    reader: Callable[[Parameters], Ensemble],
    limit: float,
    distances: list[str] | None,
    overwrite: bool,
) -> None:
    others = beside(output, ".xyz", ".distributions.png", ".drivers.png")
    for path in (output, *others):
        refuse_to_overwrite(path, overwrite)
        refuse_inputs(path, result, ensemble)
    derivatives = read_derivatives(result)
    sensitivity = read_sensitivity(result) if derivatives.kind == SENSITIVITY_KIND else None
    observables = dict(derivatives.observables)
    for pair in distances or []:
        if sensitivity is None:
            raise LammpsImplicitError(
                f"--distance {pair}: {result} holds no structure; give a file from 'lammps-implicit sensitivity'"
            )
        observables[f"distance {pair}"] = distance_from_sensitivity(sensitivity, _pair(pair))
    known = reader(derivatives.parameters)
    found = propagation.propagate(observables, derivatives.parameters.theta, known, limit, derivatives.response_metric)
    files = write_propagation(output, found, derivatives, sensitivity, overwrite)
    distributions, names = found.distributions, known.names
    figures = dict(zip(others[1:], (plots.histograms(distributions), plots.drivers(distributions, names)), strict=True))
    for path, figure in figures.items():
        write_figure(path, figure, overwrite)
    columns(summary_rows(distributions))
    columns(driver_rows(distributions, names))
    flagged, total = int(found.flagged.sum()), len(known.samples)
    say(f"{flagged:,} of {total:,} samples ({flagged / total:.1%}) are flagged: outside the trust range")
    if derivatives.kind == BARRIER_KIND:
        say(f"errors are not estimated: {result} has no third derivatives")
    elif derivatives.response_metric is None:
        say(f"errors are not estimated because {result} was made without --ensemble")
    elif first := [name for name, one in distributions.items() if _lacks_an_error(one, observables[name])]:
        say(f"known to first order only, so without an error: {', '.join(first)}")
    say(f"accuracy of derivatives: {derivatives.verdict}")
    say("wrote " + ", ".join(map(str, [*files, *figures])))


def _lacks_an_error(found: Distribution, observable: Observable) -> bool:
    """Whether the error of an observable is unknown; stabilities, which have limits instead, need none."""
    return bool(np.isnan(found.error).all()) and (observable.bound, observable.floor) == (None, None)


def _merge(shards: list[Path], output: Path, overwrite: bool) -> None:
    (plot,) = beside(output, ".png")
    for path in (output, plot):
        refuse_to_overwrite(path, overwrite)
        refuse_inputs(path, *shard_files(shards))
    records, settings = merge_shards(shards)
    write_records(output, records, settings, MERGED_KIND)
    write_figure(plot, plots.parity(records), overwrite)
    columns(agreement_rows(agreement(records, settings.limit)))
    for line in outcome_lines(records):
        say(line)
    say(f"{int(records.forces.sum()):,} force evaluations, {records.seconds.sum():.0f} s")
    say(f"wrote {output}, {plot}")


def _report(result: Path, validation: Path | None, output: Path, overwrite: bool) -> None:
    refuse_to_overwrite(output, overwrite)
    refuse_inputs(output, result, *([] if validation is None else [validation]))
    propagated = read_propagation(result)
    if validation is None:
        page = html_report(propagated)
    else:
        records, settings = read_records(validation, MERGED_KIND)
        if settings.ensemble != propagated.attributes["ensemble_sha256"]:
            raise LammpsImplicitError(
                f"{validation} belongs to another ensemble than {result}: give the validation of this ensemble"
            )
        if settings.result != propagated.attributes["from_sha256"]:
            raise LammpsImplicitError(
                f"{validation} was made with other derivatives than {result}: give the validation of these"
            )
        page = html_report(propagated, records, settings.limit)
    with written_whole(output, overwrite) as temporary:
        temporary.write_text(page, encoding="utf-8")
    say(f"wrote {output}")


def _pair(text: str) -> tuple[int, int]:
    first, dash, second = text.partition("-")
    if not (dash and _is_id(first) and _is_id(second)):
        raise LammpsImplicitError(f"--distance {text}: write two atom ids, as 12-57")
    return int(first), int(second)


def _is_id(word: str) -> bool:
    return re.fullmatch("[0-9]{1,18}", word) is not None


def _on_root(task: Callable[[], None]) -> None:
    on_root(MPI.COMM_WORLD, task)
