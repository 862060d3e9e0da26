"""Result files: HDF5 in atom-id order, LAMMPS units named in attributes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.voigt import tensor
from lammps_implicit.errors import OutputError
from lammps_implicit.files import hdf5_opened, hdf5_written_whole
from lammps_implicit.minimum import Minimum
from lammps_implicit.mpi.id_order import PIECE, IdOrder
from lammps_implicit.mpi.on_root import opened_on_root
from lammps_implicit.response.cubic import ThirdDerivative
from lammps_implicit.response.jacobian import Jacobian
from lammps_implicit.response.statistics import Statistics
from lammps_implicit.results.format import SENSITIVITY_KIND
from lammps_implicit.results.structure import _dataset, _fill, read_structure, stream_structure
from lammps_implicit.structures import Structure
from lammps_implicit.units import units_of

FULL_BYTES = 2**30
"""Size up to which a Jacobian is written in full rather than factored."""


@dataclass(frozen=True)
class Sensitivity:
    """A minimum and its first derivatives, as read from a file.

    Attributes
    ----------
    path : Path
    structure : Structure
        Relaxed, in id order.
    theta : (P,) float array
    names : tuple of str
    energy : float
    energy_gradient : (P,) float array
    energy_hessian : (P, P) float array
        Both of the enthalpy, where the cell answers under pressure.
    potential_text : str
        The coefficient file the minimum was computed with.
    attributes : dict
        Versions, deck, units, tolerance, method, cost.
    pressure : float
        What the cell is held at, energy per volume; zero where it does not answer.
    strain_jacobian : (P, k) float array or None
        Where the cell answers too.
    strain_basis : (6, k) float array or None
        Components (xx, yy, zz, yz, xz, xy) of each of its strains.
    """

    path: Path
    structure: Structure
    theta: FloatArray
    names: tuple[str, ...]
    energy: float
    energy_gradient: FloatArray
    energy_hessian: FloatArray
    potential_text: str
    attributes: dict[str, Any]
    pressure: float
    strain_jacobian: FloatArray | None = None
    strain_basis: FloatArray | None = None

    @property
    def enthalpy(self) -> float:
        """U + pV; the energy itself where the cell does not answer."""
        return self.energy + self.pressure * float(np.linalg.det(self.structure.cell))

    def strain(self, dtheta: FloatArray) -> FloatArray:
        """ε = dε/dΘ δΘ, upper triangular (3, 3); zero where the cell does not answer."""
        if self.strain_jacobian is None or self.strain_basis is None:
            return np.zeros((3, 3))
        return tensor(self.strain_basis @ (dtheta @ self.strain_jacobian))

    def displacement(self, dtheta: FloatArray) -> FloatArray:
        """δX = dX*/dΘ δΘ, (N, 3), read pattern by pattern."""
        import h5py

        moved = np.zeros_like(self.structure.positions)
        with h5py.File(self.path) as file:
            if "jacobian" in file:
                weights, patterns = dtheta, file["jacobian"]
            else:
                weights, patterns = dtheta @ file["jacobian_right"][()], file["jacobian_left"]
            for index in np.flatnonzero(weights):
                moved += weights[index] * patterns[index]
        return moved

    def factors(self, rows: slice | NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """Displacement patterns (r, m, 3) of some atoms and the weights (P, r) of each parameter in them."""
        import h5py

        with h5py.File(self.path) as file:
            if "jacobian" in file:
                return file["jacobian"][:, rows], np.eye(len(self.theta))
            return file["jacobian_left"][:, rows], file["jacobian_right"][()]

    def moved(self, dtheta: FloatArray, displacement: FloatArray) -> Structure:
        """Return the structure with its atoms displaced by (N, 3), in the cell predicted for δΘ."""
        cell = self.structure.cell @ (np.eye(3) + self.strain(dtheta)).T
        return replace(self.structure, positions=self.structure.positions + displacement, cell=cell)


def write_sensitivity(
    path: str | os.PathLike[str],
    minimum: Minimum,
    jacobian: Jacobian,
    tol: float,
    overwrite: bool = False,
    form: str = "auto",
    cell: str = "none",
    pressure: float | str | ArrayLike | None = None,
) -> None:
    """Write a minimum, its Jacobian and energy derivatives, streaming in id order.

    Parameters
    ----------
    path : path-like
    minimum : Minimum
    jacobian : Jacobian
        ``minimum.jacobian(tol, cell=cell, pressure=pressure)``.
    tol : float
        Its tolerance.
    overwrite : bool
    form : {"auto", "full", "factored"}
        ``full``: dataset ``jacobian`` (P, N, 3). ``factored``: its factors ``jacobian_left`` (r, N, 3) and
        ``jacobian_right`` (P, r). ``auto`` takes the former up to `FULL_BYTES`. The attribute ``jacobian_form`` says
        which.
    cell, pressure
        Of the Jacobian. With a cell that answers, datasets ``strain_jacobian`` (P, k), ``strain_basis`` (6, k),
        ``volume_gradient`` (P,), ``pressure`` (3, 3) and ``enthalpy`` come on top, and derivatives of the energy are
        those of the enthalpy.

    Where `Minimum.third_derivative` was called before, ``third`` (k, k, P), ``third_inner`` (k, k, k), ``duals`` and
    ``response`` (P, k), ``softening`` (P,), ``metric`` and ``volume_hessian`` (P, P) hold what it found.

    Raises
    ------
    OutputError
        If the file exists or cannot be written; nothing is left behind.
    """
    if cell != "none" and not minimum.cell_system(tol, cell, pressure).freedom.hydrostatic:
        raise OutputError(
            "results at a stress that is not hydrostatic cannot be stored: an enthalpy does not exist there"
        )
    engine, length, energy = minimum.engine, minimum.units.length, minimum.units.energy
    parameters = len(minimum.potential.theta)
    if form == "auto":
        form = "full" if 24 * parameters * engine.n_atoms <= FULL_BYTES else "factored"
    scalars = {
        "theta": (minimum.potential.theta, "the coefficient file's"),
        "energy": (minimum.energy, energy),
        "energy_gradient": (minimum.energy_gradient(), f"{energy} / theta"),
        "energy_hessian": (minimum.energy_hessian(tol, cell=cell, pressure=pressure), f"{energy} / theta^2"),
    }
    if jacobian.strain_jacobian is not None and jacobian.volume_gradient is not None:
        freedom = minimum.cell_system(tol, cell, pressure).freedom
        held = np.trace(freedom.target) / 3
        scalars |= {
            "strain_jacobian": (jacobian.strain_jacobian, "1 / theta"),
            "strain_basis": (freedom.basis, "xx, yy, zz, yz, xz, xy"),
            "volume": (engine.volume, f"{length}^3"),
            "volume_gradient": (jacobian.volume_gradient, f"{length}^3 / theta"),
            "pressure": (freedom.target * minimum.units.pressures, minimum.units.pressure),
            "enthalpy": (minimum.energy + held * engine.volume, energy),
        }
    held = minimum.target if pressure is None else minimum.units.pressure_tensor(pressure)
    if minimum.third is not None and minimum.third.cell == cell and np.array_equal(held, minimum.target):
        scalars |= _third(minimum.third)
    cost = minimum.jacobian_statistics(tol, cell=cell, pressure=pressure)
    attributes = {**_attributes(minimum, tol, cost), "jacobian_form": form, "cell_freedom": cell}
    with opened_on_root(engine.comm, lambda: hdf5_written_whole(path, overwrite)) as file:
        if file is not None:
            import h5py

            file.attrs.update(attributes)
            file["parameter_names"] = np.array(minimum.potential.names, dtype=h5py.string_dtype())
            file["potential"] = minimum.potential.text
            for name, (values, units) in scalars.items():
                _dataset(file, name, values, units)
        order = stream_structure(file, minimum)
        if form == "full":
            rows = (jacobian.row(index) for index in range(parameters))
            _stream_patterns(file, "jacobian", f"{length} / theta", order, rows, parameters)
        else:
            _stream_patterns(file, "jacobian_left", length, order, jacobian.left, jacobian.rank)
            if file is not None:
                _dataset(file, "jacobian_right", jacobian.right, "1 / theta")


def _third(third: ThirdDerivative) -> dict[str, tuple[Any, str]]:
    """Datasets of third derivatives, along k directions with the coordinates ``duals`` (P, k)."""
    found: dict[str, tuple[Any, str]] = {
        "duals": (third.enthalpy.duals, ""),
        "response": (third.directions.response, ""),
        "metric": (third.directions.metric, ""),
        "third": (third.enthalpy.tensor, ""),
        "third_inner": (third.enthalpy.inner, ""),
        "softening": (third.softening, "1 / theta"),
    }
    return found if third.volume_hessian is None else found | {"volume_hessian": (third.volume_hessian, "")}


def _stream_patterns(
    file: Any, name: str, units: str, order: IdOrder, patterns: Iterable[FloatArray], count: int
) -> None:
    """Write `count` displacement patterns (n, 3), which may come one by one, as a dataset (count, N, 3)."""
    dataset = None
    if file is not None:
        chunks = (1, min(order.total, PIECE), 3) if count else None
        dataset = file.create_dataset(name, (count, order.total, 3), float, chunks=chunks)
        dataset.attrs["units"] = units
    for index, pattern in enumerate(patterns):
        _fill(dataset, (index,), order, pattern)


def read_sensitivity(path: str | os.PathLike[str]) -> Sensitivity:
    """Read a file that `write_sensitivity` wrote.

    Raises
    ------
    OutputError
        If it does not exist, is damaged, or is something else.
    """
    with hdf5_opened(path, [SENSITIVITY_KIND], "a result of 'lammps-implicit sensitivity'") as file:
        return Sensitivity(
            path=Path(path),
            structure=read_structure(file),
            theta=file["theta"][()],
            names=tuple(file["parameter_names"].asstr()[()]),
            energy=float(file["energy"][()]),
            energy_gradient=file["energy_gradient"][()],
            energy_hessian=file["energy_hessian"][()],
            potential_text=file["potential"].asstr()[()],
            attributes=dict(file.attrs),
            pressure=_held_at(file),
            **{name: file[name][()] for name in ("strain_jacobian", "strain_basis") if name in file},
        )


def _held_at(file: Any) -> float:
    if "pressure" not in file:
        return 0.0
    return float(np.trace(file["pressure"][()])) / 3 / units_of(str(file.attrs["units"])).pressures


def _attributes(minimum: Minimum, tol: float, cost: Statistics) -> dict[str, Any]:
    from lammps_implicit.results.format import __version__

    return {
        "kind": SENSITIVITY_KIND,
        "package_version": __version__,
        **minimum.engine.versions,
        "deck": minimum.deck_name,
        "deck_sha256": minimum.deck_sha256,
        "recipe": json.dumps(minimum.recipe),
        "units": minimum.units.style,
        "length_unit": minimum.units.length,
        "energy_unit": minimum.units.energy,
        "tolerance": tol,
        "method": cost.method,
        "max_force": minimum.max_force,
        "force_evaluations": minimum.engine.evaluations.forces,
        "descriptor_evaluations": minimum.engine.evaluations.descriptors,
        "iterations": cost.iterations,
        "residual": cost.residual,
        "differencing_error": cost.differencing_error,
        "seconds": cost.seconds,
    }
