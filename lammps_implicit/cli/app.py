"""Command line: ``lammps-implicit``."""

from __future__ import annotations

import math
import os
import sys
import traceback
from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, Optional

import numpy as np
import typer

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cli import ensembles as commands
from lammps_implicit.cli.console import columns, say
from lammps_implicit.cli.inverse import ConfiguredCommand, invert
from lammps_implicit.cli.options import OverwriteOption
from lammps_implicit.cli.petsc_options import hand_to_petsc
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.mpi.interrupts import stop_on_signals
from lammps_implicit.mpi.ranks import rank

if TYPE_CHECKING:
    from lammps_implicit.ensembles.ensemble import Ensemble
    from lammps_implicit.minimum import Minimum
    from lammps_implicit.potentials.interface import Parameters


app = typer.Typer(
    help="How a relaxed structure, its energy and volume depend on the parameters of its potential.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Form(str, Enum):
    """How the Jacobian is stored."""

    auto = "auto"
    full = "full"
    factored = "factored"


class Method(str, Enum):
    """How the Jacobian is computed."""

    auto = "auto"
    dense = "dense"
    iterative = "iterative"


DeckArgument = Annotated[Path, typer.Argument(help="LAMMPS input deck that ends in a relaxed structure.")]
ParametersOption = Annotated[
    Optional[str],
    typer.Option(
        "--parameters", help="Labels of the parameters to use, shell patterns separated by commas: 'Be:*,W:[1-9]'."
    ),
]
VariableOption = Annotated[
    Optional[list[str]],
    typer.Option("--var", metavar="NAME=VALUE", help="Set an index variable of the deck, as 'lmp -var' does; repeat."),
]
ForceLimitOption = Annotated[
    float, typer.Option("--force-limit", help="Largest force (eV/Å) at which the deck's end counts as relaxed.")
]
FtolOption = Annotated[float, typer.Option("--ftol", help="Largest force (eV/Å) to relax to.")]
CellOption = Annotated[
    str,
    typer.Option(
        "--cell",
        help="What the cell may do: none, iso, ortho, full (triclinic), or components such as zz or xx,yy. "
        "It is relaxed first.",
    ),
]
PressureOption = Annotated[
    Optional[str],
    typer.Option(
        "--pressure",
        help="What the cell is held at: a number in LAMMPS' unit, or with one as '10 GPa'; six numbers separated by "
        "commas (xx,yy,zz,yz,xz,xy) for a stress. Default: that of the deck's fix box/relax, else 0.",
    ),
]
ThirdOption = Annotated[
    Optional[Path],
    typer.Option(
        "--ensemble",
        help="Ensemble of parameters, as for 'propagate': take third derivatives of energies, and second ones of "
        "volumes, along what it varies.",
    ),
]
SaddleOption = Annotated[
    bool, typer.Option("--saddle", help="Accept a stationary point that is not a minimum, such as a transition state.")
]


@app.command()
def doctor() -> None:
    """Check the installation: versions, LAMMPS packages, MPI, potential files, and a small solve."""
    from lammps_implicit.cli.doctor import examine

    checks = examine()
    for check in checks:
        say(f"{'ok ' if check.good else 'BAD' if check.needed else '-- '}  {check.name}: {check.finding}")
    if any(check.needed and not check.good for check in checks):
        raise LammpsImplicitError("the installation is not complete: see the lines marked BAD")
    say("ready")


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the files.")] = Path("demo-output"),
    overwrite: OverwriteOption = False,
) -> None:
    """Differentiate a W vacancy with respect to all 56 SNAP parameters, and check predictions by relaxing again."""
    from lammps_implicit.cli.demo import run_demo

    summary = run_demo(output, overwrite)
    columns(summary.rows)
    say("Files to look at:")
    for path, text in summary.files:
        say(f"  {path}: {text}")


