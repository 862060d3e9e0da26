"""Commands on one structure: ``relax``, ``sensitivity``, ``predict``."""

from __future__ import annotations

import math
import time
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import numpy as np
import typer
from mpi4py import MPI

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cli.console import columns, say
from lammps_implicit.cli.options import (
    AcceptAccuracyOption,
    AcceptMeanOption,
    CellOption,
    CovarianceOption,
    DeckArgument,
    EnsembleDirectionsOption,
    EvaluatorOption,
    ForceLimitOption,
    FtolOption,
    OverwriteOption,
    ParametersOption,
    PressureOption,
    RelaxOption,
    SaddleOption,
    VariableOption,
    number,
    read_variables,
    require_exists,
)
from lammps_implicit.ensembles.ensemble import Ensemble, read_ensemble
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.expansion.directions import leading_directions, relaxation_sizes
from lammps_implicit.files import beside, refuse_inputs, refuse_to_overwrite
from lammps_implicit.minimum import Minimum
from lammps_implicit.mpi.on_root import on_root
from lammps_implicit.mpi.ranks import rank
from lammps_implicit.potentials.interface import Parameters
from lammps_implicit.progress import progress
from lammps_implicit.results import prediction as predictions
from lammps_implicit.results.costs import parts_of
from lammps_implicit.results.sensitivity import read_sensitivity
from lammps_implicit.results.text import write_data

SHOWN = {"lammps": "LAMMPS", "jax": "JAX"}
"""Evaluators as they are written."""


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


