"""The command ``barrier``."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import typer

from lammps_implicit.cli.console import columns, say
from lammps_implicit.cli.minima import read_ensemble_directions
from lammps_implicit.cli.options import (
    AcceptAccuracyOption,
    AcceptMeanOption,
    CellOption,
    CovarianceOption,
    ForceLimitOption,
    FtolOption,
    OverwriteOption,
    ParametersOption,
    PressureOption,
    RelaxOption,
    VariableOption,
    number,
    read_variables,
    require_exists,
    whole,
)
from lammps_implicit.cli.saddle_search import ModeOption, RandomOption, SeedOption, saddles
from lammps_implicit.ensembles.ensemble import Ensemble
from lammps_implicit.ensembles.propagation import propagate
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.files import beside, refuse_inputs, refuse_to_overwrite, write_figure
from lammps_implicit.minimum import Minimum
from lammps_implicit.mpi.ranks import rank
from lammps_implicit.observables.barrier_derivatives import (
    VOLUME,
    BarrierDerivatives,
    affords_path_gradients,
    differentiate_barrier,
    farthest_atoms,
)
from lammps_implicit.observables.barrier_file import write_barrier, write_path_xyz
from lammps_implicit.observables.barrier_plot import plot_path
from lammps_implicit.observables.observable import Observable
from lammps_implicit.observables.trust import trust_radius
from lammps_implicit.progress import progress
from lammps_implicit.results.snapshot import elements_of
from lammps_implicit.saddles.barrier import ACROSS, IMAGES, Barrier
from lammps_implicit.stationary.point import StationaryPoint

_AT_CELL = ("", ", at the cell of the initial state")
"""What is added to what is found at a fixed cell, where cells are not relaxed and where they are."""

_SHOWN = 3
"""Parameters that a barrier is most sensitive to, as far as they are told."""


def barrier(
    deck_a: Annotated[
        Optional[Path],
        typer.Argument(
            metavar="DECK_A", help="LAMMPS input deck that ends with the initial state.", show_default=False
        ),
    ] = None,
    deck_b: Annotated[
        Optional[Path],
        typer.Argument(
            metavar="DECK_B",
            help="Deck that ends with the final state: the same atoms. Default: DECK_A, with the variables of --var-b.",
            show_default=False,
        ),
    ] = None,
    given: Annotated[
        Optional[Path],
        typer.Option(
            "-o",
            "--output",
            help="HDF5 file, barrier.h5 by default; of a path, a plot (.png) and its images (.xyz) stand beside.",
            show_default=False,
        ),
    ] = None,
    variables: VariableOption = None,
    variables_a: Annotated[
        Optional[list[str]],
        typer.Option("--var-a", metavar="NAME=VALUE", help="The same for the initial state only; may be repeated."),
    ] = None,
    variables_b: Annotated[
        Optional[list[str]],
        typer.Option("--var-b", metavar="NAME=VALUE", help="The same for the final state only; may be repeated."),
    ] = None,
    parameters: ParametersOption = None,
    ftol: FtolOption = 1e-8,
    force_limit: ForceLimitOption = 1e-2,
    relax: RelaxOption = False,
    cell: CellOption = "none",
    pressure: PressureOption = None,
    images: Annotated[
        int,
        typer.Option(
            "--images",
            parser=whole(1, 1000),
            help="Images between the ends of a band, and between minima and saddles of the path.",
        ),
    ] = IMAGES,
    path: Annotated[
        bool, typer.Option("--path/--no-path", help="Whether to relax the minimum-energy path, and to plot it.")
    ] = True,
    across: Annotated[
        float,
        typer.Option("--across", parser=number("eV/Å"), help="Relax the path until no force across it exceeds this."),
    ] = ACROSS,
    tol: Annotated[
        float,
        typer.Option("--tol", parser=number(below=1), help="Relative error of the Jacobians, for second derivatives."),
    ] = 1e-5,
    energy_hessian: Annotated[
        Optional[bool],
        typer.Option(
            "--energy-hessian/--no-energy-hessian",
            help="Whether to take second derivatives of the barriers, which need Jacobians of the three states, and "
            "about P² force evaluations each for P parameters in which the energy is not linear. Default: unless these "
            "are more than 2,000 and ten times those of the Jacobians.",
            show_default=False,
        ),
    ] = None,
    ensemble: Annotated[
        Optional[Path],
        typer.Option("--ensemble", help="Ensemble of parameters, as for 'propagate': uncertainties are printed."),
    ] = None,
    covariance: CovarianceOption = False,
    accept_mean: AcceptMeanOption = False,
    accept_accuracy: AcceptAccuracyOption = 0.0,
    start: Annotated[
        Optional[Path],
        typer.Option(
            "--from",
            metavar="DECK",
            help="Instead of two decks: search for saddles around the minimum of this one, as 'saddles' does, with "
            "--random or --mode; of the other options --var, --parameters, --ftol, --force-limit, --relax, --seed and "
            "--overwrite act, and -o is saddles.h5 unless given.",
        ),
    ] = None,
    random: RandomOption = None,
    mode: ModeOption = None,
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Find the saddle between two relaxed states, and differentiate the barrier.

    Runs both decks, relaxes what they end with, searches the highest saddle on the way from one state to the other, and
    writes the forward and backward barrier with their derivatives, and the minimum-energy path, which is at the cell of
    the initial state also where cells are relaxed (--cell). 'propagate' and 'validate' read the result.
    """
    if start is not None:
        if deck_a is not None or variables_a or variables_b:
            raise LammpsImplicitError("--from takes the place of both decks: give no deck, --var-a or --var-b with it")
        if cell != "none" or pressure is not None or ensemble is not None:
            raise LammpsImplicitError("--from searches at the cell of its deck: no --cell, --pressure or --ensemble")
        saddles(
            start,
            given or Path("saddles.h5"),
            random,
            mode,
            seed,
            parameters,
            variables,
            ftol,
            force_limit,
            relax,
            overwrite,
        )
        return
    if deck_a is None:
        raise LammpsImplicitError("no states are given: name two decks, or one to search around with --from")
    if random is not None or mode:
        raise LammpsImplicitError("--random and --mode search around one minimum: name its deck with --from")
    output = given or Path("barrier.h5")
    outputs = [output, *beside(output, *([".png", ".xyz"] if path else []))]
    second = deck_a if deck_b is None else deck_b
    for target in outputs:
        refuse_to_overwrite(target, overwrite)
        refuse_inputs(target, deck_a, second, *([] if ensemble is None else [ensemble]))
    require_exists(ensemble)
    both = read_variables(variables)
    own = both | read_variables(variables_a, "--var-a"), both | read_variables(variables_b, "--var-b")
    if deck_b is None and own[0] == own[1]:
        raise LammpsImplicitError("the final state is missing: give its deck, or a variable of DECK_A with --var-b")
    opened = partial(
        Minimum.from_deck,
        parameters=parameters,
        ftol=ftol,
        force_limit=force_limit,
        cell=cell,
        pressure=pressure,
        accept_accuracy=accept_accuracy,
        relax=relax,
    )
    with ExitStack() as stack:
        initial, final = (
            stack.enter_context(opened(deck, variables=variables_))
            for deck, variables_ in zip((deck_a, second), own, strict=True)
        )
        known = None if ensemble is None else _read_ensemble(initial, ensemble, covariance, accept_mean)
        along = path and affords_path_gradients(initial, images)
        with progress("searching", rank() == 0) as update:
            found = stack.enter_context(
                Barrier.between(
                    initial,
                    final,
                    ftol=ftol,
                    images=images,
                    path=path,
                    path_gradients=along,
                    across=across,
                    progress=update,
                )
            )
        if found.path is not None and found.path.across > across * initial.units.force_factor:
            _warn_of_path(found.path.across, across, initial)
        study = differentiate_barrier(found, tol, energy_hessian)
        write_barrier(output, study, {"tolerance": tol, "ftol": ftol}, overwrite)
        if path:
            _write_path(study, outputs[1], outputs[2], known, overwrite)
        columns([*_rows(study), *([] if known is None else _uncertainties(study, known))])
    say("wrote " + ", ".join(map(str, outputs)))


