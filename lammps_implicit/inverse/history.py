"""History of an inversion in HDF5: every iteration, and what an interrupted run needs to go on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import OutputError
from lammps_implicit.files import hdf5_opened, hdf5_written_whole
from lammps_implicit.inverse.descent import Descent, Iteration
from lammps_implicit.inverse.places import Place
from lammps_implicit.minimum import Minimum
from lammps_implicit.mpi.on_root import opened_on_root
from lammps_implicit.observables.kind import Cells
from lammps_implicit.results.snapshot import snapshot
from lammps_implicit.results.structure import read_rows, stream_structure, structure_pieces
from lammps_implicit.structures import Rows

HISTORY_KIND = "inversion"

NUMBERS = ("loss", "step", "slope", "missed", "refused", "forces", "descriptors")


@dataclass(frozen=True)
class Setting:
    """What must not change between an interrupted run and the one that goes on.

    Attributes
    ----------
    digest : str
        Of the configuration, the decks and the potential.
    names : tuple of str
        Labels of the free parameters.
    theta : (P,) float array
        What they were at the start.
    start : dict of str to float
        Observables at the start.
    """

    digest: str
    names: tuple[str, ...]
    theta: FloatArray
    start: dict[str, float]


@dataclass(frozen=True)
class History:
    """Every iteration of an inversion.

    Attributes
    ----------
    setting : Setting
    descent : Descent
    observables : dict of str to (K,) float array
        Iteration by iteration.
    """

    setting: Setting
    descent: Descent
    observables: dict[str, FloatArray]


def write_history(path: Path, history: History, cells: Cells) -> None:
    """Write everything up to the last iteration, in place of what was there; the structures stream."""
    first = next(iter(cells.values()))
    with opened_on_root(first.engine.comm, lambda: hdf5_written_whole(path, overwrite=True)) as file:
        if file is not None:
            _write(file, history, first.units.style)
        for name, cell in cells.items():
            group = None if file is None else file.create_group(f"structures/{name}")
            stream_structure(group, snapshot(cell), cell.engine.comm, cell.units.length)


def _write(file: Any, history: History, units: str) -> None:
    import h5py

    setting, descent = history.setting, history.descent
    text = h5py.string_dtype()
    file.attrs.update(
        kind=HISTORY_KIND,
        digest=setting.digest,
        start=json.dumps(setting.start),
        units=units,
        radius=descent.radius,
        converged=descent.converged,
        reason=descent.reason,
    )
    file["parameter_names"] = np.array(setting.names, dtype=text)
    file["theta_start"] = setting.theta
    file["theta"] = np.array([iteration.theta for iteration in descent.history])
    for name in NUMBERS:
        file[name] = np.array([getattr(iteration, name) for iteration in descent.history])
    terms = list(descent.history[0].terms)
    file["term_names"] = np.array(terms, dtype=text)
    file["terms"] = np.array([[iteration.terms[name] for name in terms] for iteration in descent.history])
    file["observable_names"] = np.array(list(history.observables), dtype=text)
    columns = list(history.observables.values())
    file["observables"] = np.stack(columns, axis=1) if columns else np.zeros((len(descent.history), 0))
    shape = (len(descent.pairs), 2, len(setting.theta))
    file["pairs"] = np.array(descent.pairs, float).reshape(shape)
    if descent.gradient is not None and descent.place is not None:
        file["gradient"], file["place"] = descent.gradient, descent.place


def read_history(path: Path) -> History:
    """Read a file that `write_history` wrote, without structures.

    Raises
    ------
    OutputError
        If it does not exist, is damaged, or is something else.
    """
    with hdf5_opened(path, [HISTORY_KIND], "a history of 'lammps-implicit invert'") as file:
        terms = file["term_names"].asstr()[()]
        thetas, values = file["theta"][()], file["terms"][()]
        numbers = {name: file[name][()].tolist() for name in NUMBERS}
        history = [
            Iteration(
                number=k,
                theta=thetas[k],
                terms=dict(zip(terms, values[k].tolist(), strict=True)),
                **{name: column[k] for name, column in numbers.items()},
            )
            for k in range(len(thetas))
        ]
        descent = Descent(
            radius=float(file.attrs["radius"]),
            history=history,
            pairs=[(pair[0], pair[1]) for pair in file["pairs"][()]],
            gradient=file["gradient"][()] if "gradient" in file else None,
            place=file["place"][()] if "place" in file else None,
            converged=bool(file.attrs["converged"]),
            reason=str(file.attrs["reason"]),
        )
        setting = Setting(
            str(file.attrs["digest"]),
            tuple(file["parameter_names"].asstr()[()]),
            file["theta_start"][()],
            json.loads(file.attrs["start"]),
        )
        names = file["observable_names"].asstr()[()]
        observables = dict(zip(names, file["observables"][()].T, strict=True)) if len(names) else {}
        return History(setting, descent, observables)


def move_to_structures(path: Path, theta: FloatArray, cells: Mapping[str, Minimum], ftol: float) -> None:
    """Bring all cells to parameters and to the structures that a file holds.

    Raises
    ------
    OutputError
        If they are of other atoms.
    """
    for name, cell in cells.items():
        displacement, strain = _saved(path, name, cell).way_from(cell)
        if cell.engine.any(bool(np.isnan(displacement).any())):
            raise OutputError(f"{path}: the structure of {name} is of other atoms")
        with cell.excursion(theta - cell.potential.theta, displacement, strain) as trip:
            cell.relax_away(ftol, cell.cell)
            trip.stay = True


def _saved(path: Path, name: str, cell: Minimum) -> Place:
    """Read the structure of a cell, spread over its ranks."""

    def pieces() -> Iterator[Rows]:
        with hdf5_opened(path, [HISTORY_KIND], "a history of 'lammps-implicit invert'") as file:
            yield from structure_pieces(file[f"structures/{name}"])

    return Place(*read_rows(cell.engine.comm, pieces))