def relax(
    deck: DeckArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="LAMMPS data file for the relaxed structure.")],
    variables: VariableOption = None,
    ftol: FtolOption = 1e-8,
    cell: CellOption = "none",
    pressure: PressureOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Relax the final structure of a deck.

    Runs the deck, relaxes what it ends with to a tight force tolerance, and writes the structure.
    """
    refuse_to_overwrite(output, overwrite)
    refuse_inputs(output, deck)
    settings = read_variables(variables)
    with progress("relaxing", rank() == 0) as update:
        minimum = Minimum.from_deck(
            deck,
            parameters=(),
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
                ("largest force", f"{minimum.initial_force:.2e} -> {minimum.max_force:.2e} {minimum.units.force}"),
                *_moved_rows(minimum),
                *_cell_rows(minimum),
                ("force evaluations after the deck", str(minimum.setup.total)),
            ]
        )
    say(f"wrote {output}")


def sensitivity(
    deck: DeckArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="HDF5 file for the results.")],
    tol: Annotated[
        float,
        typer.Option("--tol", parser=number(below=1), help="Largest relative error of any column of the Jacobian."),
    ] = 1e-5,
    method: Annotated[
        Method,
        typer.Option("--method", help="How the Jacobian is computed; auto chooses the method predicted to be cheaper."),
    ] = Method.auto,
    parameters: ParametersOption = None,
    variables: VariableOption = None,
    ftol: FtolOption = 1e-8,
    force_limit: ForceLimitOption = 1e-2,
    relax: RelaxOption = False,
    saddle: SaddleOption = False,
    cell: CellOption = "none",
    pressure: PressureOption = None,
    form: Annotated[
        Form,
        typer.Option("--form", help="Store the Jacobian in full or as two factors; auto: in full up to 1 GiB."),
    ] = Form.auto,
    ensemble: EnsembleDirectionsOption = None,
    covariance: CovarianceOption = False,
    accept_mean: AcceptMeanOption = False,
    evaluator: EvaluatorOption = None,
    autodiff: Annotated[
        bool,
        typer.Option(
            "--autodiff",
            help="Short for '--evaluator jax': differentiate exactly, in JAX; for pair styles with a JAX counterpart "
            "(Lennard-Jones, Morse, ...).",
        ),
    ] = False,
    energy_hessian: Annotated[
        Optional[bool],
        typer.Option(
            "--energy-hessian/--no-energy-hessian",
            help="Whether to write the second derivative of the energy, which takes about P² force evaluations for P "
            "parameters in which the energy is not linear. Default: unless these are more than 2,000 and ten times "
            "those of the Jacobian.",
            show_default=False,
        ),
    ] = None,
    accept_accuracy: AcceptAccuracyOption = 0.0,
    overwrite: OverwriteOption = False,
) -> None:
    """Differentiate a relaxed structure and its energy.

    Runs the deck, relaxes what it ends with, and writes the derivatives with respect to all parameters.
    """
    start = time.perf_counter()
    refuse_to_overwrite(output, overwrite)
    refuse_inputs(output, deck, *([] if ensemble is None else [ensemble]))
    require_exists(ensemble)
    settings = read_variables(variables)
    if autodiff and evaluator not in (None, "jax"):
        raise LammpsImplicitError(f"--autodiff is '--evaluator jax', and '--evaluator {evaluator}' is given: take one")
    if ensemble is not None and energy_hessian is False:
        raise LammpsImplicitError(
            "--ensemble asks for third derivatives, which go with second ones: no --no-energy-hessian"
        )
    chosen = "jax" if autodiff else evaluator or "lammps"
    with Minimum.from_deck(
        deck,
        evaluator=chosen,
        parameters=parameters,
        variables=settings,
        ftol=ftol,
        force_limit=force_limit,
        saddle=saddle,
        cell=cell,
        pressure=pressure,
        accept_accuracy=accept_accuracy,
        relax=relax,
        differentiable=True,
    ) as minimum:
        changes = None if ensemble is None else _changes(minimum, ensemble, covariance, accept_mean)
        held = minimum.strain(cell, None if cell == "none" else pressure)
        with progress("solving", minimum.engine.comm.rank == 0) as update:
            jacobian = minimum.jacobian(tol, method.value, update, cell=held)
        if changes is not None:
            hessians = [relaxation_sizes(minimum, tol, held)]
            minimum.third_derivative(minimum.engine.on_root(lambda: leading_directions(changes, hessians)), tol)
        result = minimum.sensitivity(tol, cell=held, energy_hessian=energy_hessian)
        result.write(output, overwrite, form.value)
        spent = result.attributes
        cost, where = jacobian.statistics, SHOWN.get(chosen, chosen)
        columns(
            [
                ("atoms, parameters", f"{minimum.engine.n_atoms}, {len(minimum.potential.theta)}"),
                ("energy", f"{minimum.energy:.9g} {minimum.units.energy}"),
                ("largest force", f"{minimum.initial_force:.2e} -> {minimum.max_force:.2e} {minimum.units.force}"),
                *_cell_rows(minimum),
                ("method", f"{cost.method}, {jacobian.rank} independent directions"),
                ("residual of a random check", f"{cost.residual:.1e}"),
                *_third_rows(minimum),
                (
                    "evaluations",
                    f"{spent['force_evaluations']:,} forces, {spent['descriptor_evaluations']:,} descriptors "
                    f"({parts_of(spent, 'evaluations')})",
                ),
                (
                    "time",
                    f"{time.perf_counter() - start:.1f} s with the deck, of which {minimum.engine.seconds:.1f} s in "
                    f"{where} after it ({parts_of(spent, 'seconds')})",
                ),
                ("accuracy", cost.finding),
            ]
        )
    say(f"wrote {output}")


def predict(
    result: Annotated[Path, typer.Argument(help="HDF5 file from 'lammps-implicit sensitivity'.")],
    theta: Annotated[Path, typer.Option("--theta", help="New parameters: a coefficient file, .npy or .csv.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="HDF5 file; .xyz and .data files are written beside it.")
    ],
    overwrite: OverwriteOption = False,
) -> None:
    """Predict structure and energy at new parameters.

    Uses the derivatives in RESULT; LAMMPS does not run.
    """
    on_root(MPI.COMM_WORLD, lambda: _predict(result, theta, output, overwrite))


def _predict(result: Path, theta: Path, output: Path, overwrite: bool) -> None:
    known = read_sensitivity(result)
    prediction = predictions.predict(known, predictions.read_theta(theta, known) - known.theta)
    for path in (output, *beside(output, ".xyz", ".data")):
        refuse_inputs(path, result, theta)
    files = predictions.write_prediction(output, known, prediction, overwrite)
    energy, length = known.attributes["energy_unit"], known.attributes["length_unit"]
    zeroth, first, *second = prediction.enthalpy_terms
    what = "energy" if known.strain_jacobian is None else "enthalpy"
    cells = known.structure.cell, known.moved(prediction.dtheta, prediction.displacement).cell
    volume = " -> ".join(f"{known.volume_of(cell):.9g}" for cell in cells)
    volume += f" {known.units.volume} (error of second order)"
    columns(
        [
            (f"{what} at the result's parameters", f"{zeroth:.9g} {energy}"),
            ("first-order term", f"{first:+.6g} {energy}"),
            *[("second-order term", f"{term:+.6g} {energy}") for term in second],
            (
                f"predicted {what}",
                f"{prediction.enthalpy:.9g} {energy} (error of {'third' if second else 'second'} order)",
            ),
            *([(f"predicted {known.units.volume_name}", volume)] if known.strain_jacobian is not None else []),
            ("largest displacement", f"{abs(prediction.displacement).max():.4g} {length} (error of second order)"),
            ("accuracy of derivatives", str(known.attributes.get("verdict", "not checked"))),
        ]
    )
    say("wrote " + ", ".join(map(str, files)))


def read_ensemble_directions(
    path: Path, parameters: Parameters, covariance: bool = False, accept_mean: bool = False
) -> Ensemble:
    """Read an ensemble of which only the directions are used, so that its covariance may be singular."""
    return read_ensemble(path, parameters, allow_singular=True, covariance=covariance, accept_mean=accept_mean)


def _changes(minimum: Minimum, ensemble: Path, covariance: bool, accept_mean: bool) -> FloatArray:
    """Parameter changes δΘ of an ensemble's samples; read before any solve, so that a bad file fails early."""
    parameters = minimum.parameters

    def read() -> FloatArray:
        return read_ensemble_directions(ensemble, parameters, covariance, accept_mean).changes(parameters.theta)

    return minimum.engine.on_root(read)


