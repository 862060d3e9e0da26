"""Tables of numbers that describe ensembles, as files hold them: NumPy arrays, ``.csv``, folders of SNAP files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.potentials.interface import Parameters
from lammps_implicit.potentials.number_files import is_number
from lammps_implicit.potentials.snap_files import is_coefficient_file, parse_coefficients, read_coefficients

MAX_BYTES = 2**33
"""Largest size of a compressed file's arrays, 8 GiB: a small file may unpack to any size."""


def read_numpy(file: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of a ``.npy`` or ``.npz`` file.

    Parameters
    ----------
    file : Path

    Returns
    -------
    dict of str to array
        By name; the array of a ``.npy`` file is called ``samples``.

    Raises
    ------
    PotentialError
        If the file is damaged or too large, or samples, covariance or mean are not numbers.
    """
    try:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            arrays = {"samples": loaded}
        else:
            with loaded:
                if sum(member.file_size for member in loaded.zip.infolist()) > MAX_BYTES:
                    raise ValueError(f"unpacked it takes more than {MAX_BYTES >> 30} GiB")
                arrays = dict(loaded)
        for name in {"samples", "covariance", "mean"} & set(arrays):
            if arrays[name].dtype.kind not in "fiu":
                raise ValueError(f"'{name}' has type {arrays[name].dtype}")
    except Exception as error:  # damaged files raise zip, struct and codec errors of all kinds
        raise PotentialError(f"{file.name}: not arrays of numbers ({' '.join(str(error).split())})") from None
    return arrays


def read_csv(file: Path, square: bool = False) -> tuple[FloatArray, list[list[str]]]:
    """Read a table of numbers, optionally below a line of labels.

    Parameters
    ----------
    file : Path
    square : bool
        Whether it is a matrix, in which labels may also head the rows, below an empty first label.

    Returns
    -------
    table : (S, P) float array
    labels : list of list of str
        Labels of the columns, and of the rows, where there are any.

    Raises
    ------
    PotentialError
        If it is not such a table.
    """
    labels: list[list[str]] = []
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
        rows = [line for line in lines if line.strip() and not line.startswith("#")]
        words = [word.strip() for word in rows[0].split(",")] if rows else []
        if len(words) == 1 and " " in words[0] and all(is_number(word) for word in words[0].split()):
            raise ValueError("its columns must be separated by commas")
        if not all(is_number(word) for word in words):
            labels, rows = [words], rows[1:]
        if not rows:
            raise PotentialError(f"{file.name} has no samples")
        if square and labels and not words[0]:
            heads = [row.partition(",") for row in rows]
            labels, rows = [words[1:], [head[0].strip() for head in heads]], [head[2] for head in heads]
        return np.loadtxt(rows, delimiter=",", ndmin=2, comments=None), labels
    except (OSError, ValueError) as error:
        raise PotentialError(f"{file.name}: not a table of numbers ({' '.join(str(error).split())})") from None


def read_folder(folder: Path, parameters: Parameters) -> FloatArray:
    """Read the coefficients of all SNAP files in a folder, in natural order of their names.

    Parameters
    ----------
    folder : Path
    parameters : Parameters
        Of the potential.

    Returns
    -------
    (S, P) float array

    Raises
    ------
    PotentialError
        If there is none, or one is for another potential.
    """
    files = sorted(folder.glob("*.snapcoeff"), key=lambda file: _natural_key(file.name))
    if not files:
        raise PotentialError(f"{folder.name}: there is no .snapcoeff file in this folder")
    if not is_coefficient_file(parameters.text):
        raise PotentialError(f"{folder.name}: the potential of the result is not SNAP: give samples as .npy or .csv")
    expected = parse_coefficients(parameters.text, "the potential of the result")
    chosen = [expected.names.index(name) for name in parameters.names]
    fixed = np.ones(len(expected.names), bool)
    fixed[chosen] = False
    rows = []
    for file in files:
        found = read_coefficients(file)
        if found.names != expected.names or found.blocks != expected.blocks:
            raise PotentialError(
                f"{folder.name}/{file.name} is for another potential: elements, radii, weights or the number of "
                "coefficients differ"
            )
        if np.any(found.theta[fixed] != expected.theta[fixed]):
            name = expected.names[int(np.argmax(fixed & (found.theta != expected.theta)))]
            raise PotentialError(
                f"{folder.name}/{file.name}: {name} differs from the result's potential, which has no derivatives with "
                "respect to it"
            )
        rows.append(found.theta[chosen])
    return np.array(rows)


def _natural_key(name: str) -> tuple[list[int], str]:
    """Sort key that puts file 10 after file 9."""
    digits = "".join(character if character.isdecimal() else " " for character in name).split()
    return [int(part[-18:]) for part in digits], name  # Python reads no number of thousands of digits