@app.command()
def relax(
    deck: DeckArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="LAMMPS data file for the relaxed structure.")],
    variables: VariableOption = None,
    ftol: FtolOption = 1e-8,
    cell: CellOption = "none",
    pressure: PressureOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Run a deck, relax what it leaves to a tight force tolerance, and write the structure."""
    from lammps_implicit.files import refuse_to_overwrite
    from lammps_implicit.minimum import Minimum
    from lammps_implicit.progress import progress
    from lammps_implicit.results.text import write_data

    refuse_to_overwrite(output, overwrite)
    settings = _variables(variables)
    with progress("relaxing", rank() == 0) as update:
        minimum = Minimum.from_deck(
            deck,
            variables=settings,
            ftol=ftol,
            force_limit=math.inf,
            progress=update,
            cell=cell,
            pressure=pressure,
        )
    with minimum:
        write_data(output, minimum, f"{minimum.deck_name} relaxed by lammps-implicit", overwrite)
        columns(
            [
                ("atoms", str(minimum.engine.n_atoms)),
                ("energy", f"{minimum.energy:.9g} {minimum.units.energy}"),
                ("largest force", f"{minimum.initial_force:.2e} -> {minimum.max_force:.2e} {minimum.units.force_name}"),
                *_cell_rows(minimum),
                ("force evaluations after the deck", str(minimum.setup.total)),
            ]
        )
    say(f"wrote {output}")


@app.command()
def sensitivity(
    deck: DeckArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="HDF5 file for the results.")],
    tol: Annotated[float, typer.Option("--tol", help="Relative tolerance of every column of the Jacobian.")] = 1e-5,
    method: Annotated[Method, typer.Option("--method", help="auto takes the one predicted cheaper.")] = Method.auto,
    parameters: ParametersOption = None,
    variables: VariableOption = None,
    ftol: FtolOption = 1e-8,
    force_limit: ForceLimitOption = 1e-2,
    saddle: SaddleOption = False,
    cell: CellOption = "none",
    pressure: PressureOption = None,
    form: Annotated[
        Form,
        typer.Option("--form", help="Store the Jacobian in full or as two factors; auto: in full up to 1 GiB."),
    ] = Form.auto,
    ensemble: ThirdOption = None,
    autodiff: Annotated[
        bool,
        typer.Option(
            "--autodiff",
            help="Differentiate exactly, in JAX, where it has the deck's pair style (Lennard-Jones, Morse, ...).",
        ),
    ] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Run a deck and compute how its relaxed structure and energy depend on every parameter."""
    from lammps_implicit.expansion.directions import leading_directions
    from lammps_implicit.files import refuse_to_overwrite
    from lammps_implicit.minimum import Minimum
    from lammps_implicit.progress import progress

    refuse_to_overwrite(output, overwrite)
    _require_exists(ensemble)
    settings = _variables(variables)
    if autodiff:
        os.environ["JAX_ENABLE_X64"] = "1"
    with Minimum.from_deck(
        deck,
        evaluator="jax" if autodiff else "lammps",
        parameters=parameters,
        variables=settings,
        ftol=ftol,
        force_limit=force_limit,
        saddle=saddle,
        cell=cell,
        pressure=pressure,
    ) as minimum:
        changes = None if ensemble is None else _changes(minimum, ensemble)
        held = minimum.strain(cell, None if cell == "none" else pressure)
        with progress("solving", minimum.engine.comm.rank == 0) as update:
            jacobian = minimum.jacobian(tol, method.value, update, cell=held)
        if changes is not None:
            hessians = [minimum.relaxation_hessian(tol, cell=held)]
            minimum.third_derivative(minimum.engine.on_root(lambda: leading_directions(changes, hessians)), tol)
        minimum.sensitivity(tol, cell=held).write(output, overwrite, form.value)
        cost, where = jacobian.statistics, "JAX" if autodiff else "LAMMPS"
        columns(
            [
                ("atoms, parameters", f"{minimum.engine.n_atoms}, {len(minimum.potential.theta)}"),
                ("energy", f"{minimum.energy:.9g} {minimum.units.energy}"),
                ("largest force", f"{minimum.initial_force:.2e} -> {minimum.max_force:.2e} {minimum.units.force_name}"),
                *_cell_rows(minimum),
                ("method", f"{cost.method}, {jacobian.rank} independent directions"),
                ("residual of a random check", f"{cost.residual:.1e}"),
                ("estimated error of differences", f"{cost.differencing_error:.1e}"),
                ("evaluations", f"{cost.evaluations.forces} forces, {cost.evaluations.descriptors} descriptors"),
                *_third_rows(minimum),
                ("time", f"{cost.seconds:.1f} s, {cost.seconds_in_lammps:.1f} s of it in {where}"),
            ]
        )
    say(f"wrote {output}")


