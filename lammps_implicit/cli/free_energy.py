"""The command ``free-energy``."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import typer

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cli.console import columns, say
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
    SaddleOption,
    VariableOption,
    read_variables,
    require_exists,
    whole,
)
from lammps_implicit.ensembles.ensemble import read_ensemble
from lammps_implicit.ensembles.propagation import QUANTILES
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.files import refuse_inputs, refuse_to_overwrite, write_figure
from lammps_implicit.minimum import Minimum
from lammps_implicit.mpi.ranks import rank
from lammps_implicit.observables.thermal_curves import Curve, curves_of_cell, curves_of_formation
from lammps_implicit.observables.thermal_differences import measured_alike
from lammps_implicit.observables.thermal_file import write_curves
from lammps_implicit.observables.thermal_plot import plot_curves
from lammps_implicit.progress import progress
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.units import decimal
from lammps_implicit.vibrations.free_energy import FreeEnergy, harmonic_free_energy

TEMPERATURES = "100:1000:100"
"""Temperatures by default, K."""

_MOST = 10_000
"""Temperatures at most."""


def free_energy(
    deck: Annotated[Path, typer.Argument(help="LAMMPS input deck; the structure it ends with is taken over.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="HDF5 file.")] = Path("free_energy.h5"),
    bulk: Annotated[
        Optional[Path],
        typer.Option(
            "--bulk",
            metavar="DECK",
            help="Deck of the perfect crystal, in a cell about as large: the free energy of formation follows.",
        ),
    ] = None,
    temperatures: Annotated[
        str,
        typer.Option(
            "--temperatures",
            metavar="RANGE",
            help="K: numbers separated by commas, or FIRST:LAST:STEP; in reduced units, epsilon/k.",
        ),
    ] = TEMPERATURES,
    classical: Annotated[
        bool, typer.Option("--classical", help="Classical vibrations instead of quantum-mechanical ones.")
    ] = False,
    probes: Annotated[
        Optional[int],
        typer.Option(
            "--probes",
            parser=whole(2, 10**6),
            help="Random probes instead of all modes, with a standard error. Default: whichever costs less, or 32.",
            show_default=False,
        ),
    ] = None,
    expand: Annotated[
        bool,
        typer.Option(
            "--expand",
            help="Let the cell minimise its free energy at each temperature (quasi-harmonic); with --cell.",
        ),
    ] = False,
    variables: VariableOption = None,
    bulk_variables: Annotated[
        Optional[list[str]],
        typer.Option("--var-bulk", metavar="NAME=VALUE", help="The same for the bulk only; may be repeated."),
    ] = None,
    parameters: ParametersOption = None,
    ftol: FtolOption = 1e-8,
    force_limit: ForceLimitOption = 1e-2,
    relax: RelaxOption = False,
    saddle: SaddleOption = False,
    cell: CellOption = "none",
    pressure: PressureOption = None,
    ensemble: Annotated[
        Optional[Path],
        typer.Option("--ensemble", help="Ensemble of parameters, as for 'propagate': curves have uncertainties."),
    ] = None,
    draws: Annotated[
        int, typer.Option("--draws", parser=whole(1, 10**6), help="Number of samples to draw from a covariance.")
    ] = 1000,
    covariance: CovarianceOption = False,
    accept_mean: AcceptMeanOption = False,
    plot: Annotated[Optional[Path], typer.Option("--plot", help="PNG file for a plot.")] = None,
    accept_accuracy: AcceptAccuracyOption = 0.0,
    overwrite: OverwriteOption = False,
) -> None:
    """Free energy, entropy and heat capacity of a structure, and of the formation of a defect, with gradients.

    Vibrations are harmonic. Gradients with respect to the parameters include the relaxation of the structure, and of
    the cell if it is relaxed (--cell).
    """
    targets = [output, *([] if plot is None else [plot])]
    inputs = [given for given in (deck, bulk, ensemble) if given is not None]
    for target in targets:
        refuse_to_overwrite(target, overwrite)
        refuse_inputs(target, *inputs)
    if plot is not None and plot.absolute() == output.absolute():
        raise LammpsImplicitError(f"{output} would be both the result and the plot: give two names")
    require_exists(ensemble)
    known = read_temperatures(temperatures)
    if expand and cell == "none":
        raise LammpsImplicitError("--expand needs a cell that may change: name its strains, as with --cell iso")
    if expand and (probes is not None or saddle):
        raise LammpsImplicitError("--expand needs all modes of minima: leave out --probes and --saddle")
    if bulk is None and bulk_variables:
        raise LammpsImplicitError("--var-bulk sets variables of the bulk: name its deck with --bulk")
    if bulk is not None and saddle:
        raise LammpsImplicitError("--bulk is for the formation of a minimum: leave out --saddle")
    own = read_variables(variables)
    settings: dict[str, Any] = {
        "parameters": parameters,
        "ftol": ftol,
        "force_limit": force_limit,
        "cell": cell,
        "pressure": pressure,
        "accept_accuracy": accept_accuracy,
        "relax": relax,
    }
    with ExitStack() as stack:
        point = stack.enter_context(Minimum.from_deck(deck, variables=own, saddle=saddle, **settings))
        engine, given = point.engine, point.parameters
        changes = None
        if ensemble is not None:
            if not given.names:
                raise LammpsImplicitError(f"--ensemble {ensemble}: the potential has no parameters")
            samples = engine.on_root(
                lambda: read_ensemble(
                    ensemble, given, draws, allow_singular=True, covariance=covariance, accept_mean=accept_mean
                )
            )
            changes = samples.changes(given.theta)
        found = _measured(point, deck.name, known, not classical, probes, expand)
        curves, evaluations = curves_of_cell(point, found), found.evaluations
        if bulk is not None:
            others = own | read_variables(bulk_variables, "--var-bulk")
            perfect = stack.enter_context(Minimum.from_deck(bulk, variables=others, **settings))
            costs: list[int] = []

            def measure(one: StationaryPoint, count: int | None) -> FreeEnergy:
                if one is point and count == probes:
                    return found
                assert isinstance(one, Minimum)
                name = deck.name if one is point else bulk.name
                measured = _measured(one, name, known, not classical, count, expand)
                costs.append(measured.evaluations)
                return measured

            weight = point.engine.n_atoms / perfect.engine.n_atoms
            pair = measured_alike(point, perfect, weight, measure, probes)
            curves += curves_of_formation(point, perfect, *pair)
            evaluations += sum(costs)
        if changes is not None:
            curves = [curve.over(changes, QUANTILES) for curve in curves]
        attributes = _attributes(point, found, cell, expand, evaluations)
        if changes is not None:
            attributes["quantile_levels"] = np.array(QUANTILES)

        def finish() -> None:
            write_curves(output, known, found.temperature_units, curves, given, attributes, overwrite)
            if plot is not None:
                write_figure(plot, plot_curves(known, found.temperature_units, curves), overwrite)

        engine.on_root(finish)
        _tell(point, found, curves, evaluations)
    say("wrote " + ", ".join(map(str, targets)))


def read_temperatures(text: str) -> FloatArray:
    """Read temperatures: numbers separated by commas, or FIRST:LAST:STEP.

    Raises
    ------
    LammpsImplicitError
        If they are no positive numbers in such a form.
    """
    wanted = "give positive numbers separated by commas, as 300,600, or FIRST:LAST:STEP, as 100:1000:100"
    try:
        numbers = [decimal(part) for part in text.replace(":", ",").split(",")]
    except ValueError:
        raise LammpsImplicitError(f"--temperatures {text[:40]}: {wanted}") from None
    if ":" in text:
        if text.count(":") != 2 or "," in text or not numbers[2] > 0 or numbers[1] < numbers[0]:
            raise LammpsImplicitError(f"--temperatures {text[:40]}: {wanted}")
        count = (numbers[1] - numbers[0]) / numbers[2]
        if count > _MOST:
            raise LammpsImplicitError(f"--temperatures {text[:40]}: {count:.0f} temperatures are too many")
        numbers = list(numbers[0] + numbers[2] * np.arange(int(count + 1e-9) + 1))
    found = np.array(numbers)
    if not np.all(found > 0):
        raise LammpsImplicitError(
            f"--temperatures {text[:40]}: {found[found <= 0][0]:g} is not above zero; begin with a low temperature, "
            "where the free energy is that of the zero-point motion"
        )
    return found


def _measured(
    point: Minimum, name: str, temperatures: FloatArray, quantum: bool, probes: int | None, expand: bool
) -> FreeEnergy:
    with progress(f"vibrations of {name}", rank() == 0) as update:
        if expand:
            found = point.free_energy(temperatures, quantum, cell=point.freedom, progress=update)
        else:
            freedom = point.strain(point.cell)
            found = harmonic_free_energy(point, temperatures, quantum, probes, freedom=freedom, progress=update)
    if found.caution:
        warnings.warn(f"{name}: {found.caution}", stacklevel=2)
    return found


def _attributes(point: Minimum, found: FreeEnergy, cell: str, expand: bool, evaluations: int) -> dict[str, Any]:
    return {
        **point.engine.versions,
        "deck": point.deck_name,
        "deck_sha256": point.deck_sha256,
        "units": point.units.style,
        "cell_freedom": cell,
        "pressure": float(np.trace(point.target) / 3 * point.units.pressure_factor),
        "pressure_unit": point.units.pressure,
        "expanded": expand,
        "quantum": found.quantum,
        "method": found.method,
        "modes": found.modes,
        "zero_modes": found.zero_modes,
        "structure_energy": found.structure_energy,
        "accuracy": found.accuracy,
        "evaluations": evaluations,
    }


def _tell(point: Minimum, found: FreeEnergy, curves: list[Curve], evaluations: int) -> None:
    """Print a table with a row for each temperature, and the parameter that each curve is most sensitive to."""
    columns(
        [
            ("atoms", f"{point.engine.n_atoms:,}"),
            ("modes", f"{found.modes:,}, and {found.zero_modes} rigid motions that cost no energy"),
            ("method", found.method),
            ("energy of the structure", f"{found.structure_energy:.9g} {found.units}"),
            ("evaluations", f"{evaluations:,}"),
        ]
    )
    say("")
    rows = [(f"T ({found.temperature_units})", *(f"{curve.name} ({curve.units})" for curve in curves))]
    for place, temperature in enumerate(found.temperatures):
        rows.append((f"{temperature:g}", *(_number(curve, place) for curve in curves)))
    columns(rows)
    names, theta = point.potential.names, point.potential.theta
    if not len(names):
        return
    say("")
    last = len(found.temperatures) - 1
    for curve in curves:
        if curve.gradient is not None:
            changes = 0.01 * theta * curve.gradient[last]
            most = int(np.argmax(np.abs(changes)))
            say(
                f"{curve.name} at {found.temperatures[last]:g} {found.temperature_units}: {changes[most]:+.3g} "
                f"{curve.units} for 1 % of {names[most]}"
            )


def _number(curve: Curve, place: int) -> str:
    """A value with its deviation over an ensemble, or else its standard error."""
    value = f"{curve.values[place]:.7g}"
    if curve.deviation is not None:
        return f"{value} ± {curve.deviation[place]:.2g}"
    return f"{value} ± {curve.error[place]:.1g}" if curve.error[place] > 0 else value
