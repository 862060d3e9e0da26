"""Run the decks of a configuration and collect every observable, with gradients, into a table, a file and a plot."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import numpy as np

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.files import hdf5_written_whole
from lammps_implicit.minimum import Minimum
from lammps_implicit.observables.bulk import (
    cohesive_energy,
    elastic_constants,
    lattice_parameters,
    named_constants,
)
from lammps_implicit.observables.cells import composition, enthalpy
from lammps_implicit.observables.config import Configuration, Deck
from lammps_implicit.observables.formation import (
    binding_energy,
    formation_energy,
    formation_volume,
    relaxation_volume,
)
from lammps_implicit.observables.observable import Observable, combine

Say = Callable[[str], None]


@dataclass(frozen=True)
class Study:
    """Observables of one potential by name.

    Attributes
    ----------
    observables : dict of str to Observable
    theta : (P,) float array
    names : tuple of str
        Labels of the parameters.
    attributes : dict
        Versions, decks, pressure, cost.
    """

    observables: dict[str, Observable]
    theta: np.ndarray[Any, Any]
    names: tuple[str, ...]
    attributes: dict[str, Any]


def run_study(configuration: Configuration, comm: Any = None, say: Say = lambda line: None) -> Study:
    """Relax all cells and take every observable.

    Parameters
    ----------
    configuration : Configuration
    comm : mpi4py communicator, optional
    say : callable
        Told what is being done.

    Raises
    ------
    LammpsImplicitError
        With the name of the cell it is about.
    """
    with ExitStack() as open_cells:
        cells: dict[str, Minimum] = {}

        def relaxed(name: str, deck: Deck, cell: str = configuration.cell) -> Minimum:
            say(f"relaxing {name}")
            with _named(name):
                cells[name] = open_cells.enter_context(_relaxed(deck, configuration, cell, comm))
            return cells[name]

        bulk = relaxed("bulk", configuration.bulk)
        reservoirs: dict[str, Union[Minimum, float]] = {
            element: relaxed(f"reservoir of {element}", given) if isinstance(given, Deck) else given
            for element, given in configuration.reservoirs.items()
        }
        found = _of_bulk(bulk, configuration)
        if configuration.elastic_constants:
            strained = relaxed("bulk, all strains", configuration.bulk, "full")
            say("elastic constants")
            found |= named_constants(elastic_constants(strained, min(configuration.tol, 1e-6)))
        for name, deck in configuration.defects.items():
            defect = relaxed(name, deck)
            say(f"{name}: {_formula(composition(defect))}")
            with _named(name):
                of_defect = _of_defect(defect, bulk, reservoirs, deck.sites, configuration)
            found |= {f"{name}: {what}": observable for what, observable in of_defect.items()}
        for name, binding in configuration.bindings.items():
            complex_, *parts = (found[f"{defect}: formation energy"] for defect in (binding.complex, *binding.parts))
            found[f"{name}: binding energy"] = binding_energy(complex_, parts)
        return Study(found, bulk.potential.theta, bulk.potential.names, _attributes(cells, configuration))


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Say which cell an error is about."""
    try:
        yield
    except LammpsImplicitError as error:
        raise type(error)(f"{name}: {error}") from None


def _relaxed(deck: Deck, configuration: Configuration, cell: str, comm: Any) -> Minimum:
    return Minimum.from_deck(
        deck.deck,
        comm,
        configuration.parameters,
        variables=deck.settings(),
        force_limit=deck.force_limit,
        cell=cell,
        pressure=configuration.pressure,
    )


def _of_bulk(bulk: Minimum, configuration: Configuration) -> dict[str, Observable]:
    tol, second = configuration.tol, configuration.second
    found = {"bulk energy per atom": combine([(1.0 / bulk.engine.n_atoms, enthalpy(bulk, tol, second))])}
    if configuration.cell != "none":
        lattice = lattice_parameters(bulk, configuration.bulk.repeat, tol)
        for axis, name in enumerate("abc"):
            part = Observable(lattice.value[axis], lattice.gradient[:, axis], lattice.units)
            found[f"lattice parameter {name}"] = part
    if configuration.isolated:
        found["cohesive energy"] = cohesive_energy(bulk, configuration.isolated, tol, second)
    return found


