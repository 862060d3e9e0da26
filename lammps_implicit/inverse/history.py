"""History of an inversion in HDF5: every iteration, and what is needed to resume an interrupted run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import OutputError
from lammps_implicit.files import FORMAT_VERSION, Schema, hdf5_opened, hdf5_written_whole, labels, numbers, texts
from lammps_implicit.inverse.descent import Descent, Iteration
from lammps_implicit.inverse.saved_structure import SavedStructure
from lammps_implicit.minimum import Minimum
from lammps_implicit.mpi.on_root import opened_on_root
from lammps_implicit.observables.kind import Cells
from lammps_implicit.results.format import structure_fields
from lammps_implicit.results.snapshot import snapshot
from lammps_implicit.results.structure import read_rows, stream_structure, structure_pieces
from lammps_implicit.structures import Rows

HISTORY_KIND = "inversion"
"""Attribute ``kind`` of the files."""

_NUMBERS = ("loss", "step", "slope", "missed", "refused", "forces", "descriptors")
"""Attributes of iterations that are datasets of the same name."""

SCHEMA = Schema(
    HISTORY_KIND,
    {
        **{name: numbers("K") for name in _NUMBERS},
        "parameter_names": labels("P"),
        "theta_start": numbers("P"),
        "theta": numbers("K", "P"),
        "term_names": texts("T"),
        "terms": numbers("K", "T"),
        "observable_names": texts("O"),
        "observables": numbers("K", "O"),
        "pairs": numbers("L", 2, "P"),
        "gradient": numbers("P", needed=False),
        "place": numbers("P", needed=False),
    },
    {"structures/*": structure_fields("n", "e")},
    attributes={"digest": "text", "start": "text", "radius": "number", "converged": "number", "reason": "text"},
)
"""Histories of K iterations of P parameters, with L pairs of the optimiser."""


@dataclass(frozen=True)
class InitialState:
    """State before the first iteration, which a resumed run must share with the interrupted one.

    Attributes
    ----------
    digest : str
        SHA-256 of the configuration, the decks and the potential.
    names : tuple of str
        Labels of the free parameters.
    theta : (P,) float array
        The free parameters.
    observables : dict of str to float
        Observables of the configuration.
    """

    digest: str
    names: tuple[str, ...]
    theta: FloatArray
    observables: dict[str, float]


@dataclass(frozen=True)
class History:
    """Every iteration of an inversion.

    Attributes
    ----------
    initial : InitialState
    descent : Descent
        With K iterations.
    observables : dict of str to (K,) float array
        Value of each observable at every iteration.
    version : int
        Of the file's format.
    """

    initial: InitialState
    descent: Descent
    observables: dict[str, FloatArray]
    version: int = FORMAT_VERSION


def write_history(path: Path, history: History, cells: Cells) -> None:
    """Write a history with the present structures, replacing an existing file; called on all ranks.

    Structures are streamed: no rank holds all atoms.

    Parameters
    ----------
    path : Path
        HDF5 file.
    history : History
    cells : mapping of str to StationaryPoint

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    first = next(iter(cells.values()))
    with opened_on_root(first.engine.comm, lambda: hdf5_written_whole(path, overwrite=True)) as file:
        if file is not None:
            _write(file, history, first.units.style)
        for name, cell in cells.items():
            group = None if file is None else file.create_group(f"structures/{name}")
            stream_structure(group, snapshot(cell), cell.engine.comm, cell.units.length)


def _write(file: Any, history: History, units: str) -> None:
    import h5py

    initial, descent = history.initial, history.descent
    text = h5py.string_dtype()
    file.attrs.update(
        kind=HISTORY_KIND,
        digest=initial.digest,
        start=json.dumps(initial.observables),
        units=units,
        radius=descent.radius,
        converged=descent.converged,
        reason=descent.reason,
    )
    file["parameter_names"] = np.array(initial.names, dtype=text)
    file["theta_start"] = initial.theta
    file["theta"] = np.array([iteration.theta for iteration in descent.history])
    for name in _NUMBERS:
        file[name] = np.array([getattr(iteration, name) for iteration in descent.history])
    terms = list(descent.history[0].terms)
    file["term_names"] = np.array(terms, dtype=text)
    file["terms"] = np.array([[iteration.terms[name] for name in terms] for iteration in descent.history])
    file["observable_names"] = np.array(list(history.observables), dtype=text)
    columns = list(history.observables.values())
    file["observables"] = np.stack(columns, axis=1) if columns else np.zeros((len(descent.history), 0))
    shape = (len(descent.pairs), 2, len(initial.theta))
    file["pairs"] = np.array(descent.pairs, float).reshape(shape)
    if descent.gradient is not None and descent.scaled_theta is not None:
        file["gradient"], file["place"] = descent.gradient, descent.scaled_theta


def read_history(path: Path) -> History:
    """Read a file written by `write_history`, without the structures.

    Parameters
    ----------
    path : Path

    Returns
    -------
    History

    Raises
    ------
    OutputError
        If the file does not exist, is damaged, or is not a history.
    """
    with hdf5_opened(path, [SCHEMA], "a history of 'lammps-implicit invert'") as file:
        terms = file["term_names"].asstr()[()]
        thetas, values = file["theta"][()], file["terms"][()]
        numbers = {name: file[name][()].tolist() for name in _NUMBERS}
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
            scaled_theta=file["place"][()] if "place" in file else None,
            converged=bool(file.attrs["converged"]),
            reason=str(file.attrs["reason"]),
        )
        initial = InitialState(
            str(file.attrs["digest"]),
            tuple(file["parameter_names"].asstr()[()]),
            file["theta_start"][()],
            json.loads(file.attrs["start"]),
        )
        names = file["observable_names"].asstr()[()]
        observables = dict(zip(names, file["observables"][()].T, strict=True)) if len(names) else {}
        return History(initial, descent, observables, int(file.attrs.get("format_version", 0)))


def move_to_structures(path: Path, theta: FloatArray, cells: Mapping[str, Minimum], ftol: float) -> None:
    """Move all cells to given parameters and to the structures in a history, and relax them there.

    Parameters
    ----------
    path : Path
        File of the history.
    theta : (P,) float array
    cells : mapping of str to Minimum
    ftol : float
        Largest force component, eV/Å.

    Raises
    ------
    OutputError
        If a structure in the file has other atoms than the cell.
    """
    for name, cell in cells.items():
        displacement, strain = _read_structure(path, name, cell).displacement_from(cell)
        if cell.engine.any(bool(np.isnan(displacement).any())):
            raise OutputError(f"{path}: the structure of {name} has other atoms than its deck; start again without it")
        with cell.excursion(theta - cell.potential.theta, displacement, strain) as excursion:
            cell.relax_away(ftol, cell.cell)
            excursion.stay = True


def _read_structure(path: Path, name: str, cell: Minimum) -> SavedStructure:
    """Read the structure of a cell, distributed over its ranks."""

    def pieces() -> Iterator[Rows]:
        with hdf5_opened(path, [SCHEMA], "a history of 'lammps-implicit invert'") as file:
            yield from structure_pieces(file[f"structures/{name}"])

    return SavedStructure(*read_rows(cell.engine.comm, pieces))
