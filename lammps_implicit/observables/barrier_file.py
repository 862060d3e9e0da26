"""Barriers in HDF5 files: the two minima and the saddle, the path between them, and the barriers as observables."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.errors import OutputError
from lammps_implicit.files import group_name, hdf5_opened, hdf5_written_whole
from lammps_implicit.mpi.id_order import IdOrder
from lammps_implicit.mpi.on_root import opened_on_root
from lammps_implicit.observables.barrier_derivatives import BACKWARD, FORWARD, BarrierDerivatives, path_deviations
from lammps_implicit.observables.files import GROUP, read_observable, write_observables
from lammps_implicit.observables.observable import Observable
from lammps_implicit.observables.trust import trust_radius
from lammps_implicit.potentials.interface import Parameters
from lammps_implicit.results.format import BARRIER, BARRIER_KIND, __version__
from lammps_implicit.results.snapshot import snapshot
from lammps_implicit.results.structure import (
    read_structure,
    stream_dataset,
    stream_rows,
    stream_structure,
    write_dataset,
)
from lammps_implicit.results.text import write_xyz_images
from lammps_implicit.saddles.path import Path as EnergyPath
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.structures import Structure

STATES = ("initial", "saddle", "final")
"""Groups of the two minima and the saddle."""

_WHAT = "a result of 'lammps-implicit barrier'"


@dataclass(frozen=True)
class StoredState:
    """A minimum or a saddle, as read from a file.

    Attributes
    ----------
    structure : Structure
        In id order.
    energy, enthalpy : float
        The same where the cell is fixed.
    energy_gradient : (P,) float array
        ∂U/∂Θ.
    """

    structure: Structure
    energy: float
    enthalpy: float
    energy_gradient: FloatArray


@dataclass(frozen=True)
class StoredPath:
    """A minimum-energy path, as read from a file; see `saddles.path.Path`.

    Attributes
    ----------
    positions : (m, N, 3) float array
        In id order, in the cell of the initial minimum, not wrapped into it.
    energies, distances : (m,) float arrays
    stations : (k,) int array
        Numbers of the images that are minima and saddles, in turn.
    energy_gradients : (m, P) float array or None
        ∂U/∂Θ of each image, if it was measured.
    """

    positions: FloatArray
    energies: FloatArray
    distances: FloatArray
    stations: IntArray
    energy_gradients: FloatArray | None

    def deviations(self, covariance: FloatArray) -> FloatArray | None:
        """Standard deviations of energies above the first image, (m,), for a covariance of the parameters, (P, P)."""
        return None if self.energy_gradients is None else path_deviations(self.energy_gradients, covariance)


@dataclass(frozen=True)
class StoredBarrier:
    """A barrier, as read from a file.

    Attributes
    ----------
    path : Path
        The file.
    parameters : Parameters
    initial, saddle, final : StoredState
    mode : (N, 3) float array
        Negative mode of the saddle, of unit norm, in id order.
    observables : dict of str to Observable
        ``barrier``, ``backward barrier``, and ``migration volume`` where the cell is relaxed.
    gradient_errors : dict of str to (P,) float array
        Estimated errors of the gradients of the barriers.
    saddle_energies, between_energies : (s,), (s - 1,) float arrays
        Energies of all saddles on the way, and of the minima between them, in the cell of the initial minimum.
    energy_path : StoredPath or None
        If it was asked for.
    attributes : dict
        Attributes of the file.
    """

    path: Path
    parameters: Parameters
    initial: StoredState
    saddle: StoredState
    final: StoredState
    mode: FloatArray
    observables: dict[str, Observable]
    gradient_errors: dict[str, FloatArray]
    saddle_energies: FloatArray
    between_energies: FloatArray
    energy_path: StoredPath | None
    attributes: dict[str, Any]

    @property
    def forward(self) -> Observable:
        """Energy of the saddle minus that of the initial minimum."""
        return self.observables[FORWARD]

    @property
    def backward(self) -> Observable:
        """Energy of the saddle minus that of the final minimum."""
        return self.observables[BACKWARD]


def write_barrier(
    path: str | os.PathLike[str],
    found: BarrierDerivatives,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a barrier to an HDF5 file, streamed in id order; call it on all ranks.

    Parameters
    ----------
    path : path-like
    found : BarrierDerivatives
    settings : mapping, optional
        Further attributes of the file, such as tolerances.
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    OutputError
        If the file exists or cannot be written; no partial file is left.

    Notes
    -----
    The groups ``initial``, ``saddle`` and ``final`` hold a structure each, with ``energy``, ``enthalpy`` and
    ``energy_gradient`` (P,), and the saddle its ``mode`` (N, 3). The group ``path`` holds ``positions`` (m, N, 3),
    ``energies``, ``distances``, ``stations``, and where known ``energy_gradients`` (m, P). The barriers are
    ``observables``, as `write_observables` writes them, each with ``gradient_error`` (P,) and, where the second
    derivative is known, the attributes ``trust_radius`` and ``trust_radius_steepest``, see `trust.TrustRadius`.
    """
    barrier = found.barrier
    comm, units = barrier.saddle.engine.comm, barrier.saddle.units
    attributes = {**_attributes(found), **(settings or {})}
    gradients = {name: _gradient(point) for name, point in found.states.items()}
    with opened_on_root(comm, lambda: hdf5_written_whole(path, overwrite)) as file:
        if file is not None:
            file.attrs.update(attributes)
            _write_numbers(file, found)
        for name, point in found.states.items():
            group = None if file is None else file.create_group(name)
            stream_structure(group, snapshot(point), comm, units.length)
            if group is not None:
                write_dataset(group, "energy", point.energy, units.energy)
                write_dataset(group, "enthalpy", point.enthalpy, units.energy)
                write_dataset(group, "energy_gradient", gradients[name], f"{units.energy} / theta")
        order = IdOrder(comm, found.mode_ids)
        stream_dataset(None if file is None else file["saddle"], "mode", "", order, barrier.mode.vector)
        if barrier.path is not None:
            _write_path(file, found, barrier.path)