def _warn_of_path(left: float, across: float, initial: StationaryPoint) -> None:
    if rank() == 0:
        units = initial.units
        warnings.warn(
            f"the path is relaxed to forces across it of {left:.2g} {units.force} only, not to "
            f"{across * units.force_factor:.2g}: the saddle and the barriers are right, energies of other images are "
            "not; ask for more --images",
            stacklevel=2,
        )


def _read_ensemble(initial: Minimum, path: Path, covariance: bool, accept_mean: bool) -> Ensemble:
    parameters = initial.parameters
    return initial.engine.on_root(lambda: read_ensemble_directions(path, parameters, covariance, accept_mean))


def _write_path(study: BarrierDerivatives, plot: Path, xyz: Path, known: Ensemble | None, overwrite: bool) -> None:
    found = study.barrier
    assert found.path is not None
    way, units, fixed = found.path, found.initial.units, found.initial.cell == "none"
    deviations = None if known is None else study.path_deviations(known.covariance)
    write_path_xyz(xyz, study, overwrite)
    found.initial.engine.on_root(lambda: write_figure(plot, plot_path(way, units, deviations, fixed), overwrite))


def _rows(study: BarrierDerivatives) -> list[tuple[str, str]]:
    """What is printed of a barrier."""
    found = study.barrier
    saddle, units = found.saddle, found.saddle.units
    theta = saddle.potential.theta
    rows = [("atoms, parameters", f"{saddle.engine.n_atoms}, {len(theta)}")]
    for name, observable in study.observables.items():
        rows.append((name, f"{float(observable.value):.8g} {observable.units}"))
        if len(theta):
            rows.append(("  most sensitive to", _sensitive_to(observable, saddle)))
        if name != VOLUME and (radius := trust_radius(observable, theta)) is not None:
            rows.append(
                (
                    "  second order below 10 %",
                    f"for random changes of all parameters by up to {_percent(radius.scattered)}, for the steepest by "
                    f"up to {_percent(radius.steepest)}",
                )
            )
    if len(theta):
        worst = max(float(np.abs(error * theta).max()) for error in study.gradient_errors.values())
        rows.append(("error of gradients", f"{0.01 * worst:.1e} {units.energy} for 1 % of a parameter"))
    rows += [
        ("negative mode", f"one, of curvature {found.mode.curvature:.6g} {units.energy}/{units.length}^2"),
        ("largest force", f"{saddle.max_force:.2e} {units.force}"),
        ("atoms that move most", ", ".join(_moves(found))),
        ("saddles on the way", _chain(found)),
    ]
    if found.path is not None:
        rows.append(
            (
                "path",
                f"{len(found.path.energies)} images, {found.path.distances[-1]:.4g} {units.length} long, forces across "
                f"it up to {found.path.across:.1e} {units.force}{_AT_CELL[saddle.cell != 'none']}",
            )
        )
    total = sum(point.engine.evaluations.total for point in study.states.values())
    parts = ", ".join(f"{count:,} {what}" for what, count in found.spent.items())
    return [
        *rows,
        ("evaluations", f"{sum(found.spent.values()):,} forces to find the saddle ({parts}); {total:,} in all"),
        ("accuracy", study.quality.finding),
    ]


