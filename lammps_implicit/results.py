"""Result files: HDF5 in atom-id order, LAMMPS units named in attributes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lammps_implicit.errors import OutputError
from lammps_implicit.files import hdf5_opened, hdf5_written_whole, written_whole
from lammps_implicit.jacobian import Jacobian
from lammps_implicit.linear_response import Statistics
from lammps_implicit.minimum import Minimum
from lammps_implicit.observables.files import SENSITIVITY_KIND
from lammps_implicit.parallel import PIECE, IdOrder, opened_on_root
from lammps_implicit.structures import Structure, write_data_header, write_data_rows
from lammps_implicit.third_derivative import ThirdDerivative
from lammps_implicit.units import units_of
from lammps_implicit.voigt import tensor

FloatArray = NDArray[np.float64]

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


def write_data(path: str | os.PathLike[str], minimum: Minimum, title: str, overwrite: bool = False) -> None:
    """Write a minimum's structure as a LAMMPS data file, streaming in id order.

    Raises
    ------
    OutputError
        If the file exists or cannot be written; nothing is left behind.
    """
    engine = minimum.engine
    box = engine.cell, engine.origin, engine.masses(), _elements(minimum)

    def head(file: IO[str], total: int) -> None:
        write_data_header(file, title, total, *box)

    def rows(file: IO[str], piece: FloatArray) -> None:
        write_data_rows(file, piece[:, 0], piece[:, 1], piece[:, 2:])

    _write_text(path, minimum, overwrite, head, rows)


def write_xyz(path: str | os.PathLike[str], minimum: Minimum, overwrite: bool = False) -> None:
    """Write a minimum's structure as extended XYZ with ids and types, streaming in id order; the cell starts at zero.

    Raises
    ------
    OutputError
        As `write_data`.
    """
    engine, elements = minimum.engine, _elements(minimum)
    lattice = " ".join(f"{number:.16g}" for number in engine.cell.reshape(-1))
    periodic = " ".join("T" if axis else "F" for axis in engine.periodic)
    origin = engine.origin

    def head(file: IO[str], total: int) -> None:
        columns = "species:S:1:pos:R:3:id:I:1:type:I:1"
        file.write(f'{total}\nLattice="{lattice}" Properties={columns} pbc="{periodic}" energy={minimum.energy:.16g}\n')

    def rows(file: IO[str], piece: FloatArray) -> None:
        for id_, type_, x, y, z in piece:
            place = " ".join(f"{number:.10f}" for number in np.array([x, y, z]) - origin)
            file.write(f"{elements[int(type_) - 1]} {place} {id_:.0f} {type_:.0f}\n")

    _write_text(path, minimum, overwrite, head, rows)


def _write_text(
    path: str | os.PathLike[str],
    minimum: Minimum,
    overwrite: bool,
    head: Callable[[IO[str], int], None],
    write_rows: Callable[[IO[str], FloatArray], None],
) -> None:
    """Write a text file with a row (id, type, x, y, z) for each atom."""
    engine = minimum.engine
    order = IdOrder(engine.comm, engine.ids)
    rows = np.column_stack([engine.ids, engine.types, engine.positions])  # ids are exact below 2^53

    @contextmanager
    def opened() -> Iterator[IO[str]]:
        with written_whole(path, overwrite) as temporary, open(temporary, "w", encoding="utf-8") as file:
            yield file

    with opened_on_root(engine.comm, opened) as file:
        if file is not None:
            head(file, order.total)

        def write(_: int, piece: FloatArray) -> None:
            assert file is not None
            write_rows(file, piece)

        order.stream(rows, write)


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


def stream_dataset(file: Any, name: str, units: str, order: IdOrder, array: NDArray[Any]) -> None:
    """Write a per-atom array as a dataset; `file` is None but on rank 0."""
    dataset = None
    if file is not None:
        dataset = file.create_dataset(name, (order.total, *array.shape[1:]), array.dtype)
        dataset.attrs["units"] = units
    _fill(dataset, (), order, array)


def stream_structure(file: Any, minimum: Minimum) -> IdOrder:
    """Write the arrays that `read_structure` reads, of a minimum; `file` is None but on rank 0."""
    engine, length = minimum.engine, minimum.units.length
    order, masses = IdOrder(engine.comm, engine.ids), engine.masses()
    if file is not None:
        import h5py

        file["elements"] = np.array(_elements(minimum), dtype=h5py.string_dtype())
        _dataset(file, "cell", engine.cell, length)
        _dataset(file, "origin", engine.origin, length)
        _dataset(file, "periodic", np.array(engine.periodic), "")
        _dataset(file, "masses", masses, "mass of each type")
    stream_dataset(file, "ids", "", order, engine.ids)
    stream_dataset(file, "types", "", order, engine.types)
    stream_dataset(file, "positions", length, order, engine.positions)
    return order


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


def _fill(dataset: Any, lead: tuple[int, ...], order: IdOrder, array: NDArray[Any]) -> None:
    def write(place: int, rows: NDArray[Any]) -> None:
        dataset[(*lead, slice(place, place + len(rows)))] = rows

    order.stream(array, write)


def _elements(minimum: Minimum) -> tuple[str, ...]:
    return tuple(name or "X" for name in minimum.potential.elements)


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


def _attributes(minimum: Minimum, tol: float, cost: Statistics) -> dict[str, Any]:
    from lammps_implicit import __version__

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


def _dataset(file: Any, name: str, values: Any, units: str) -> None:
    file[name] = values
    if units:
        file[name].attrs["units"] = units
