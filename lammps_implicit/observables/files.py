"""Observables and their derivatives in HDF5 files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import OutputError
from lammps_implicit.files import group_name, hdf5_opened
from lammps_implicit.observables.observable import Observable, stabilities
from lammps_implicit.potentials.interface import Parameters
from lammps_implicit.response.cubic import Cubic, LeadingDirections, ResponseMetric
from lammps_implicit.results.format import BARRIER, OBSERVABLES, SENSITIVITY, SENSITIVITY_KIND
from lammps_implicit.units import units_of

GROUP = "observables"
"""Group of the observables."""


@dataclass(frozen=True)
class Derivatives:
    """Observables and their derivatives, as read from a result of ``sensitivity``, ``observables`` or ``barrier``.

    Attributes
    ----------
    path : Path
        The file.
    parameters : Parameters
        Parameters at which the derivatives were taken.
    observables : dict of str to Observable
    response_metric : ResponseMetric or None
        Size of the structural response to a change of the parameters; known if third derivatives were taken.
    cell_vectors : dict of str to (3, 3) float array
        Cell vectors of each relaxed cell as rows, in LAMMPS' unit of length; empty in files of older versions.
    attributes : dict
        Attributes of the file.
    """

    path: Path
    parameters: Parameters
    observables: dict[str, Observable]
    response_metric: ResponseMetric | None
    cell_vectors: dict[str, FloatArray]
    attributes: dict[str, Any]

    @property
    def kind(self) -> str:
        """Kind of the file: `results.format.SENSITIVITY_KIND`, ``OBSERVABLES_KIND`` or ``BARRIER_KIND``."""
        return str(self.attributes["kind"])

    @property
    def verdict(self) -> str:
        """What checks found of the derivatives; ``not checked`` in files of older versions."""
        return str(self.attributes.get("verdict", "not checked"))


def write_observables(
    file: Any, observables: Mapping[str, Observable], directions: LeadingDirections | None = None
) -> None:
    """Write observables to an open HDF5 file.

    Each observable is a group with ``value`` and ``gradient`` (P, ...), and where known ``hessian`` (P, P) and the
    third derivative, ``third`` (k, k, P) and ``third_inner`` (k, k, k), along directions with the duals ``duals`` (P,
    k); see `Cubic`. What else is known of an `Observable` is in attributes. At the top are ``response`` (P, k) and
    ``metric`` (P, P) of the directions.

    Parameters
    ----------
    file : h5py.File
    observables : mapping of str to Observable
    directions : LeadingDirections, optional
        Directions along which third derivatives were taken.
    """
    if directions is not None:
        file["response"], file["metric"] = directions.response, directions.metric
    groups = file.create_group(GROUP, track_order=True)
    for name, observable in observables.items():
        group = groups.create_group(group_name(name))
        group.attrs["name"], group.attrs["units"] = name, observable.units
        group["value"], group["gradient"] = observable.value, observable.gradient
        if observable.caution:
            group.attrs["caution"] = observable.caution
        for limit in ("bound", "floor", "second_order_error"):
            if getattr(observable, limit) is not None:
                group.attrs[limit] = getattr(observable, limit)
        if observable.hessian is not None:
            group["hessian"] = observable.hessian
        if observable.cubic is not None:
            group["third"], group["third_inner"] = observable.cubic.tensor, observable.cubic.inner
            group["duals"] = observable.cubic.duals


def read_derivatives(path: str | os.PathLike[str]) -> Derivatives:
    """Read a result of ``lammps-implicit sensitivity``, ``observables`` or ``barrier``.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Derivatives

    Raises
    ------
    OutputError
        If the file does not exist, is damaged, or is not such a result.
    """
    schemas = [OBSERVABLES, SENSITIVITY, BARRIER]
    with hdf5_opened(path, schemas, "a result of 'lammps-implicit sensitivity', 'observables' or 'barrier'") as file:
        if "potential" not in file or (GROUP not in file and file.attrs["kind"] != SENSITIVITY_KIND):
            raise OutputError(f"{path} was written by an older version: run the command that wrote it again")
        names = tuple(file["parameter_names"].asstr()[()])
        parameters = Parameters(names, file["theta"][()], file["potential"].asstr()[()])
        if file.attrs["kind"] == SENSITIVITY_KIND:
            observables = _of_sensitivity(file)
        else:
            observables = {str(group.attrs["name"]): read_observable(group) for group in file[GROUP].values()}
        if not observables:
            raise OutputError(f"cannot read {path}: it holds no observable")
        metric = ResponseMetric(file["metric"][()], file["response"][()]) if "response" in file else None
        costs = {name: int(file.attrs[name]) for name in ("force_evaluations", "descriptor_evaluations")}
        attributes = {**file.attrs, **costs}
        return Derivatives(Path(path), parameters, observables, metric, _cell_vectors(file), attributes)


def _cell_vectors(file: Any) -> dict[str, FloatArray]:
    if file.attrs["kind"] == SENSITIVITY_KIND:
        return {str(file.attrs["deck"]): file["cell"][()]}
    vectors = json.loads(str(file.attrs.get("cell_vectors", "{}")))
    return {name: np.array(rows, float).reshape(3, 3) for name, rows in vectors.items()}


def _of_sensitivity(file: Any) -> dict[str, Observable]:
    """Energy of the minimum, or enthalpy and volume if its cell was relaxed; stability if known."""

    def optional(name: str) -> FloatArray | None:
        return file[name][()] if name in file else None

    name = "enthalpy" if "enthalpy" in file else "energy"
    units = str(file.attrs["energy_unit"])
    cubic = Cubic(file["duals"][()], file["third"][()], file["third_inner"][()]) if "third" in file else None
    gradient, hessian = file["energy_gradient"][()], optional("energy_hessian")
    found = {name: Observable(np.asarray(file[name][()]), gradient, units, hessian, cubic)}
    if "volume_gradient" in file:
        gradient, volume_hessian = file["volume_gradient"][()], optional("volume_hessian")
        found["volume"] = Observable(
            np.asarray(file["volume"][()]),
            gradient,
            units_of(str(file.attrs["units"]), int(file.attrs.get("dimension", 3))).volume,
            volume_hessian,
            second_order_error=optional("volume_error"),
        )
    softening = optional("softening")
    return found if softening is None else found | stabilities(np.atleast_2d(softening))


def read_observable(group: Any) -> Observable:
    """Read one observable from its group."""
    cubic = None
    if "third" in group:
        cubic = Cubic(group["duals"][()], group["third"][()], group["third_inner"][()])
    hessian = group["hessian"][()] if "hessian" in group else None
    value = np.asarray(group["value"][()])
    bound, floor = (float(group.attrs[name]) if name in group.attrs else None for name in ("bound", "floor"))
    error = np.asarray(group.attrs["second_order_error"]) if "second_order_error" in group.attrs else None
    units, caution = str(group.attrs["units"]), str(group.attrs.get("caution", ""))
    return Observable(value, group["gradient"][()], units, hessian, cubic, bound, floor, caution, error)