@app.command()
def predict(
    result: Annotated[Path, typer.Argument(help="HDF5 file from 'lammps-implicit sensitivity'.")],
    theta: Annotated[Path, typer.Option("--theta", help="New parameters: a coefficient file, .npy or .csv.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="HDF5 file; .xyz and .data of the same name are written beside it.")
    ],
    overwrite: OverwriteOption = False,
) -> None:
    """Predict structure and energy at new parameters, without running LAMMPS."""
    from mpi4py import MPI

    from lammps_implicit.mpi.on_root import on_root

    on_root(MPI.COMM_WORLD, lambda: _predict(result, theta, output, overwrite))


@app.command()
def observables(
    config: Annotated[Path, typer.Argument(help="YAML file that names the decks of the bulk and the defects.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="HDF5 file; a plot of the same name is written beside it.")
    ] = Path("observables.h5"),
    ensemble: ThirdOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Formation energies and volumes, lattice and elastic constants, with their gradients."""
    from lammps_implicit.files import beside, refuse_to_overwrite, write_figure
    from lammps_implicit.mpi.on_root import on_root
    from lammps_implicit.observables.config import StudySettings
    from lammps_implicit.observables.configuration import read_configuration
    from lammps_implicit.observables.study import plot_study, run_study, table, write_study

    (plot,) = beside(output, ".png")
    for path in (output, plot):
        refuse_to_overwrite(path, overwrite)
    _require_exists(ensemble)
    settings = read_configuration(config, StudySettings)
    known = None if ensemble is None else partial(_read_ensemble, ensemble)
    study = run_study(settings, say=say, ensemble=known)

    def write() -> None:
        write_study(output, study, overwrite)
        write_figure(plot, plot_study(study), overwrite)

    from mpi4py import MPI

    on_root(MPI.COMM_WORLD, write)
    columns([("observable", "value", "unit", "moves most"), *table(study)])
    say(f"wrote {output}, {plot}")


@app.command()
def bench(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the files.")] = Path("bench-output"),
    largest: Annotated[
        float, typer.Option("--largest", metavar="ATOMS", help="Leave out larger cells than this, but the smallest.")
    ] = math.inf,
    overwrite: OverwriteOption = False,
) -> None:
    """Measure what this package costs on this machine, and other ways to the same results: a few minutes."""
    from lammps_implicit.benchmarks.suite import run_suite

    run_suite(output, overwrite, largest)


for command in (commands.propagate, commands.validate, commands.merge, commands.report):
    app.command()(command)
app.command(cls=ConfiguredCommand)(invert)


def _predict(result: Path, theta: Path, output: Path, overwrite: bool) -> None:
    from lammps_implicit.results import prediction as predictions
    from lammps_implicit.results.sensitivity import read_sensitivity

    known = read_sensitivity(result)
    prediction = predictions.predict(known, predictions.read_theta(theta, known) - known.theta)
    files = predictions.write_prediction(output, known, prediction, overwrite)
    energy, length = known.attributes["energy_unit"], known.attributes["length_unit"]
    zeroth, first, second = prediction.enthalpy_terms
    what = "energy" if known.strain_jacobian is None else "enthalpy"
    cells = known.structure.cell, known.moved(prediction.dtheta, prediction.displacement).cell
    volume = " -> ".join(f"{np.linalg.det(cell):.9g}" for cell in cells) + f" {length}^3 (error of second order)"
    columns(
        [
            (f"{what} at the result's parameters", f"{zeroth:.9g} {energy}"),
            ("first-order term", f"{first:+.6g} {energy}"),
            ("second-order term", f"{second:+.6g} {energy}"),
            (f"predicted {what}", f"{prediction.enthalpy:.9g} {energy} (error of third order)"),
            *([("predicted volume", volume)] if known.strain_jacobian is not None else []),
            ("largest displacement", f"{abs(prediction.displacement).max():.4g} {length} (error of second order)"),
        ]
    )
    say("wrote " + ", ".join(map(str, files)))


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
    from mpi4py import MPI

    from lammps_implicit.mpi.shutdown import end_together

    end_together(MPI.COMM_WORLD, report)
    sys.exit(1)


def _variables(settings: list[str] | None) -> dict[str, str]:
    """Read NAME=VALUE settings."""
    pairs = [setting.partition("=") for setting in settings or []]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise LammpsImplicitError(f"--var {name}{equals}{value}: write NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _read_ensemble(path: Path, parameters: Parameters) -> Ensemble:
    from lammps_implicit.ensembles.ensemble import read_ensemble

    # Directions are all that is asked of it: a covariance may be singular.
    return read_ensemble(path, parameters, allow_singular=True)


def _require_exists(ensemble: Path | None) -> None:
    if ensemble is not None and not ensemble.exists():
        raise LammpsImplicitError(f"ensemble {ensemble} does not exist")


def _changes(minimum: Minimum, ensemble: Path) -> FloatArray:
    """What an ensemble changes the parameters by, read before anything is solved for."""
    parameters = minimum.parameters
    return minimum.engine.on_root(lambda: _read_ensemble(ensemble, parameters).changes(parameters.theta))


def _third_rows(minimum: Minimum) -> list[tuple[str, str]]:
    if minimum.third is None:
        return []
    directions = minimum.third.enthalpy.duals.shape[1]
    return [("third derivatives", f"along {directions} directions, asymmetry {minimum.third.asymmetry:.1e}")]


def _cell_rows(minimum: Minimum) -> list[tuple[str, str]]:
    """What became of a cell that was relaxed."""
    if minimum.cell == "none":
        return []
    units, engine = minimum.units, minimum.engine
    xx, yy, zz = np.diag(minimum.pressure) * units.pressures
    return [
        ("volume", f"{minimum.initial_volume:.9g} -> {engine.volume:.9g} {units.length}^3"),
        ("pressure (xx, yy, zz)", f"{xx:.6g}, {yy:.6g}, {zz:.6g} {units.pressure}"),
    ]
