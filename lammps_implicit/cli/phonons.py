"""The command ``phonons``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any, Optional

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
from lammps_implicit.ensembles.ensemble import read_ensemble
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.files import beside, refuse_inputs, refuse_to_overwrite, write_figure
from lammps_implicit.minimum import Minimum
from lammps_implicit.mpi.on_root import on_root
from lammps_implicit.mpi.ranks import rank
from lammps_implicit.phonons.crystal import STEP, frequency_unit
from lammps_implicit.phonons.files import StoredPhonons, read_phonons, write_for_phonopy, write_phonons
from lammps_implicit.phonons.plots import (
    Point,
    on_path,
    plot_bands,
    plot_density,
    read_points,
    require_same_path,
)
from lammps_implicit.phonons.requirements import require_packages
from lammps_implicit.phonons.samples import (
    Sampled,
    Unstable,
    drivers,
    plain_density,
    propagated,
    unstable_modes,
)
from lammps_implicit.phonons.study import POINTS, Phonons, phonons_of
from lammps_implicit.progress import progress

_BRANCHES = 12
"""Branches of which the strongest parameters are told; of crystals with more, the file knows all."""

_BROKEN = ", not reduced by symmetry, which strains of the cell break"
"""What is told where the parameters change the shape of the cell to another symmetry."""

_GOOD = 1e-4
"""Relative error of force constants up to which they are good: half of it is that of frequencies."""

_SLOW = 0.02
"""Frequencies, of the largest one, below which Grüneisen parameters are not told."""

_PERCENT = 0.01
"""Change of every parameter that stands in for its deviation where there is no ensemble."""


def phonons(
    deck: Annotated[Path, typer.Argument(help="LAMMPS input deck of a crystal; its final cell is taken over.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="HDF5 file; for phonopy, .phonopy.yaml and .fc2.hdf5 of the same name stand beside."
        ),
    ],
    supercell: Annotated[
        Optional[tuple[int, int, int]],
        typer.Option(
            "--supercell",
            metavar="N N N",
            help="How often the deck's cell is repeated along each of its vectors. Default: so that the supercell is "
            "wider than twice the cutoff.",
            show_default=False,
        ),
    ] = None,
    primitive: Annotated[
        str,
        typer.Option("--primitive", help="auto: reduce the deck's cell to a primitive one; none: take it as it is."),
    ] = "auto",
    variables: VariableOption = None,
    parameters: ParametersOption = None,
    ftol: FtolOption = 1e-8,
    force_limit: ForceLimitOption = 1e-2,
    relax: RelaxOption = False,
    cell: CellOption = "none",
    pressure: PressureOption = None,
    step: Annotated[
        float, typer.Option("--step", parser=number("Å", below=0.5), help="Length of displacements (Å).")
    ] = STEP,
    points: Annotated[
        int, typer.Option("--points", parser=whole(2, 10_000), help="Points on the longest segment of the path.")
    ] = POINTS,
    mesh: Annotated[
        Optional[tuple[int, int, int]],
        typer.Option(
            "--mesh",
            metavar="N N N",
            help="Points of the mesh of the density of states along each reciprocal vector. Default: as the cell asks.",
            show_default=False,
        ),
    ] = None,
    ensemble: Annotated[
        Optional[Path],
        typer.Option("--ensemble", help="Ensemble of parameters, as for 'propagate': bands have uncertainties."),
    ] = None,
    draws: Annotated[
        int, typer.Option("--draws", parser=whole(1, 10**6), help="Number of samples to draw from a covariance.")
    ] = 1000,
    covariance: CovarianceOption = False,
    accept_mean: AcceptMeanOption = False,
    plot: Annotated[Optional[Path], typer.Option("--plot", help="PNG file for a plot of the bands.")] = None,
    dos_plot: Annotated[
        Optional[Path], typer.Option("--dos-plot", help="PNG file for a plot of the density of states.")
    ] = None,
    against: Annotated[
        Optional[Path],
        typer.Option(
            "--beside",
            help="What the plots show as well: phonons of another potential (.h5), or measured points (.csv, with the "
            "columns from, to, fraction, frequency).",
        ),
    ] = None,
    accept_accuracy: AcceptAccuracyOption = 0.0,
    overwrite: OverwriteOption = False,
) -> None:
    """Phonons of a crystal, how they depend on the parameters, and their uncertainty.

    Runs the deck, relaxes its cell, and takes force constants from displaced supercells, with their derivatives: at
    fixed structure, and through the structure that follows the parameters. Needs phonopy (the extra 'phonons').
    """
    files = [output, *beside(output, ".phonopy.yaml", ".fc2.hdf5")]
    plots = [target for target in (plot, dos_plot) if target is not None]
    for target in (*files, *plots):
        refuse_to_overwrite(target, overwrite)
        refuse_inputs(target, deck, *(given for given in (ensemble, against) if given is not None))
    _require_different([*files, *plots])
    if primitive not in ("auto", "none"):
        raise LammpsImplicitError(f"--primitive {primitive}: give auto or none")
    for name, numbers in (("--supercell", supercell), ("--mesh", mesh)):
        if numbers is not None and min(numbers) < 1:
            raise LammpsImplicitError(f"{name} {' '.join(map(str, numbers))}: give three whole numbers from 1")
    if against is not None and (not plots or not against.exists()):
        what = "is not drawn: give --plot" if against.exists() else "does not exist"
        raise LammpsImplicitError(f"--beside {against} {what}")
    require_exists(ensemble)
    settings = read_variables(variables)
    on_root(MPI.COMM_WORLD, require_packages)
    beside_it = on_root(MPI.COMM_WORLD, lambda: _read_beside(against))
    with Minimum.from_deck(
        deck,
        parameters=parameters,
        variables=settings,
        ftol=ftol,
        force_limit=force_limit,
        cell=cell,
        pressure=pressure,
        accept_accuracy=accept_accuracy,
        relax=relax,
    ) as minimum:
        engine = minimum.engine
        changes = engine.on_root(lambda: _changes(minimum, ensemble, draws, covariance, accept_mean))
        with progress("displacing", rank() == 0) as update:
            found = phonons_of(
                minimum,
                supercell,
                primitive=primitive == "auto",
                points=points,
                mesh=mesh,
                step=step,
                progress=update,
            )
        attributes = _attributes(minimum)

        def finish() -> None:
            assert found is not None
            drawn = _drawn(beside_it, against, found, frequency_unit(minimum.units))
            known = None if changes is None else propagated(found, changes)
            attributes["force_evaluations"] = found.evaluations.forces
            attributes["descriptor_evaluations"] = found.evaluations.descriptors
            attributes["accuracy"], attributes["verdict"] = found.error, _verdict(found.error)
            attributes["spacegroup"] = found.crystal.spacegroup
            write_phonons(output, found, minimum.parameters, plain_density(found), known, attributes, overwrite)
            write_for_phonopy(files[1], files[2], found, minimum.deck_name, overwrite)
            stored = read_phonons(output)
            if plot is not None:
                write_figure(plot, plot_bands(stored, *drawn), overwrite)
            if dos_plot is not None:
                write_figure(dos_plot, plot_density(stored, drawn[0]), overwrite)
            _tell(minimum, found, changes, known)

        engine.on_root(finish)
    say("wrote " + ", ".join(map(str, [*files, *plots])))


def _require_different(targets: list[Path]) -> None:
    places = [target.absolute() for target in targets]
    for target in targets:
        if places.count(target.absolute()) > 1:
            raise LammpsImplicitError(f"{target} would be two of the files that are written: give two names")


def _changes(minimum: Minimum, path: Path | None, draws: int, covariance: bool, accept_mean: bool) -> FloatArray | None:
    """Changes of the parameters of an ensemble's samples, (S, P)."""
    if path is None:
        return None
    parameters = minimum.parameters
    if not parameters.names:
        raise LammpsImplicitError(f"--ensemble {path}: the potential has no parameters")
    known = read_ensemble(path, parameters, draws, allow_singular=True, covariance=covariance, accept_mean=accept_mean)
    return known.changes(parameters.theta)