def write_path_xyz(path: str | os.PathLike[str], found: BarrierDerivatives, overwrite: bool = False) -> None:
    """Write the images of a path as an extended XYZ file, each with its energy above the initial minimum.

    Parameters
    ----------
    path : path-like
    found : BarrierDerivatives
        With a path.
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    OutputError
        If the file exists or cannot be written.
    """
    way = found.barrier.path
    assert way is not None
    relative = way.energies - way.energies[0]
    images = (
        (positions, {"energy": energy, "relative_energy": above, "distance": distance})
        for positions, energy, above, distance in zip(way.positions, way.energies, relative, way.distances, strict=True)
    )
    write_xyz_images(path, found.barrier.initial, way.ids, images, overwrite)


def read_barrier(path: str | os.PathLike[str]) -> StoredBarrier:
    """Read a file written by `write_barrier`.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    StoredBarrier

    Raises
    ------
    OutputError
        If the file does not exist, is damaged, or is something else.
    """
    with hdf5_opened(path, [BARRIER], _WHAT) as file:
        if missing := [name for name in (*STATES, GROUP) if name not in file]:
            raise OutputError(f"cannot read {path}: {missing[0]} is missing")
        groups = list(file[GROUP].values())
        return StoredBarrier(
            Path(path),
            Parameters(tuple(file["parameter_names"].asstr()[()]), file["theta"][()], file["potential"].asstr()[()]),
            _read_state(file["initial"]),
            _read_state(file["saddle"]),
            _read_state(file["final"]),
            file["saddle"]["mode"][()],
            {str(group.attrs["name"]): read_observable(group) for group in groups},
            {str(one.attrs["name"]): one["gradient_error"][()] for one in groups if "gradient_error" in one},
            file["saddle_energies"][()],
            file["between_energies"][()],
            _read_path(file["path"]) if "path" in file else None,
            dict(file.attrs),
        )


