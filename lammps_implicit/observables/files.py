"""Observables in HDF5 files: a group each, with its value and derivatives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lammps_implicit.ensembles.ensemble import Parameters
from lammps_implicit.errors import OutputError
from lammps_implicit.files import hdf5_opened
from lammps_implicit.observables.observable import Observable
from lammps_implicit.third_derivative import Cubic

OBSERVABLES_KIND = "lammps-implicit observables"
SENSITIVITY_KIND = "lammps-implicit sensitivity"

_GROUP = "observables"


@dataclass(frozen=True)
class Derivatives:
    """What a result of ``sensitivity`` or ``observables`` says of numbers that depend on the parameters.

    Attributes
    ----------
    path : Path
    parameters : Parameters
    observables : dict of str to Observable
    attributes : dict
        Of the file.
    """

    path: Path
    parameters: Parameters
    observables: dict[str, Observable]
    attributes: dict[str, Any]

    @property
    def kind(self) -> str:
        """Which command wrote it."""
        return str(self.attributes["kind"])


def write_observables(file: Any, observables: Mapping[str, Observable]) -> None:
    """Write observables into an open HDF5 file.

    A group each with ``value``, ``gradient`` (P, ...), and where known ``hessian`` (P, P) and the third derivative:
    ``third`` (k, k, P) and ``third_inner`` (k, k, k) along directions with the coordinates ``duals`` (P, k).
    """
    groups = file.create_group(_GROUP, track_order=True)
    for name, observable in observables.items():
        group = groups.create_group(name.replace("/", "|"))
        group.attrs["units"] = observable.units
        group["value"], group["gradient"] = observable.value, observable.gradient
        if observable.floor is not None:
            group.attrs["floor"] = observable.floor
        if observable.hessian is not None:
            group["hessian"] = observable.hessian
        if observable.cubic is not None:
            group["third"], group["third_inner"] = observable.cubic.tensor, observable.cubic.inner
            group["duals"] = observable.cubic.duals


def read_derivatives(path: str | os.PathLike[str]) -> Derivatives:
    """Read what `write_observables` wrote.

    Raises
    ------
    OutputError
        If the file does not exist, is damaged, or is something else.
    """
    kinds = [OBSERVABLES_KIND, SENSITIVITY_KIND]
    with hdf5_opened(path, kinds, "a result of 'lammps-implicit sensitivity' or 'observables'") as file:
        if _GROUP not in file or "potential" not in file:
            raise OutputError(f"{path} was written by an older version: run the command that wrote it again")
        names = tuple(file["parameter_names"].asstr()[()])
        parameters = Parameters(names, file["theta"][()], file["potential"].asstr()[()])
        observables = {name: _read_observable(group) for name, group in file[_GROUP].items()}
        return Derivatives(Path(path), parameters, observables, dict(file.attrs))


def _read_observable(group: Any) -> Observable:
    cubic = None
    if "third" in group:
        cubic = Cubic(group["duals"][()], group["third"][()], group["third_inner"][()])
    hessian = group["hessian"][()] if "hessian" in group else None
    value, floor = np.asarray(group["value"][()]), group.attrs.get("floor")
    return Observable(value, group["gradient"][()], str(group.attrs["units"]), hessian, cubic, floor)