def _third_rows(minimum: Minimum) -> list[tuple[str, str]]:
    """Summary of the third derivatives, if there are any."""
    if minimum.third is None:
        return []
    third = minimum.third
    shown = f"along {third.enthalpy.duals.shape[1]} directions, asymmetry {third.asymmetry:.1e}"
    shown += f", stability to {third.softening_errors[0]:.1e}"
    return [("third derivatives", shown if third.strains is None else f"{shown}, {third.strains.finding}")]


def _moved_rows(minimum: Minimum) -> list[tuple[str, str]]:
    """How far the structure was from its minimum."""
    done, units = minimum.relaxation, minimum.units
    assert done is not None
    return [
        ("atoms moved by up to", f"{done.farthest:.3g} {units.length}"),
        ("energy changed by", f"{done.energy:.6g} {units.energy}"),
    ]


def _cell_rows(minimum: Minimum) -> list[tuple[str, str]]:
    """Summary of the relaxation of the cell, if it was relaxed."""
    if minimum.cell == "none":
        return []
    units, engine = minimum.units, minimum.engine
    held = np.diag(minimum.pressure)[: units.dimension] * units.pressure_factor
    axes = ", ".join(("xx", "yy", "zz")[: units.dimension])
    return [
        (units.volume_name, f"{minimum.initial_volume:.9g} -> {engine.volume:.9g} {units.volume}"),
        (f"pressure ({axes})", f"{', '.join(f'{value:.6g}' for value in held)} {units.pressure}"),
    ]
