"""Relaxed structure and energy at changed parameters, predicted from the derivatives in a result file."""

from __future__ import annotations

import csv
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError, PotentialError
from lammps_implicit.files import beside, hdf5_written_whole, refuse_to_overwrite, written_whole
from lammps_implicit.potentials.number_files import is_number
from lammps_implicit.potentials.snap_files import (
    CoefficientFile,
    is_coefficient_file,
    parse_coefficients,
    read_coefficients,
)
from lammps_implicit.results.data_file import lines_of, moved_lines, titled
from lammps_implicit.results.sensitivity import Sensitivity
from lammps_implicit.results.structure import stream_structure
from lammps_implicit.units import decimal

REACH = 1.0
"""Å; displacement of an atom beyond which a first-order prediction means little: less than half a bond length."""


_ORDERS = ("zeroth", "first", "second")


@dataclass(frozen=True)
class PredictedStructure:
    """Structure and energy at Θ + δΘ, predicted from the derivatives at Θ.

    Attributes
    ----------
    dtheta : (P,) float array
        δΘ.
    displacement : (N, 3) float array
        dX*/dΘ δΘ, Å, including the part that follows the cell. First order: the error is of order |δΘ|².
    strain : (3, 3) float array
        Strain of the cell, first order, upper triangular; zero if the cell is fixed.
    enthalpy_terms : (3,) float array
        W(Θ); dW/dΘ·δΘ; ½ δΘ·d²W/dΘ²·δΘ, in eV, with the enthalpy W = U + pV at the pressure p at which the cell is
        held, or the energy U if the cell is fixed. The error of their sum is of order |δΘ|³. If the result has no
        second derivative, (2,) and |δΘ|².
    work : float
        pV of the predicted cell, eV; zero if the cell is fixed.
    """

    dtheta: FloatArray
    displacement: FloatArray
    strain: FloatArray
    enthalpy_terms: FloatArray
    work: float

    @property
    def enthalpy(self) -> float:
        """Predicted enthalpy, eV: the sum of `enthalpy_terms`."""
        return float(self.enthalpy_terms.sum())

    @property
    def energy(self) -> float:
        """Predicted energy U, eV; under pressure its error is of order |δΘ|², through that of the volume."""
        return self.enthalpy - self.work


