"""The command ``observables``: relax the cells of a configuration, and collect their observables with gradients."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, Union

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike

from lammps_implicit.arrays import FloatArray
from lammps_implicit.expansion.directions import leading_directions, relaxation_sizes
from lammps_implicit.expansion.third_derivative import third_derivative
from lammps_implicit.files import hdf5_written_whole, label
from lammps_implicit.observables.barriers import barrier, migration_volume
from lammps_implicit.observables.bulk import (
    cohesive_energy,
    elastic_constants,
    lattice_parameters,
    named_constants,
)
from lammps_implicit.observables.cells import composition, enthalpy
from lammps_implicit.observables.config import ENERGIES_PER_ATOM, LATTICE_PARAMETERS, OF_SADDLES, Defect, StudySettings
from lammps_implicit.observables.decks import DeckSettings
from lammps_implicit.observables.error_context import errors_about
from lammps_implicit.observables.files import write_observables
from lammps_implicit.observables.formation import (
    binding_energy,
    energy_in_unit_of,
    formation_energy,
    formation_volume,
    relaxation_volume,
)
from lammps_implicit.observables.kind import measure_scalar
from lammps_implicit.observables.observable import Observable, combine, stabilities
from lammps_implicit.observables.opening import Say, Source, from_settings, open_structures
from lammps_implicit.potentials.interface import Parameters
from lammps_implicit.potentials.without_parameters import WithoutParameters, require_parameters
from lammps_implicit.response.cubic import LeadingDirections
from lammps_implicit.response.statistics import Statistics, combined
from lammps_implicit.results.format import OBSERVABLES_KIND, __version__
from lammps_implicit.saddles.followed import FollowedMode
from lammps_implicit.stationary.point import StationaryPoint

TOLD = 0.01
"""Relative error of derivatives of a stability, and of strains, that is told. Chosen: a hundred times what searches aim
at."""


class ParameterSamples(Protocol):
    """The part of an ensemble of parameters that third derivatives need; see `Ensemble`."""

    @property
    def source(self) -> str:
        """Description of where the samples come from."""
        ...

    def changes(self, theta: ArrayLike) -> FloatArray:
        """Differences of the samples from `theta`, (S, P)."""
        ...


@dataclass(frozen=True)
class Study:
    """Observables of one potential.

    Attributes
    ----------
    observables : dict of str to Observable
        Scalars, by name.
    parameters : Parameters
        Parameters at which the derivatives were taken.
    directions : LeadingDirections or None
        Leading directions of an ensemble along which third derivatives were taken.
    attributes : dict
        Attributes of the result file: versions, decks, pressure, cost, accuracy.
    quality : Statistics
        What checks found of the derivatives of all cells, the worst of them.
    """

    observables: dict[str, Observable]
    parameters: Parameters
    directions: LeadingDirections | None
    attributes: dict[str, Any]
    quality: Statistics


@dataclass(frozen=True)
class StudyCells:
    """The relaxed cells of a study.

    Attributes
    ----------
    bulk : StationaryPoint
    reservoirs : dict of str to (StationaryPoint or float)
        By element: a cell, or a chemical potential.
    defects : dict of str to StationaryPoint
        By name.
    modes : dict of str to FollowedMode
        The negative mode of each defect that is a saddle, by name.
    """

    bulk: StationaryPoint
    reservoirs: dict[str, Union[StationaryPoint, float]]
    defects: dict[str, StationaryPoint]
    modes: dict[str, FollowedMode]

    def named(self) -> dict[str, StationaryPoint]:
        """All cells, by the names that configurations use."""
        reservoirs = {
            f"reservoir of {e}": cell for e, cell in self.reservoirs.items() if isinstance(cell, StationaryPoint)
        }
        return {"bulk": self.bulk, **reservoirs, **self.defects}


@contextmanager
def open_cells(
    settings: StudySettings,
    comm: MPI.Comm | None = None,
    say: Say = lambda line: None,
    check: Callable[[StationaryPoint], None] = lambda bulk: None,
) -> Iterator[StudyCells]:
    """Run all decks of a configuration, relax the cells, and close them at the end.

    Parameters
    ----------
    settings : StudySettings
    comm : MPI.Comm, optional
        Default: all ranks.
    say : callable
        Called with a line for each step.
    check : callable
        Called with the bulk before the other decks run.

    Yields
    ------
    StudyCells

    Raises
    ------
    LammpsImplicitError
        If a deck fails; the message begins with the name of the cell.
    """
    sources = settings.cells()

    def from_deck(name: str) -> StationaryPoint:
        return _relaxed(sources[name], settings, settings.cell, comm)

    with ExitStack() as stack:
        first = open_structures(stack, {"bulk": settings.bulk}, from_deck, say)
        check(first.cells["bulk"])
        others = {name: source for name, source in sources.items() if name != "bulk"}
        opened = open_structures(stack, others, from_deck, say, known=first.cells)
        reservoirs: dict[str, Union[StationaryPoint, float]] = {
            element: opened.cells[f"reservoir of {element}"]
            if isinstance(given, DeckSettings)
            else energy_in_unit_of(first.cells["bulk"], given, f"reservoir of {element}")
            for element, given in settings.reservoirs.items()
        }
        defects = {name: opened.cells[name] for name in settings.defects}
        yield StudyCells(first.cells["bulk"], reservoirs, defects, opened.modes)


def run_study(
    settings: StudySettings,
    comm: MPI.Comm | None = None,
    say: Say = lambda line: None,
    ensemble: Callable[[Parameters], ParameterSamples] | None = None,
) -> Study:
    """Relax all cells of a configuration and compute every observable.

    Parameters
    ----------
    settings : StudySettings
    comm : MPI.Comm, optional
        Default: all ranks.
    say : callable
        Called with a line for each step.
    ensemble : callable, optional
        Called on rank 0 with the parameters of the potential; returns an ensemble. Third derivatives of energies and
        second derivatives of volumes are then taken along the leading directions of the ensemble.

    Returns
    -------
    Study

    Raises
    ------
    LammpsImplicitError
        If a cell cannot be relaxed or an observable not computed; the message begins with its name.
    """
    samples: list[ParameterSamples] = []

    def read(bulk: StationaryPoint) -> None:
        if ensemble is not None:
            require_parameters(bulk.potential)
            parameters = bulk.parameters
            samples.append(bulk.engine.on_root(lambda: ensemble(parameters)))

    with open_cells(settings, comm, say, read) as cells:
        bulk = cells.bulk
        for name, kind in settings.observables.items():
            with errors_about(name):
                kind.check(cells.named())
        attributes = _take_third_derivatives(cells, samples[0], settings.tol, say) if samples else {}
        order = 2 if settings.second or ensemble is not None else 1
        if isinstance(bulk.potential, WithoutParameters):
            say(f"values only, without derivatives: {bulk.potential.reason}")
            order = 0
        found = observables_of(cells, settings, order, say, costly=True)
        checks = {name: cell.overall for name, cell in cells.named().items()}
        if settings.elastic_constants:
            say("relaxing bulk, all strains")
            with errors_about("bulk"), _relaxed(settings.bulk, settings, "full", comm) as strained:
                say("elastic constants")
                found |= named_constants(elastic_constants(strained, min(settings.tol, 1e-6), order))
                attributes["elastic_evaluations"] = strained.engine.evaluations.total
            checks["bulk, all strains"] = strained.overall
        quality = combined(checks)
        attributes |= _attributes(cells, settings) | {"accuracy": quality.accuracy, "verdict": quality.verdict}
        directions = bulk.third.directions if bulk.third is not None else None
        return Study(found, bulk.parameters, directions, attributes, quality)


def observables_of(
    cells: StudyCells,
    settings: StudySettings,
    order: int,
    say: Say = lambda line: None,
    costly: bool = False,
) -> dict[str, Observable]:
    """Compute every observable of the cells in their present state, except elastic constants.

    Parameters
    ----------
    cells : StudyCells
    settings : StudySettings
    order : int
        Order of the derivatives: 0 for the values only.
    say : callable
        Called with a line for each step.
    costly : bool
        Whether to measure observables that need force evaluations even if only values are asked for.

    Returns
    -------
    dict of str to Observable
        Scalars, by name.
    """
    found = _of_bulk(cells.bulk, settings, order)
    for name, defect in cells.defects.items():
        say(f"{name}: {_formula(composition(defect))}")
        with errors_about(name):
            of_defect = _of_defect(defect, cells, settings.defects[name], settings, order)
        found |= {f"{name}: {what}": observable for what, observable in of_defect.items()}
    if order >= 2:
        for name, cell in cells.named().items():
            if cell.third is not None:
                found |= {f"{name}: {what}": found_ for what, found_ in stabilities(cell.third.softening).items()}
    for name, binding in settings.bindings.items():
        complex_, *parts = (found[f"{defect}: formation energy"] for defect in (binding.complex, *binding.parts))
        found[f"{name}: binding energy"] = binding_energy(complex_, parts)
    for name, kind in settings.observables.items():
        if order > 0 or costly or not kind.costly:
            say(name)
            with errors_about(name):
                found[name] = measure_scalar(name, kind, cells.named(), order, settings.tol)
    return found


def _take_third_derivatives(cells: StudyCells, ensemble: ParameterSamples, tol: float, say: Say) -> dict[str, Any]:
    """Measure third derivatives of all cells along the leading directions of an ensemble; return attributes."""
    named = cells.named()
    hessians = [relaxation_sizes(cell, tol, cell.cell) for cell in named.values()]
    changes = ensemble.changes(cells.bulk.potential.theta)
    directions = cells.bulk.engine.on_root(lambda: leading_directions(changes, hessians))
    asymmetry = stability_error = strain_error = 0.0
    for name, cell in named.items():
        say(f"third derivatives of {name} along {directions.vectors.shape[1]} directions")
        with errors_about(name):
            third = third_derivative(cell, directions, tol, cell.cell)
        cell.third, asymmetry = third, max(asymmetry, third.asymmetry)
        error = float(third.softening_errors[0])
        stability_error = max(stability_error, error)
        if error > TOLD:
            say(f"{name}: modes are hardly apart, and stability is known to {error:.0%} only")
        if third.strains is not None:
            strain_error = max(strain_error, third.strains.relative_error)
            if third.strains.relative_error > TOLD:
                say(f"{name}: second derivatives of {third.strains.finding}")
    return {
        "ensemble": ensemble.source,
        "directions_share": directions.share,
        "third_asymmetry": asymmetry,
        "stability_error": stability_error,
        "strain_error": strain_error,
    }


def _relaxed(source: Source, settings: StudySettings, cell: str, comm: MPI.Comm | None) -> StationaryPoint:
    return from_settings(StationaryPoint, source, comm, settings.parameters, cell=cell, pressure=settings.pressure)


def _of_bulk(bulk: StationaryPoint, settings: StudySettings, order: int) -> dict[str, Observable]:
    tol = settings.tol
    per_atom, cohesive = ENERGIES_PER_ATOM
    found = {per_atom: combine([(1.0 / bulk.engine.n_atoms, enthalpy(bulk, tol, order))])}
    if settings.cell != "none":
        lattice = lattice_parameters(bulk, settings.bulk.repeat, tol, order)
        found |= {name: lattice.component(axis) for axis, name in enumerate(LATTICE_PARAMETERS)}
    if settings.isolated:
        isolated = {
            element: energy_in_unit_of(bulk, given, f"isolated: {element}")
            for element, given in settings.isolated.items()
        }
        found[cohesive] = cohesive_energy(bulk, isolated, tol, order)
    return found


def _of_defect(
    defect: StationaryPoint, cells: StudyCells, source: Defect, settings: StudySettings, order: int
) -> dict[str, Observable]:
    bulk, reservoirs, tol = cells.bulk, cells.reservoirs, settings.tol
    found = {"formation energy": formation_energy(defect, bulk, reservoirs, tol, order)}
    if settings.cell != "none":
        used = [reservoirs[element] for element in composition(defect) if element in reservoirs]
        if all(isinstance(cell, StationaryPoint) for cell in used):
            found["formation volume"] = formation_volume(defect, bulk, reservoirs, tol, order)
        if source.sites is not None:
            found["relaxation volume"] = relaxation_volume(defect, bulk, source.sites, tol, order)
    if source.barrier is not None:
        minima = cells.named()
        initial, final = minima[source.barrier.initial], minima[source.barrier.final]
        forward, backward, of_migration = OF_SADDLES
        found[forward] = barrier(defect, initial, tol, order)
        found[backward] = barrier(defect, final, tol, order)
        if settings.cell != "none":
            found[of_migration] = migration_volume(defect, initial, tol, order)
    return found


def _attributes(cells: StudyCells, settings: StudySettings) -> dict[str, Any]:
    bulk, named = cells.bulk, cells.named()
    return {
        "kind": OBSERVABLES_KIND,
        "package_version": __version__,
        **bulk.engine.versions,
        "units": bulk.units.style,
        "cell_freedom": settings.cell,
        "pressure": float(np.trace(bulk.target) / 3 * bulk.units.pressure_factor),
        "pressure_unit": bulk.units.pressure,
        "tolerance": settings.tol,
        "decks": [f"{name}: {named[name].deck_name} {named[name].deck_sha256}" for name in settings.with_decks()],
        "cell_vectors": json.dumps({name: cell.engine.cell.tolist() for name, cell in named.items()}),
        "configuration": settings.model_dump_json(),
        "saddles": [
            f"{name}: 1 negative mode, {mode.curvature:.4g} {bulk.units.energy}/{bulk.units.length}^2"
            for name, mode in cells.modes.items()
        ],
        "force_evaluations": sum(cell.engine.evaluations.forces for cell in named.values()),
        "descriptor_evaluations": sum(cell.engine.evaluations.descriptors for cell in named.values()),
    }


def write_study(path: str | os.PathLike[str], study: Study, overwrite: bool = False) -> None:
    """Write a study to an HDF5 file; see `write_observables` for the format.

    Parameters
    ----------
    path : path-like
    study : Study
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    OutputError
        If the file exists or cannot be written.
    """
    import h5py

    with hdf5_written_whole(path, overwrite) as file:
        file.attrs.update(study.attributes)
        file["theta"] = study.parameters.theta
        file["parameter_names"] = np.array(study.parameters.names, dtype=h5py.string_dtype())
        file["potential"] = study.parameters.text
        write_observables(file, study.observables, study.directions)


def table(study: Study) -> list[tuple[str, ...]]:
    """Rows of a table: name, value and unit of each observable, and the parameter it is most sensitive to.

    The last column gives the first-order change for a change of that parameter by 1 %.
    """
    rows: list[tuple[str, ...]] = []
    for name, observable in study.observables.items():
        changes = 0.01 * study.parameters.theta * observable.gradient
        if not len(changes):
            rows.append((name, f"{float(observable.value):.8g}", observable.units, "no parameters"))
            continue
        most = int(np.argmax(np.abs(changes)))
        shown = f"{changes[most]:+.3g} for 1 % of {study.parameters.names[most]}" if changes[most] else "none"
        rows.append((name, f"{float(observable.value):.8g}", observable.units, shown))
    return rows


def plot_study(study: Study, shown: int = 12) -> Any:
    """Heat map of the first-order change of each observable for a change of each parameter by 1 %.

    Parameters
    ----------
    study : Study
    shown : int
        Number of parameters shown: those that matter most.

    Returns
    -------
    matplotlib.figure.Figure
        Rows are relative to the largest change of each observable.
    """
    from matplotlib.figure import Figure

    names = list(study.observables)
    changes = np.array(
        [0.01 * study.parameters.theta * observable.gradient for observable in study.observables.values()]
    )
    largest = np.abs(changes).max(axis=1, keepdims=True)
    shares = changes / np.where(largest > 0, largest, 1.0)
    # Ranked by the largest share in any row; the sum, with a small weight, only breaks ties.
    picked = np.sort(np.argsort(np.abs(shares).max(axis=0) + 1e-3 * np.abs(shares).sum(axis=0))[::-1][:shown])
    figure = Figure(figsize=(2.5 + 0.45 * len(picked), 1.4 + 0.32 * len(names)), layout="constrained", dpi=150)
    axes = figure.subplots()
    image = axes.imshow(shares[:, picked], cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    axes.set_xticks(
        range(len(picked)), [label(study.parameters.names[index]) for index in picked], rotation=60, ha="right"
    )
    axes.set_yticks(range(len(names)), [label(name) for name in names])
    figure.suptitle("change for 1 % of a parameter,\nrelative to the largest in each row", fontsize="medium")
    figure.colorbar(image)
    return figure


def _formula(counts: dict[str, int]) -> str:
    return " ".join(f"{name}{'×' if name[-1].isdigit() else ''}{count}" for name, count in counts.items())
