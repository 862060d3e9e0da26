"""Files of thermal functions over temperature."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.files import hdf5_written_whole
from lammps_implicit.observables.thermal_curves import Curve
from lammps_implicit.potentials.interface import Parameters
from lammps_implicit.results.format import __version__

THERMAL_KIND = "thermal functions"
"""Value of the attribute ``kind``."""


def write_curves(
    path: str | os.PathLike[str],
    temperatures: FloatArray,
    temperature_units: str,
    curves: Sequence[Curve],
    parameters: Parameters,
    attributes: Mapping[str, Any],
    overwrite: bool = False,
) -> None:
    """Write curves to an HDF5 file; called on rank 0.

    Datasets are ``temperatures`` (T,), ``theta`` (P,), ``parameter_names`` (P,), and a group for each curve with
    ``value`` (T,), ``error`` (T,), and where known ``gradient`` (T, P), and ``mean`` (T,), ``deviation`` (T,) and
    ``quantiles`` (L, T) over an ensemble.

    Parameters
    ----------
    path : path-like
    temperatures : (T,) float array
    temperature_units : str
    curves : sequence of Curve
    parameters : Parameters
    attributes : mapping
        Of the file.
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    OutputError
        If the file exists or cannot be written.
    """
    import h5py

    with hdf5_written_whole(path, overwrite) as file:
        file.attrs.update({"kind": THERMAL_KIND, "package_version": __version__, **attributes})
        file["temperatures"] = temperatures
        file["temperatures"].attrs["units"] = temperature_units
        file["theta"] = parameters.theta
        file["parameter_names"] = np.array(parameters.names, dtype=h5py.string_dtype())
        for curve in curves:
            group = file.create_group(curve.name)
            group.attrs["units"] = curve.units
            group["value"], group["error"] = curve.values, curve.error
            for name in ("gradient", "mean", "deviation", "quantiles"):
                values = getattr(curve, name)
                if values is not None:
                    group[name] = values