def _percent(radius: float) -> str:
    """A trust radius in words: that of a barrier which is nearly linear is limited by round-off only."""
    return f"{radius:.2%}" if radius < 1 else "100% and more"


def _sensitive_to(observable: Observable, point: StationaryPoint) -> str:
    changes = 0.01 * point.potential.theta * observable.gradient
    most = np.argsort(-np.abs(changes), kind="stable")[:_SHOWN]
    return ", ".join(f"{changes[k]:+.3g} for 1 % of {point.potential.names[k]}" for k in most if changes[k]) or "none"


def _moves(found: Barrier) -> list[str]:
    """The atoms that move most from end to end, with their elements."""
    engine, elements = found.initial.engine, elements_of(found.initial)
    moves = farthest_atoms(found)
    farthest = moves[0][1]
    shown = []
    for id_, length in moves:
        kind = int(engine.max(float(engine.types[engine.ids == id_].max(initial=0))))
        if length > 0.1 * farthest:
            element = "" if elements[kind - 1] == "X" else f" ({elements[kind - 1]})"
            shown.append(f"{id_}{element} by {length:.3g} {found.initial.units.length}")
    return shown


def _chain(found: Barrier) -> str:
    """Saddles and minima on the way, above the initial minimum."""
    start, unit = found.initial.energy, found.initial.units.energy
    heights = [[f"{energy - start:.4g}" for energy in some] for some in (found.saddle_energies, found.between_energies)]
    told = f"{len(heights[0])}, at {', '.join(heights[0])} {unit}"
    told += f"; minima between them at {', '.join(heights[1])} {unit}" if heights[1] else ""
    return told + _AT_CELL[found.initial.cell != "none"]


def _uncertainties(study: BarrierDerivatives, known: Ensemble) -> list[tuple[str, Any]]:
    """Deviations of the observables over an ensemble, to each order known."""
    found = propagate(study.observables, study.barrier.saddle.potential.theta, known)
    return [
        (
            f"uncertainty of {name}",
            ", ".join(f"{deviation:.4g}" for deviation in one.deviation)
            + f" {one.units} (to {' and '.join(one.orders)} order)",
        )
        for name, one in found.distributions.items()
    ]
