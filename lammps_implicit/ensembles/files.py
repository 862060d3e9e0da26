"""Files of propagated ensembles: HDF5, and an extended XYZ file with the uncertainty of each atom's position."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from lammps_implicit.arrays import BoolArray, FloatArray
from lammps_implicit.ensembles.displacements import displacement_covariances
from lammps_implicit.ensembles.propagation import ORDERS, QUANTILES, Distribution, PrincipalDirections, Propagation
from lammps_implicit.errors import OutputError
from lammps_implicit.files import (
    Schema,
    flags,
    group_name,
    hdf5_opened,
    hdf5_written_whole,
    labels,
    numbers,
    sha256,
    written_whole,
)
from lammps_implicit.mpi.id_order import PIECE
from lammps_implicit.observables.files import Derivatives
from lammps_implicit.results.format import __version__, structure_fields
from lammps_implicit.results.sensitivity import Sensitivity
from lammps_implicit.results.structure import stream_structure
from lammps_implicit.structures import write_rows, write_xyz_header

KIND = "lammps-implicit propagation"

SCHEMA = Schema(
    KIND,
    {
        **structure_fields(needed=False),
        "theta": numbers("P"),
        "parameter_names": labels("P"),
        "flagged": flags("S"),
        "displacement_covariance": numbers("N", 3, 3, needed=False),
    },
    {
        "principal": {"vectors": numbers("P", "R"), "shares": numbers("R"), "scores": numbers("S", "r")},
        "observables/*": {
            "value": numbers(),
            "estimates": numbers("o", "S"),
            "error": numbers("S", finite=False),  # not known without third derivatives
            "flagged": flags("S"),
            "parameter_shares": numbers("P"),
            "direction_shares": numbers("R"),
        },
    },
    attributes={
        **dict.fromkeys(("ensemble", "ensemble_sha256", "from", "from_sha256"), "text"),
        **dict.fromkeys(("samples", "limit", "flagged", "force_evaluations"), "number"),
    },
)
"""Files of `write_propagation`: P parameters, S samples, R principal directions, N atoms."""

SCORES = 5
"""Number of principal directions whose scores are written for every sample: plots show four, and files stay small."""


@dataclass(frozen=True)
class Propagated:
    """A propagated ensemble, as read from a file.

    Attributes
    ----------
    path : Path
        The file.
    names : tuple of str
        Labels of the parameters.
    distributions : dict of str to Distribution
        By observable.
    principal : PrincipalDirections
        With the scores of the first few directions only.
    flagged : (S,) bool array
        Samples that are flagged for any observable.
    deviations : (N,) float array or None
        Standard deviation of each atom's position, the root of the trace of its covariance, in LAMMPS' unit of length;
        known, as `positions`, if the result has a structure.
    positions : (N, 3) float array or None
        In LAMMPS' unit of length.
    attributes : dict
        Attributes of the file.
    """

    path: Path
    names: tuple[str, ...]
    distributions: dict[str, Distribution]
    principal: PrincipalDirections
    flagged: BoolArray
    deviations: FloatArray | None
    positions: FloatArray | None
    attributes: dict[str, Any]


def write_propagation(
    path: str | os.PathLike[str],
    propagation: Propagation,
    derivatives: Derivatives,
    sensitivity: Sensitivity | None,
    overwrite: bool = False,
) -> list[Path]:
    """Write distributions to an HDF5 file; for a structure also covariances of displacements, and an XYZ file.

    Parameters
    ----------
    path : path-like
        HDF5 file; the XYZ file has the same name with another suffix.
    propagation : Propagation
    derivatives : Derivatives
        The derivatives that were propagated.
    sensitivity : Sensitivity or None
        The structure, if there is one.
    overwrite : bool
        Whether to replace existing files.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    OutputError
        If a file exists or cannot be written.
    """
    import h5py

    target, ensemble = Path(path), propagation.ensemble
    with hdf5_written_whole(target, overwrite) as file:
        file.attrs.update(_attributes(propagation, derivatives))
        file["theta"] = derivatives.parameters.theta
        file["parameter_names"] = np.array(ensemble.names, dtype=h5py.string_dtype())
        file["flagged"] = propagation.flagged
        file["quantile_levels"] = np.array(QUANTILES)
        principal = file.create_group("principal")
        principal["vectors"], principal["shares"] = propagation.principal.vectors, propagation.principal.shares
        principal["scores"] = propagation.principal.scores[:, :SCORES]
        groups = file.create_group("observables", track_order=True)
        for name, distribution in propagation.distributions.items():
            group = groups.create_group(group_name(name))
            group.attrs["name"] = name
            _write_distribution(group, distribution)
        if sensitivity is not None:
            stream_structure(file, sensitivity.structure, sensitivity.comm, str(sensitivity.attributes["length_unit"]))
            _write_covariances(file, sensitivity, ensemble.covariance)
    if sensitivity is None:
        return [target]
    xyz = target.with_suffix(".xyz")
    with (
        hdf5_opened(target, [SCHEMA], "a result of 'lammps-implicit propagate'") as file,
        written_whole(xyz, overwrite) as temporary,
        open(temporary, "w", encoding="utf-8") as text,
    ):
        _write_xyz(text, file)
    return [target, xyz]


def read_propagation(path: str | os.PathLike[str]) -> Propagated:
    """Read a file written by `write_propagation`.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Propagated

    Raises
    ------
    OutputError
        If the file does not exist, is damaged, or is not a result of ``propagate``.
    """
    with hdf5_opened(path, [SCHEMA], "a result of 'lammps-implicit propagate'") as file:
        if not (len(file["flagged"]) and len(file["observables"])):
            raise OutputError(f"cannot read {path}: it holds no sample, or no observable")
        principal = PrincipalDirections(*(file["principal"][name][()] for name in ("vectors", "shares", "scores")))
        deviations = np.concatenate(list(_deviations(file))) if "displacement_covariance" in file else None
        return Propagated(
            Path(path),
            tuple(file["parameter_names"].asstr()[()]),
            {
                str(group.attrs.get("name", key)): _read_distribution(group)
                for key, group in file["observables"].items()
            },
            principal,
            file["flagged"][()],
            deviations,
            file["positions"][()] if "positions" in file else None,
            dict(file.attrs),
        )


def _write_distribution(group: Any, distribution: Distribution) -> None:
    group.attrs["units"] = distribution.units
    group.attrs["orders"] = list(distribution.orders)
    group["value"] = distribution.value
    for name in ("estimates", "error", "flagged", "mean", "deviation", "quantiles"):
        group[name] = getattr(distribution, name)
    group["parameter_shares"], group["direction_shares"] = distribution.parameter_shares, distribution.direction_shares


def _read_distribution(group: Any) -> Distribution:
    names = ("estimates", "error", "flagged", "parameter_shares", "direction_shares")
    if not 0 < len(group["estimates"]) <= len(ORDERS):
        raise OutputError(f"{group.file.filename}: an observable has estimates to {len(group['estimates'])} orders")
    return Distribution(float(group["value"][()]), str(group.attrs["units"]), *(group[name][()] for name in names))


def _write_covariances(file: Any, sensitivity: Sensitivity, covariance: FloatArray) -> None:
    dataset = file.create_dataset("displacement_covariance", (len(file["ids"]), 3, 3), float)
    dataset.attrs["units"] = f"{sensitivity.attributes['length_unit']}^2"
    first = 0
    for piece in displacement_covariances(sensitivity, covariance):
        dataset[first : first + len(piece)] = piece
        first += len(piece)


def _deviations(file: Any) -> Iterator[FloatArray]:
    """Standard deviations of the atoms' positions, for a part of the atoms at a time."""
    covariances = file["displacement_covariance"]
    for first in range(0, len(covariances), PIECE):
        traces = np.trace(covariances[first : first + PIECE], axis1=1, axis2=2)
        yield np.sqrt(np.clip(traces, 0.0, None))


