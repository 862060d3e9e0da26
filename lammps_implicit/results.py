"""Result files: HDF5 in atom-id order, LAMMPS units named in attributes."""

from __future__ import annotations

import collections
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.errors import OutputError
from lammps_implicit.files import hdf5_written_whole
from lammps_implicit.jacobian import Jacobian
from lammps_implicit.minimum import Minimum
from lammps_implicit.structures import Structure

FloatArray = NDArray[np.float64]

_KIND = "lammps-implicit sensitivity"


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
    potential_text : str
        The coefficient file the minimum was computed with.
    attributes : dict
        Versions, deck, units, tolerance, method, cost.
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

    def displacement(self, dtheta: FloatArray) -> FloatArray:
        """δX = dX*/dΘ δΘ, (N, 3), read parameter by parameter."""
        import h5py

        moved = np.zeros_like(self.structure.positions)
        with h5py.File(self.path) as file:
            rows = file["jacobian"]
            for index in np.flatnonzero(dtheta):
                moved += dtheta[index] * rows[index]
        return moved

    def moved(self, displacement: FloatArray) -> Structure:
        """Return the structure with its atoms displaced by (N, 3)."""
        return replace(self.structure, positions=self.structure.positions + displacement)


def structure_of(minimum: Minimum) -> Structure | None:
    """Gather a minimum's structure in id order on rank 0; None on other ranks."""
    engine = minimum.engine
    types, positions = minimum.gather(engine.types), minimum.gather(engine.positions)
    ids = minimum.gather(engine.ids)
    if ids is None or types is None or positions is None:
        return None
    elements = tuple(name or "X" for name in minimum.potential.elements)
    periodic = np.array(engine.periodic)
    return Structure(ids, types, positions, engine.cell, engine.origin, periodic, elements, engine.masses())


def write_sensitivity(
    path: str | os.PathLike[str], minimum: Minimum, jacobian: Jacobian, tol: float, overwrite: bool = False
) -> None:
    """Write a minimum, its Jacobian and energy derivatives.

    Parameters
    ----------
    path : path-like
    minimum : Minimum
    jacobian : Jacobian
        ``minimum.jacobian(tol)``.
    tol : float
        Its tolerance.
    overwrite : bool

    Raises
    ------
    OutputError
        If the file exists or cannot be written; nothing is left behind.
    """
    parameters, length, energy = len(minimum.potential.theta), minimum.units.length, minimum.units.energy
    scalars = {
        "theta": (minimum.potential.theta, "the coefficient file's"),
        "energy": (minimum.energy, energy),
        "energy_gradient": (minimum.energy_gradient(), f"{energy} / theta"),
        "energy_hessian": (minimum.energy_hessian(tol), f"{energy} / theta^2"),
    }
    attributes, structure = _attributes(minimum, tol), structure_of(minimum)
    # Row by row, the full array never in memory. Ranks other than 0 only send their part.
    rows = (minimum.gather(jacobian.row(index)) for index in range(parameters))

    def write() -> None:
        import h5py

        assert structure is not None
        with hdf5_written_whole(path, overwrite) as file:
            file.attrs.update(attributes)
            write_structure(file, structure, length)
            file["parameter_names"] = np.array(minimum.potential.names, dtype=h5py.string_dtype())
            file["potential"] = minimum.potential.text
            for name, (values, units) in scalars.items():
                _dataset(file, name, values, units)
            shape = (parameters, len(structure.ids), 3)
            dataset = file.create_dataset("jacobian", shape, dtype=float, chunks=(1, *shape[1:]))
            dataset.attrs["units"] = f"{length} / theta"
            for index, row in enumerate(rows):
                dataset[index] = row

    def write_and_receive() -> None:
        try:
            write()
        finally:
            collections.deque(rows, maxlen=0)  # the other ranks send every row, whatever happened here

    if structure is None:
        collections.deque(rows, maxlen=0)
    minimum.engine.on_root(write_and_receive)


def read_sensitivity(path: str | os.PathLike[str]) -> Sensitivity:
    """Read a file that `write_sensitivity` wrote.

    Raises
    ------
    OutputError
        If it does not exist, is damaged, or is something else.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            if file.attrs.get("kind") != _KIND:
                raise OutputError(f"{path} is not a result of 'lammps-implicit sensitivity'")
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
            )
    except (OSError, KeyError) as error:
        reason = " ".join(str(error).split()) if Path(path).exists() else "no such file"
        raise OutputError(f"cannot read {path}: {reason}") from None


def write_structure(file: Any, structure: Structure, length: str) -> None:
    """Write a structure's arrays into an open HDF5 file."""
    import h5py

    _dataset(file, "ids", structure.ids, "")
    _dataset(file, "types", structure.types, "")
    _dataset(file, "positions", structure.positions, length)
    _dataset(file, "cell", structure.cell, length)
    _dataset(file, "origin", structure.origin, length)
    _dataset(file, "periodic", structure.periodic, "")
    _dataset(file, "masses", structure.masses, "mass of each type")
    file["elements"] = np.array(structure.elements, dtype=h5py.string_dtype())


def read_structure(file: Any) -> Structure:
    """Read a structure's arrays from an open HDF5 file."""
    arrays = {name: file[name][()] for name in ("ids", "types", "positions", "cell", "origin", "periodic", "masses")}
    return Structure(elements=tuple(file["elements"].asstr()[()]), **arrays)


def _attributes(minimum: Minimum, tol: float) -> dict[str, Any]:
    from lammps_implicit import __version__

    cost = minimum.jacobian_statistics(tol)
    return {
        "kind": _KIND,
        "package_version": __version__,
        "lammps_version": minimum.engine.version,
        "deck": minimum.deck_name,
        "deck_sha256": minimum.deck_sha256,
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


def _dataset(file: Any, name: str, values: Any, units: str) -> None:
    file[name] = values
    if units:
        file[name].attrs["units"] = units