def predict(sensitivity: Sensitivity, dtheta: FloatArray) -> PredictedStructure:
    """Predict structure and energy at Θ + δΘ.

    E(Θ + δ) = E + dE/dΘ·δ + ½ δᵀ d²E/dΘ² δ + O(δ³) and X*(Θ + δ) = X* + dX*/dΘ δ + O(δ²), without LAMMPS.

    Parameters
    ----------
    sensitivity : Sensitivity
    dtheta : (P,) float array
        δΘ.

    Returns
    -------
    PredictedStructure

    Raises
    ------
    LammpsImplicitError
        If a number overflows. Where an atom moves by more than `REACH` there is a warning.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        first = float(sensitivity.energy_gradient @ dtheta)
        hessian = sensitivity.energy_hessian
        second = [] if hessian is None else [0.5 * float(dtheta @ hessian @ dtheta)]
        terms = np.array([sensitivity.enthalpy, first, *second])
        displacement, strain = sensitivity.displacement(dtheta), sensitivity.strain(dtheta)
        cell = sensitivity.structure.cell @ (np.eye(3) + strain).T
        work = sensitivity.mean_pressure * sensitivity.volume_of(cell)
    if not all(np.isfinite(found).all() for found in (terms, displacement, strain, work)):
        raise LammpsImplicitError("the new parameters are so far from those of the result that numbers overflow")
    farthest = float(np.linalg.norm(displacement, axis=1).max(initial=0.0))
    if farthest > REACH:
        unit = sensitivity.attributes["length_unit"]
        warnings.warn(
            f"an atom is predicted to move by {farthest:.3g} {unit}, farther than first order holds: take a smaller "
            "change of the parameters, or follow the minimum (Minimum.follow)",
            stacklevel=2,
        )
    return PredictedStructure(dtheta, displacement, strain, terms, work)


def read_theta(path: str | os.PathLike[str], sensitivity: Sensitivity) -> FloatArray:
    """Read new parameters from a coefficient file, an ``.npy`` file or a ``.csv`` file.

    Parameters
    ----------
    path : path-like
        ``.npy``: (P,) floats. ``.csv``: one number per line, ``label,value`` lines in any order, or one line of
        numbers. With any other ending: a coefficient file as LAMMPS reads it.
    sensitivity : Sensitivity
        Has the parameters that are expected.

    Returns
    -------
    (P,) float array
        In the order of ``sensitivity.names``.

    Raises
    ------
    PotentialError
        If the file does not exist, cannot be read, or does not hold these parameters.
    """
    path = Path(path)
    if not path.is_file():
        raise PotentialError(f"parameter file {path} does not exist")
    reader = {".npy": _read_npy, ".csv": _read_csv}.get(path.suffix.lower(), _read_coefficient_file)
    theta = reader(path, sensitivity)
    if theta.shape != (len(sensitivity.names),):
        raise PotentialError(
            f"{path}: {len(sensitivity.names)} parameters expected, but it holds an array of shape {theta.shape}"
        )
    if not np.isfinite(theta).all():
        raise PotentialError(f"{path}: parameter {sensitivity.names[int(np.argmin(np.isfinite(theta)))]} is not finite")
    return theta


def write_prediction(
    path: str | os.PathLike[str], sensitivity: Sensitivity, prediction: PredictedStructure, overwrite: bool = False
) -> list[Path]:
    """Write a prediction as HDF5, extended XYZ with displacement vectors, and a LAMMPS data file.

    The data file has all that the deck's ``atom_style`` has: charges, molecules, bonds, and so on.

    Parameters
    ----------
    path : path-like
        Of the HDF5 file.
    sensitivity : Sensitivity
        From which the prediction was made.
    prediction : PredictedStructure
    overwrite : bool
        Whether to replace existing files.

    Returns
    -------
    list of Path
        The files written: `path`, and the same name with the endings ``.xyz`` and ``.data``.

    Raises
    ------
    OutputError
        If one of them exists or cannot be written.
    """
    import h5py

    path = Path(path)
    xyz, data = beside(path, ".xyz", ".data")
    for target in (path, xyz, data):
        refuse_to_overwrite(target, overwrite)
    moved = sensitivity.moved(prediction.dtheta, prediction.displacement)
    length, energy = (str(sensitivity.attributes[name]) for name in ("length_unit", "energy_unit"))
    with hdf5_written_whole(path, overwrite) as file:
        file.attrs.update({**sensitivity.attributes, "kind": "lammps-implicit prediction", "from": _name(sensitivity)})
        stream_structure(file, moved, sensitivity.comm, length)
        file["displacement"] = prediction.displacement
        file["displacement"].attrs.update({"units": length, "order": "first; error of order |dtheta|^2"})
        file["strain"] = prediction.strain
        file["theta"] = sensitivity.theta + prediction.dtheta
        file["parameter_names"] = np.array(sensitivity.names, dtype=h5py.string_dtype())
        file["energy"] = prediction.energy
        power = len(prediction.enthalpy_terms)
        of_energy = power if prediction.work == 0 else 2
        file["energy"].attrs.update({"units": energy, "order": f"error of order |dtheta|^{of_energy}"})
        if sensitivity.strain_jacobian is not None:
            file["enthalpy"] = prediction.enthalpy
            order = f"{_ORDERS[power - 1]}; error of order |dtheta|^{power}"
            file["enthalpy"].attrs.update({"units": energy, "order": order})
        terms = "energy_terms" if sensitivity.strain_jacobian is None else "enthalpy_terms"
        file[terms] = prediction.enthalpy_terms
        file[terms].attrs.update({"units": energy, "order": ", ".join(_ORDERS[:power])})
    with written_whole(xyz, overwrite) as temporary:
        atoms = moved.to_ase(displacement=prediction.displacement)
        atoms.info["energy"] = prediction.energy
        atoms.write(temporary, format="extxyz", parallel=False)
    title = f"predicted from {_name(sensitivity)}"
    with written_whole(data, overwrite) as temporary:
        if sensitivity.data is None:
            with open(temporary, "w", encoding="utf-8") as text:
                moved.write_data(text, title)
        else:
            lines = titled(lines_of(sensitivity.data), title, sensitivity.structure.elements)
            with open(temporary, "wb") as binary:
                binary.writelines(moved_lines(lines, sensitivity.structure, prediction.displacement, prediction.strain))
    return [path, xyz, data]


def _name(sensitivity: Sensitivity) -> str:
    return sensitivity.path.name if sensitivity.path is not None else str(sensitivity.attributes["deck"])


def _read_npy(path: Path, sensitivity: Sensitivity) -> FloatArray:
    try:
        array = np.load(path, allow_pickle=False)
        if array.dtype.kind not in "fiu":
            raise ValueError(f"type {array.dtype}")
        return np.asarray(array, dtype=float)
    except (ValueError, OSError, EOFError, TypeError, MemoryError, AttributeError) as error:
        raise PotentialError(f"{path}: not an array of numbers ({error})") from None


def _read_csv(path: Path, sensitivity: Sensitivity) -> FloatArray:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [[word.strip() for word in row] for row in csv.reader(file)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise PotentialError(f"{path}: not a text file of numbers ({error})") from None
    rows = [row for row in rows if row and not row[0].startswith("#")]
    try:
        if all(len(row) == 2 for row in rows) and not is_number(rows[0][0] if rows else "0"):
            header = rows[0][0] not in sensitivity.names and not is_number(rows[0][1])
            labelled = {row[0]: row[1] for row in rows[header:]}
            if len(labelled) < len(rows) - header:
                twice = next(name for name in labelled if [row[0] for row in rows].count(name) > 1)
                raise PotentialError(f"{path}: {twice} is given twice")
            missing = [name for name in sensitivity.names if name not in labelled]
            unknown = [name for name in labelled if name not in sensitivity.names]
            if missing or unknown:
                wrong = f"no value for {missing[0]}" if missing else f"{unknown[0]} is not one of the parameters"
                raise PotentialError(f"{path}: {wrong}")
            return np.array([decimal(labelled[name]) for name in sensitivity.names])
        return np.array([decimal(word) for row in rows for word in row])
    except ValueError as error:
        raise PotentialError(f"{path}: not a number where one is expected ({error})") from None


def _read_coefficient_file(path: Path, sensitivity: Sensitivity) -> FloatArray:
    if not is_coefficient_file(sensitivity.potential_text):
        raise PotentialError(f"{path}: the result is not of a SNAP: give its parameters as .npy or .csv")
    new = read_coefficients(path)
    old = parse_coefficients(sensitivity.potential_text, "the potential of the result")
    if new.names != old.names:
        raise PotentialError(
            f"{path}: {len(new.names)} coefficients ({new.names[0]} to {new.names[-1]}), but the result was computed "
            f"with {len(old.names)} ({old.names[0]} to {old.names[-1]})"
        )
    if new.blocks != old.blocks:
        raise PotentialError(
            f"{path}: radii or weights of elements differ from those of the result; they are not parameters"
        )
    _require_same_elsewhere(path, new, old, sensitivity.names)
    values = dict(zip(new.names, new.theta, strict=True))
    return np.array([values[name] for name in sensitivity.names])


def _require_same_elsewhere(path: Path, new: CoefficientFile, old: CoefficientFile, selected: tuple[str, ...]) -> None:
    changed = [name for name, a, b in zip(new.names, new.theta, old.theta, strict=True) if a != b]
    outside = [name for name in changed if name not in set(selected)]
    if outside:
        raise PotentialError(
            f"{path}: {outside[0]} differs, but the result has derivatives with respect to other parameters only"
        )