def _write_xyz(text: IO[str], file: Any) -> None:
    """Write the atoms of a result with their standard deviations as extended XYZ, a part of the atoms at a time."""
    columns = "species:S:1:pos:R:3:id:I:1:type:I:1:deviation:R:1"
    write_xyz_header(text, len(file["ids"]), file["cell"][()], file["periodic"][()], columns)
    elements, origin, first = file["elements"].asstr()[()], file["origin"][()], 0
    for deviations in _deviations(file):
        part = slice(first, first + len(deviations))
        ids, types, positions = (file[name][part] for name in ("ids", "types", "positions"))
        row = "%s %.10f %.10f %.10f %d %d %.10f\n"
        write_rows(text, row, elements[types - 1], *(positions - origin).T, ids, types, deviations)
        first = part.stop


def _attributes(propagation: Propagation, derivatives: Derivatives) -> dict[str, Any]:
    return {
        "kind": KIND,
        "package_version": __version__,
        "from": derivatives.path.name,
        "from_sha256": sha256(derivatives.path),
        "potential_sha256": derivatives.parameters.digest,
        "ensemble": propagation.ensemble.source,
        "ensemble_sha256": propagation.ensemble.digest,
        "samples": len(propagation.ensemble.samples),
        "limit": propagation.limit,
        "flagged": int(propagation.flagged.sum()),
        "force_evaluations": derivatives.attributes["force_evaluations"],
        "descriptor_evaluations": derivatives.attributes["descriptor_evaluations"],
        "verdict": derivatives.verdict,
    }