def _attributes(minimum: Minimum) -> dict[str, Any]:
    engine, units = minimum.engine, minimum.units
    return {
        **engine.versions,
        "deck": minimum.deck_name,
        "deck_sha256": minimum.deck_sha256,
        "units": units.style,
        "length_unit": units.length,
        "energy_unit": units.energy,
        "frequency_unit": frequency_unit(units),
        "cell_freedom": minimum.cell,
        "pressure": float(np.trace(minimum.target) / 3 * units.pressure_factor),
        "pressure_unit": units.pressure,
        "max_force": minimum.max_force,
    }


def _read_beside(path: Path | None) -> StoredPhonons | list[Point] | None:
    """What the plots show as well; read before anything is computed."""
    if path is None:
        return None
    return read_points(path) if path.suffix.lower() == ".csv" else read_phonons(path)


def _drawn(
    given: StoredPhonons | list[Point] | None, path: Path | None, found: Phonons, unit: str
) -> tuple[StoredPhonons | None, FloatArray | None]:
    """The same on the path of what was found, before that is written."""
    if given is None or path is None:
        return None, None
    if isinstance(given, list):
        return None, on_path(path, given, found.path)
    require_same_path(found.path, unit, given)
    return given, None


def _tell(minimum: Minimum, found: Phonons, changes: FloatArray | None, known: Sampled | None) -> None:
    """Print what was found; on rank 0."""
    unit, names, theta = frequency_unit(minimum.units), minimum.potential.names, minimum.potential.theta
    values = found.bands.values
    counts = "x".join(map(str, found.counts))
    rows = [
        ("space group", found.crystal.spacegroup),
        (
            "atoms",
            f"{len(found.crystal.masses)} in the primitive cell, {len(found.cell.ids)} in the deck's, "
            f"{len(found.crystal.ids)} in the supercell ({counts})",
        ),
        ("displacements", f"{len(found.crystal.displaced)}{'' if found.crystal.symmetric else _BROKEN}"),
        (
            "evaluations",
            f"{found.evaluations.forces:,} forces, {found.evaluations.descriptors:,} descriptors (cell and supercell)",
        ),
        ("frequencies", f"{values.min():.5g} to {values.max():.5g} {unit} on the path"),
        ("at Γ", f"{_at_gamma(found)} {unit}"),
        ("Grüneisen parameters", _grueneisen(found)),
    ]
    if known is not None:
        largest = np.unravel_index(np.argmax(known.bands.deviation), known.bands.deviation.shape)
        rows.append(
            (
                "uncertainty",
                f"one deviation up to {known.bands.deviation[largest]:.3g} {unit}, where the frequency is "
                f"{values[largest]:.4g} {unit}; {known.count:,} samples, {known.unstable:.1%} of them unstable",
            )
        )
    rows.append(("accuracy", _verdict(found.error)))
    columns(rows)
    modes = unstable_modes(found, names, theta)
    if modes:
        _tell_unstable(modes, unit)
    if len(names):
        _tell_drivers(found, names, theta, changes, unit)