def _of_defect(
    defect: Minimum,
    bulk: Minimum,
    reservoirs: dict[str, Union[Minimum, float]],
    sites: int | None,
    configuration: Configuration,
) -> dict[str, Observable]:
    tol, second = configuration.tol, configuration.second
    found = {"formation energy": formation_energy(defect, bulk, reservoirs, tol, second)}
    if configuration.cell != "none":
        used = [reservoirs[element] for element in composition(defect) if element in reservoirs]
        if all(isinstance(cell, Minimum) for cell in used):
            found["formation volume"] = formation_volume(defect, bulk, reservoirs, tol)
        if sites is not None:
            found["relaxation volume"] = relaxation_volume(defect, bulk, sites, tol)
    return found


def _attributes(cells: dict[str, Minimum], configuration: Configuration) -> dict[str, Any]:
    from lammps_implicit import __version__

    bulk = cells["bulk"]
    return {
        "kind": "lammps-implicit observables",
        "package_version": __version__,
        "lammps_version": bulk.engine.version,
        "units": bulk.units.style,
        "cell_freedom": configuration.cell,
        "pressure": float(np.trace(bulk.target) / 3 * bulk.units.pressures),
        "pressure_unit": bulk.units.pressure,
        "tolerance": configuration.tol,
        "decks": [f"{name}: {cell.deck_name} {cell.deck_sha256}" for name, cell in cells.items()],
        "force_evaluations": sum(cell.engine.evaluations.forces for cell in cells.values()),
        "descriptor_evaluations": sum(cell.engine.evaluations.descriptors for cell in cells.values()),
    }


def write_study(path: str | os.PathLike[str], study: Study, overwrite: bool = False) -> None:
    """Write observables as HDF5: a group each with ``value``, ``gradient`` (P,) and, where known, ``hessian`` (P, P).

    Raises
    ------
    OutputError
        If the file exists or cannot be written.
    """
    import h5py

    with hdf5_written_whole(path, overwrite) as file:
        file.attrs.update(study.attributes)
        file["theta"] = study.theta
        file["parameter_names"] = np.array(study.names, dtype=h5py.string_dtype())
        for name, observable in study.observables.items():
            group = file.create_group(f"observables/{name.replace('/', '|')}")
            group.attrs["units"] = observable.units
            group["value"], group["gradient"] = observable.value, observable.gradient
            if observable.hessian is not None:
                group["hessian"] = observable.hessian


def table(study: Study) -> list[tuple[str, ...]]:
    """Rows of name, value, unit, and the parameter that moves it most with the change for 1 % of it."""
    rows: list[tuple[str, ...]] = []
    for name, observable in study.observables.items():
        changes = 0.01 * study.theta * observable.gradient
        most = int(np.argmax(np.abs(changes)))
        shown = f"{changes[most]:+.3g} for 1 % of {study.names[most]}" if changes[most] else "none"
        rows.append((name, f"{float(observable.value):.8g}", observable.units, shown))
    return rows


def plot_study(path: Path, study: Study, shown: int = 12) -> None:
    """Draw how much each observable changes for 1 % of the parameters that matter most, in shares of the largest."""
    from matplotlib.figure import Figure

    names = list(study.observables)
    changes = np.array([0.01 * study.theta * observable.gradient for observable in study.observables.values()])
    largest = np.abs(changes).max(axis=1, keepdims=True)
    shares = changes / np.where(largest > 0, largest, 1.0)
    picked = np.sort(np.argsort(np.abs(shares).max(axis=0) + 1e-3 * np.abs(shares).sum(axis=0))[::-1][:shown])
    figure = Figure(figsize=(2.5 + 0.45 * len(picked), 1.4 + 0.32 * len(names)), layout="constrained", dpi=150)
    axes = figure.subplots()
    image = axes.imshow(shares[:, picked], cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    axes.set_xticks(range(len(picked)), [study.names[index] for index in picked], rotation=60, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_title("change for 1 % of a parameter, relative to the largest of each row", fontsize="medium")
    figure.colorbar(image)
    figure.savefig(path, format="png")


def _formula(counts: dict[str, int]) -> str:
    return " ".join(f"{element}{count}" for element, count in counts.items())