def _read_state(group: Any) -> StoredState:
    energy, enthalpy = (float(group[name][()]) for name in ("energy", "enthalpy"))
    return StoredState(read_structure(group), energy, enthalpy, group["energy_gradient"][()])


def _read_path(group: Any) -> StoredPath:
    positions, energies, distances, stations = (
        group[name][()] for name in ("positions", "energies", "distances", "stations")
    )
    gradients = group["energy_gradients"][()] if "energy_gradients" in group else None
    return StoredPath(positions, energies, distances, stations, gradients)


def _gradient(point: StationaryPoint) -> FloatArray:
    return point.energy_gradient() if len(point.potential.theta) else np.zeros(0)


def _write_numbers(file: Any, found: BarrierDerivatives) -> None:
    """Write everything whose size does not depend on the number of atoms."""
    import h5py

    barrier, potential, energy = found.barrier, found.barrier.saddle.potential, found.barrier.saddle.units.energy
    file["theta"] = potential.theta
    file["parameter_names"] = np.array(potential.names, dtype=h5py.string_dtype())
    file["potential"] = potential.text
    write_dataset(file, "saddle_energies", np.array(barrier.saddle_energies, float), energy)
    write_dataset(file, "between_energies", np.array(barrier.between_energies, float), energy)
    write_observables(file, found.observables)
    for name, observable in found.observables.items():
        group = file[GROUP][group_name(name)]
        if name in found.gradient_errors:
            group["gradient_error"] = found.gradient_errors[name]
        if (radius := trust_radius(observable, potential.theta)) is not None:
            group.attrs["trust_radius"], group.attrs["trust_radius_steepest"] = radius.scattered, radius.steepest


def _write_path(file: Any, found: BarrierDerivatives, path: EnergyPath) -> None:
    comm, units = found.barrier.saddle.engine.comm, found.barrier.saddle.units
    order, dataset = IdOrder(comm, path.ids), None
    if file is not None:
        group = file.create_group("path")
        write_dataset(group, "energies", path.energies, units.energy)
        write_dataset(group, "distances", path.distances, units.length)
        write_dataset(group, "stations", path.stations, "")
        group.attrs["largest_force_across"] = path.across
        if path.energy_gradients is not None:
            write_dataset(group, "energy_gradients", path.energy_gradients, f"{units.energy} / theta")
        dataset = group.create_dataset("positions", (len(path.positions), order.total, 3), float)
        dataset.attrs["units"] = units.length
    for index, positions in enumerate(path.positions):
        stream_rows(dataset, (index,), order, positions)


def _attributes(found: BarrierDerivatives) -> dict[str, Any]:
    barrier, points = found.barrier, found.states.values()
    saddle, quality = barrier.saddle, found.quality
    ends = barrier.initial, barrier.final
    return {
        "kind": BARRIER_KIND,
        "package_version": __version__,
        **saddle.engine.versions,
        "decks": [f"{name}: {end.deck_name} {end.deck_sha256}" for name, end in zip(STATES[::2], ends, strict=True)],
        "recipes": json.dumps([end.recipe for end in ends]),
        "units": saddle.units.style,
        "dimension": saddle.units.dimension,
        "length_unit": saddle.units.length,
        "energy_unit": saddle.units.energy,
        "cell_freedom": saddle.cell,
        "pressure": float(np.trace(saddle.target) / 3 * saddle.units.pressure_factor),
        "pressure_unit": saddle.units.pressure,
        "curvature": barrier.mode.curvature,
        "max_force": saddle.max_force,
        "spent": json.dumps(barrier.spent),
        "force_evaluations": sum(point.engine.evaluations.forces for point in points),
        "descriptor_evaluations": sum(point.engine.evaluations.descriptors for point in points),
        "accuracy": quality.accuracy,
        "verdict": quality.verdict,
    }