def _verdict(error: float) -> str:
    """What displacements of twice the length say of force constants."""
    if error <= _GOOD:
        return f"good: displacements of twice the length change force constants by {3 * error:.1e}"
    return (
        f"limited: displacements of twice the length change force constants by {3 * error:.1e}; forces are not smooth "
        "here, which 'lammps-implicit check' looks into, or --step is too long"
    )


def _grueneisen(found: Phonons) -> str:
    """Range of mode Grüneisen parameters; those of frequencies that nearly vanish are of any size."""
    values = np.abs(found.bands.values)
    shown = found.grueneisen[values > _SLOW * values.max()]
    return f"{shown.min():.4g} to {shown.max():.4g} on the path" if len(shown) else "none"


def _at_gamma(found: Phonons) -> str:
    """Frequencies at Γ, as many as branches are told."""
    rows = np.flatnonzero((found.path.qpoints == 0).all(axis=1))
    values = found.bands.values[rows[0]] if len(rows) else found.mesh_bands.values[0]
    return ", ".join(f"{value:.5g}" for value in values[:_BRANCHES]) + (", ..." if len(values) > _BRANCHES else "")


def _tell_unstable(modes: list[Unstable], unit: str) -> None:
    warnings.warn(
        f"the crystal is not stable: the squares of some frequencies are negative, down to {modes[0].frequency:.4g}i "
        f"{unit}",
        stacklevel=2,
    )
    for mode in modes:
        place = ", ".join(f"{part:.4g}" for part in mode.qpoint)
        remedy = " or ".join(f"{name} by {change:+.2%}" for name, change in mode.remedies)
        told = f"{mode.frequency:.4g}i {unit} at {mode.name or 'q'} = ({place})"
        say(f"  {told}" + (f": real, to first order, after a change of {remedy}" if remedy else ""))


def _tell_drivers(
    found: Phonons, names: tuple[str, ...], theta: FloatArray, changes: FloatArray | None, unit: str
) -> None:
    deviations = _PERCENT * np.abs(theta) if changes is None else changes.std(axis=0)
    for_what = "for 1 % of each parameter" if changes is None else "for one deviation of each parameter"
    say(f"parameters that move each branch most ({unit} {for_what}, mean over the Brillouin zone):")
    strongest = drivers(found, names, deviations)[:_BRANCHES]
    columns(
        [
            (f"branch {branch + 1}", ", ".join(f"{one.name} {one.effect:.3g}" for one in several) or "none")
            for branch, several in enumerate(strongest)
        ]
    )
