"""`Sensitivity`: a stationary point and its derivatives as a result, written to HDF5 and read from it."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import StrainFreedom
from lammps_implicit.cell.voigt import tensor
from lammps_implicit.conformance.costs import is_dear
from lammps_implicit.errors import LammpsImplicitError, OutputError
from lammps_implicit.files import hdf5_opened, hdf5_written_whole
from lammps_implicit.mpi.id_order import IdOrder
from lammps_implicit.mpi.on_root import opened_on_root
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.response.cubic import ThirdDerivative
from lammps_implicit.response.jacobian import Jacobian
from lammps_implicit.results.costs import costs_of, hessian_evaluations, spending
from lammps_implicit.results.data_file import DataFile, StoredDataFile, store_data_file, take_data_file
from lammps_implicit.results.factors import WHAT, ArrayFactors, Factors, FileFactors, JacobianFactors
from lammps_implicit.results.format import SENSITIVITY, SENSITIVITY_KIND, __version__
from lammps_implicit.results.snapshot import snapshot
from lammps_implicit.results.structure import read_structure, stream_patterns, stream_structure, write_dataset
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.structures import Structure
from lammps_implicit.units import Units, units_of

FULL_BYTES = 2**30
"""Bytes up to which a Jacobian is written in full rather than factored. Chosen: files that are easy to copy and
plot."""

FORMS = ("auto", "full", "factored")
"""Forms in which a Jacobian is written: see `Sensitivity.write`."""

_DATA_FILE = "data_file"
"""Dataset of `Sensitivity.data`."""


@dataclass(frozen=True)
class Sensitivity:
    """A stationary point and its derivatives, from `Minimum.sensitivity` or `read_sensitivity`.

    Attributes
    ----------
    structure : Structure
        Relaxed structure, in id order: the atoms of this rank, or all atoms if it was read from a file.
    factors : Factors
        dX*/dΘ, factored.
    theta : (P,) float array
        Parameters.
    names : tuple of str
        Their labels.
    energy : float
        eV in ``units metal``.
    energy_gradient : (P,) float array
        dE/dΘ, energy per unit of each parameter; of the enthalpy if the cell is relaxed too.
    energy_hessian : (P, P) float array or None
        d²E/dΘ², likewise; None if it was left out.
    potential_text : str
        The coefficient file of the potential.
    attributes : dict
        Versions, deck, units, tolerance, method and cost.
    pressure : (3, 3) float array
        Pressure tensor at which the cell is held, energy per volume; zero if it is fixed.
    strain_jacobian : (P, k) float array or None
        dε/dΘ; None if the cell is fixed.
    strain_basis : (6, k) float array or None
        Components (xx, yy, zz, yz, xz, xy) of each of its strains.
    volume_gradient : (P,) float array or None
        dV/dΘ, Å³ per unit of each parameter.
    third : dict of str to array
        Results of `Minimum.third_derivative`, with the names of datasets: ``third`` (k, k, P), ``third_inner``
        (k, k, k), ``duals`` and ``response`` (P, k), ``softening`` (m, P) and ``softening_errors`` (m,), ``metric`` and
        ``volume_hessian`` (P, P), ``volume_error``.
        Empty if there are none.
    comm : MPI.Comm
        Communicator of the ranks that hold the atoms.
    path : Path or None
        File from which it was read.
    data : DataFile or None
        The structure with all that its ``atom_style`` has, such as charges and bonds, on rank 0; None if it has no more
        than `structure`.
    """

    structure: Structure
    factors: Factors
    theta: FloatArray
    names: tuple[str, ...]
    energy: float
    energy_gradient: FloatArray
    energy_hessian: FloatArray | None
    potential_text: str
    attributes: dict[str, Any]
    pressure: FloatArray
    strain_jacobian: FloatArray | None = None
    strain_basis: FloatArray | None = None
    volume_gradient: FloatArray | None = None
    third: dict[str, FloatArray] = field(default_factory=dict)
    comm: MPI.Comm = field(default_factory=lambda: MPI.COMM_SELF)
    path: Path | None = None
    data: DataFile | None = None

    @property
    def mean_pressure(self) -> float:
        """One third of the trace of `pressure`, energy per volume."""
        return float(np.trace(self.pressure)) / 3

    @property
    def volume(self) -> float:
        """Volume of the cell, Å³; of a two-dimensional deck its area, Å²."""
        return self.volume_of(self.structure.cell)

    @property
    def units(self) -> Units:
        """Units of the deck."""
        return _units(self.attributes)

    def volume_of(self, cell: FloatArray) -> float:
        """Volume, or area, of a cell with these vectors as rows, (3, 3)."""
        inside = slice(self.units.dimension)
        return float(np.linalg.det(cell[inside, inside]))

    @property
    def enthalpy(self) -> float:
        """U + pV, eV in ``units metal``; the energy U if the cell is fixed."""
        return self.energy + self.mean_pressure * self.volume

    def strain(self, dtheta: FloatArray) -> FloatArray:
        """ε = dε/dΘ δΘ, (3, 3), upper triangular; zero if the cell is fixed."""
        if self.strain_jacobian is None or self.strain_basis is None:
            return np.zeros((3, 3))
        return tensor(self.strain_basis @ (dtheta @ self.strain_jacobian))

    def displacement(self, dtheta: FloatArray) -> FloatArray:
        """δX = dX*/dΘ δΘ of the atoms of `structure`, (n, 3), Å."""
        return self.factors.displacement(dtheta @ self.factors.right)

    def moved(self, dtheta: FloatArray, displacement: FloatArray) -> Structure:
        """The structure with its atoms displaced by `displacement`, (n, 3), Å, in the cell predicted for δΘ, (P,)."""
        cell = self.structure.cell @ (np.eye(3) + self.strain(dtheta)).T
        return replace(self.structure, positions=self.structure.positions + displacement, cell=cell)

    def gathered(self) -> Sensitivity | None:
        """The result with all atoms on rank 0, None on the others: for tables and plots of small cells."""
        if self.comm.size == 1:
            return self
        order, structure = IdOrder(self.comm, self.structure.ids), self.structure
        ids, types, positions = (order.gather(a) for a in (structure.ids, structure.types, structure.positions))
        patterns = order.gather(np.moveaxis(self.factors.left(slice(None)), 0, 1))
        if ids is None or types is None or positions is None or patterns is None:
            return None
        whole = replace(structure, ids=ids, types=types, positions=positions)
        factors = ArrayFactors(np.moveaxis(patterns, 0, 1), self.factors.right)
        return replace(self, structure=whole, factors=factors, comm=MPI.COMM_SELF)

    def write(self, path: str | os.PathLike[str], overwrite: bool = False, form: str = "auto") -> None:
        """Write an HDF5 file, streamed in id order; call it on all ranks of `comm`.

        Parameters
        ----------
        path : path-like
        overwrite : bool
            Whether to replace an existing file.
        form : {"auto", "full", "factored"}
            ``full``: dataset ``jacobian`` (P, N, 3). ``factored``: its factors ``jacobian_left`` (r, N, 3) and
            ``jacobian_right`` (P, r). ``auto``: ``full`` up to `FULL_BYTES`, else ``factored``. The attribute
            ``jacobian_form`` tells which it is.

        Raises
        ------
        OutputError
            If the file exists or cannot be written; no partial file is left.

        Notes
        -----
        If the cell is relaxed too, the file also has the datasets ``strain_jacobian`` (P, k), ``strain_basis`` (6, k),
        ``volume_gradient`` (P,), ``pressure`` (3, 3) and ``enthalpy``, and derivatives of the energy are those of the
        enthalpy. There is no dataset ``energy_hessian`` if that was left out. Third derivatives are those of `third`.
        """
        if form not in FORMS:
            raise OutputError(f"form '{form}' is not one of {', '.join(FORMS)}")
        parameters, right = len(self.theta), self.factors.right
        length = str(self.attributes["length_unit"])
        with opened_on_root(self.comm, lambda: hdf5_written_whole(path, overwrite)) as file:
            order = self._write_head(file, length)
            if form == "auto":
                form = "full" if 24 * parameters * order.total <= FULL_BYTES else "factored"
            if file is not None:
                file.attrs["jacobian_form"] = form
            if form == "full":
                rows = (self.factors.displacement(weights) for weights in right)
                stream_patterns(file, "jacobian", f"{length} / theta", order, rows, parameters)
            else:
                rows = (self.factors.displacement(unit) for unit in np.eye(right.shape[1]))
                stream_patterns(file, "jacobian_left", length, order, rows, right.shape[1])
                if file is not None:
                    write_dataset(file, "jacobian_right", right, "1 / theta")

    def _write_head(self, file: Any, length: str) -> IdOrder:
        """Write everything but the Jacobian; `file` is None on all ranks but 0."""
        if file is not None:
            import h5py

            file.attrs.update(self.attributes)
            file["parameter_names"] = np.array(self.names, dtype=h5py.string_dtype())
            file["potential"] = self.potential_text
            for name, (values, units) in self._datasets(length).items():
                if values is not None:
                    write_dataset(file, name, values, units)
            if self.data is not None:
                store_data_file(file, _DATA_FILE, self.data)
        return stream_structure(file, self.structure, self.comm, length)

    def _datasets(self, length: str) -> dict[str, tuple[Any, str]]:
        """Arrays whose size does not depend on the number of atoms, with their units; None for what is not known."""
        energy = str(self.attributes["energy_unit"])
        found: dict[str, tuple[Any, str]] = {
            "theta": (self.theta, "the coefficient file's"),
            "energy": (self.energy, energy),
            "energy_gradient": (self.energy_gradient, f"{energy} / theta"),
            "energy_hessian": (self.energy_hessian, f"{energy} / theta^2"),
        }
        if self.strain_jacobian is not None:
            units = self.units
            found |= {
                "strain_jacobian": (self.strain_jacobian, "1 / theta"),
                "strain_basis": (self.strain_basis, "xx, yy, zz, yz, xz, xy"),
                "volume": (self.volume, units.volume),
                "volume_gradient": (self.volume_gradient, f"{units.volume} / theta"),
                "pressure": (self.pressure * units.pressure_factor, units.pressure),
                "enthalpy": (self.enthalpy, energy),
            }
        return found | {name: (values, _THIRD[name]) for name, values in self.third.items()}


_THIRD = {
    "duals": "",
    "response": "",
    "metric": "",
    "third": "",
    "third_inner": "",
    "softening": "1 / theta",
    "softening_errors": "1",
    "volume_hessian": "",
    "volume_error": "",
}
"""Datasets of third derivatives, and their units."""


def take_sensitivity(
    point: StationaryPoint,
    tol: float,
    freedom: StrainFreedom,
    method: str = "auto",
    progress: Progress = no_progress,
    energy_hessian: bool | None = None,
) -> Sensitivity:
    """Differentiate a stationary point: see `Minimum.sensitivity`.

    Parameters
    ----------
    point : StationaryPoint
    tol, method, progress
        As for `StationaryPoint.jacobian`.
    freedom : StrainFreedom
        Strains of the cell, and the pressure at which it is held.
    energy_hessian : bool, optional
        Whether to measure the second derivative of the energy. Default: unless that costs more than 2,000 evaluations
        and ten times those of the Jacobian; a warning says so.

    Raises
    ------
    LammpsImplicitError
        If the stress is not hydrostatic, so that no enthalpy exists; nothing has been evaluated then. If third
        derivatives, which go with it, have been taken, and `energy_hessian` is false.
    """
    if not (freedom.fixed or freedom.hydrostatic):
        raise LammpsImplicitError(
            "a result at a stress that is not hydrostatic cannot be stored, as no enthalpy exists: give one pressure"
        )
    jacobian = point.jacobian(tol, method, progress, cell=freedom)
    third = point.third
    if third is not None and not (third.cell == freedom.label and np.array_equal(freedom.target, point.target)):
        third = None  # it belongs to another freedom of the cell
    if third is not None and energy_hessian is False:
        raise LammpsImplicitError(
            "third derivatives go with the second derivative of the energy: do not leave that out"
        )
    if energy_hessian is None:
        energy_hessian = third is not None or _is_affordable(point, jacobian)
    with spending(point.engine) as spent:
        hessian = point.energy_hessian(tol, cell=freedom) if energy_hessian else None
    return Sensitivity(
        structure=snapshot(point),
        factors=JacobianFactors(jacobian, np.argsort(point.ids)),
        theta=point.potential.theta,
        names=point.potential.names,
        energy=point.energy,
        energy_gradient=jacobian.energy_gradient,
        energy_hessian=hessian,
        potential_text=point.potential.text,
        attributes=_attributes(point, jacobian, tol, third) | costs_of(point, jacobian.statistics, spent),
        pressure=np.zeros((3, 3)) if freedom.fixed else freedom.target,
        strain_jacobian=jacobian.strain_jacobian,
        strain_basis=None if freedom.fixed else freedom.basis,
        volume_gradient=jacobian.volume_gradient,
        third={} if third is None else _third(third),
        comm=point.engine.comm,
        data=take_data_file(point),
    )


def _is_affordable(point: StationaryPoint, jacobian: Jacobian) -> bool:
    """Whether the second derivative of the energy is taken by default; if not, a warning says so."""
    expected, known = hessian_evaluations(point), jacobian.statistics.evaluations.total
    if not is_dear(expected, known):
        return True
    if point.engine.comm.rank == 0:
        warnings.warn(
            f"the second derivative of the energy is left out: it would take {expected:,} force evaluations, and the "
            f"Jacobian took {known:,}; '--energy-hessian' (in Python energy_hessian=True) takes it all the same, and "
            "'--parameters' fewer",
            stacklevel=4,
        )
    return False


def read_sensitivity(path: str | os.PathLike[str]) -> Sensitivity:
    """Read a file written by `Sensitivity.write`.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Sensitivity
        With all atoms. The Jacobian stays in the file and is read when it is needed.

    Raises
    ------
    OutputError
        If the file does not exist, is damaged, is something else, or was written by a later version of this package.
    """
    with hdf5_opened(path, [SENSITIVITY], WHAT) as file:
        if "jacobian" not in file and not ("jacobian_left" in file and "jacobian_right" in file):
            raise OutputError(f"cannot read {path}: the Jacobian is missing")
        theta = file["theta"][()]
        optional = {
            name: file[name][()] for name in ("strain_jacobian", "strain_basis", "volume_gradient") if name in file
        }
        held = np.zeros((3, 3))
        if "pressure" in file:
            held = file["pressure"][()] / _units(file.attrs).pressure_factor
        return Sensitivity(
            path=Path(path),
            structure=read_structure(file),
            factors=FileFactors(Path(path), len(theta)),
            theta=theta,
            names=tuple(file["parameter_names"].asstr()[()]),
            energy=float(file["energy"][()]),
            energy_gradient=file["energy_gradient"][()],
            energy_hessian=file["energy_hessian"][()] if "energy_hessian" in file else None,
            potential_text=file["potential"].asstr()[()],
            attributes=dict(file.attrs),
            pressure=held,
            third={name: file[name][()] for name in _THIRD if name in file},
            data=StoredDataFile(partial(hdf5_opened, path, [SENSITIVITY], WHAT), _DATA_FILE)
            if _DATA_FILE in file
            else None,
            **optional,
        )


def _third(third: ThirdDerivative) -> dict[str, FloatArray]:
    """Datasets of third derivatives: see `Sensitivity.third`."""
    found = {
        "duals": third.enthalpy.duals,
        "response": third.directions.response,
        "metric": third.directions.metric,
        "third": third.enthalpy.tensor,
        "third_inner": third.enthalpy.inner,
        "softening": third.softening,
        "softening_errors": third.softening_errors,
    }
    if third.volume_hessian is None:
        return found
    return found | {"volume_hessian": third.volume_hessian, "volume_error": np.asarray(third.volume_error)}


def _units(attributes: Mapping[str, Any]) -> Units:
    return units_of(str(attributes["units"]), int(attributes.get("dimension", 3)))


def _attributes(
    point: StationaryPoint, jacobian: Jacobian, tol: float, third: ThirdDerivative | None
) -> dict[str, Any]:
    cost = jacobian.statistics
    strains = third.strains if third is not None else None
    return {
        **({} if strains is None else {"strain_error": strains.relative_error}),
        "kind": SENSITIVITY_KIND,
        "package_version": __version__,
        **point.engine.versions,
        "deck": point.deck_name,
        "deck_sha256": point.deck_sha256,
        "recipe": json.dumps(point.recipe),
        "units": point.units.style,
        "dimension": point.units.dimension,
        "length_unit": point.units.length,
        "energy_unit": point.units.energy,
        "tolerance": tol,
        "method": cost.method,
        "rank": jacobian.rank,
        "cell_freedom": jacobian.freedom.label,
        "max_force": point.max_force,
        "iterations": cost.iterations,
        "residual": cost.residual,
        "differencing_error": cost.differencing_error,
        "accuracy": cost.accuracy,
        "verdict": cost.verdict,
    }
