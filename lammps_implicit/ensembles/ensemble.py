"""Ensembles of parameters: samples, or a covariance to draw them from, checked against the potential they are for."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import PotentialError
from lammps_implicit.expansion.covariance import covariance_factor
from lammps_implicit.potentials.interface import Parameters
from lammps_implicit.potentials.number_files import is_number
from lammps_implicit.potentials.snap_files import is_coefficient_file, parse_coefficients, read_coefficients

DRAWS = 100_000
"""Samples drawn from a covariance unless asked for others."""

FAR = 6.0
"""Standard deviations by which the mean may miss the potential's parameters, in the median over parameters."""

FEW = 10
"""Samples from which their spread is known well enough to compare means."""


@dataclass(frozen=True)
class Ensemble:
    """Samples of the parameters of one potential.

    Attributes
    ----------
    samples : (S, P) float array
        Parameters themselves, not their changes.
    names : tuple of str
        Their labels.
    source : str
        Where they come from.
    factor : (P, r) float array or None
        Of the covariance that they were drawn from, A with A Aᵀ.
    drawn : (S, r) float array or None
        Coordinates of the samples along it, in standard deviations.
    origin : bytes
        What they were drawn from.
    """

    samples: FloatArray
    names: tuple[str, ...]
    source: str
    factor: FloatArray | None = None
    drawn: FloatArray | None = None
    origin: bytes = b""

    @property
    def digest(self) -> str:
        """SHA-256 of the samples, or of what they were drawn from: that is the same on every processor."""
        return hashlib.sha256(self.origin or np.ascontiguousarray(self.samples, float).tobytes()).hexdigest()

    def changes(self, theta: ArrayLike) -> FloatArray:
        """δΘ from these parameters, (S, P)."""
        return self.samples - np.asarray(theta, float)

    @property
    def covariance(self) -> FloatArray:
        """Of the samples, (P, P)."""
        return np.atleast_2d(np.cov(self.samples.T, bias=True))

    def factored(self, theta: FloatArray) -> tuple[FloatArray | None, FloatArray]:
        """Changes from `theta` as (basis, coordinates), (P, m) and (S, m), where m is below P; else (None, changes)."""
        if self.factor is None or self.drawn is None or self.factor.shape[1] + 1 >= len(theta):
            return None, self.changes(theta)
        offset = self.samples[0] - self.factor @ self.drawn[0] - theta
        return np.column_stack([self.factor, offset]), np.column_stack([self.drawn, np.ones(len(self.drawn))])

    def subset(self, count: int, seed: int) -> NDArray[np.int64]:
        """Rows of a random choice without repetition, rising, (count,)."""
        if not 0 < count <= len(self.samples):
            raise PotentialError(f"{count} samples of the {len(self.samples)} in {self.source}")
        return np.sort(np.random.default_rng(seed).choice(len(self.samples), count, replace=False))


def from_samples(samples: ArrayLike, parameters: Parameters, source: str = "samples") -> Ensemble:
    """Check samples, (S, P), against a potential.

    Raises
    ------
    PotentialError
        If their number or shape is wrong, some are not finite, or they are far from the potential's parameters.
    """
    array = np.asarray(samples, float)
    count = len(parameters.names)
    if array.ndim != 2 or array.shape[1] != count or not len(array):
        raise PotentialError(
            f"{source}: samples of shape {array.shape}, expected one row a sample with {count} columns, "
            f"{parameters.names[0]} to {parameters.names[-1]}"
        )
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, column = bad[0]
        raise PotentialError(f"{source}: {parameters.names[column]} of sample {row + 1} is {array[row, column]}")
    if len(array) >= FEW:
        _require_near(array.mean(axis=0), array.std(axis=0), parameters, source)
    return Ensemble(array, parameters.names, source)


def from_covariance(
    covariance: ArrayLike,
    parameters: Parameters,
    mean: ArrayLike | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    allow_singular: bool = False,
    source: str = "covariance",
) -> Ensemble:
    """Draw samples of a normal distribution.

    Parameters
    ----------
    covariance : (P, P) array_like
    parameters : Parameters
    mean : (P,) array_like, optional
        Default: the potential's parameters.
    draws, seed : int
    allow_singular : bool
        Whether parameters, or combinations of them, may be without spread.
    source : str
        Named in messages.

    Raises
    ------
    PotentialError
        If it is not a covariance of these parameters.
    """
    count = len(parameters.names)
    matrix = np.asarray(covariance, float)
    centre = parameters.theta if mean is None else np.asarray(mean, float)
    if matrix.shape != (count, count):
        raise PotentialError(f"{source}: covariance of shape {matrix.shape}, expected ({count}, {count})")
    if centre.shape != (count,):
        raise PotentialError(f"{source}: mean of shape {centre.shape}, expected ({count},)")
    if not (np.isfinite(matrix).all() and np.isfinite(centre).all()):
        raise PotentialError(f"{source}: the covariance or its mean holds values that are not finite")
    if draws < 1:
        raise PotentialError(f"{source}: {draws} samples cannot be drawn")
    factor = covariance_factor(matrix, source)
    if factor.shape[1] < count and not allow_singular:
        raise PotentialError(
            f"{source}: the covariance is singular, of rank {factor.shape[1]} for {count} parameters; allow that "
            "(--allow-singular) if some of them, or combinations, are meant to have no spread"
        )
    _require_near(centre, np.sqrt(np.diag(matrix)), parameters, source)
    drawn = np.random.default_rng(seed).standard_normal((draws, factor.shape[1]))
    origin = matrix.tobytes() + centre.tobytes() + f"{draws} {seed}".encode()
    return Ensemble(centre + drawn @ factor.T, parameters.names, source, factor, drawn, origin)


def as_ensemble(given: Any, parameters: Parameters) -> Ensemble:
    """Take an ensemble, samples (S, P), a fitted linear model, or the path of a file as `read_ensemble` does."""
    if isinstance(given, Ensemble):
        _require_same_order(list(given.names), parameters, given.source)
        return given
    if isinstance(given, (str, os.PathLike)):
        return read_ensemble(given, parameters)
    if hasattr(given, "predict"):
        return from_regression(given, parameters)
    return from_samples(given, parameters)


def from_regression(
    model: Any, parameters: Parameters, draws: int = DRAWS, seed: int = 0, allow_singular: bool = False
) -> Ensemble:
    """Take the ensemble of a fitted linear model whose features are the potential's descriptors, in its order.

    Parameters
    ----------
    model : POPSRegression, or a scikit-learn model such as BayesianRidge
        With ``coef_`` and ``posterior_samples_`` (P, S), or ``coef_`` and the covariance ``sigma_`` (P, P).
    parameters, draws, seed, allow_singular
        As for `from_covariance`.

    Raises
    ------
    PotentialError
        If it was not fitted, or has no uncertainties.
    """
    source = type(model).__name__
    coefficients = np.ravel(np.asarray(getattr(model, "coef_", np.nan), float))
    if np.isnan(coefficients).all():
        raise PotentialError(f"{source} has not been fitted")
    named = getattr(model, "feature_names_in_", None)
    if named is not None:
        _require_same_order([str(name) for name in named], parameters, source)
    posterior = getattr(model, "posterior_samples_", None)
    intercept = np.any(getattr(model, "intercept_", 0.0))
    if intercept or (posterior is not None and len(posterior) != len(coefficients)):
        raise PotentialError(f"{source}: fit it without intercept: the constant term is a parameter of its own")
    if posterior is not None:
        return from_samples(coefficients + np.asarray(posterior, float).T, parameters, source)
    if getattr(model, "sigma_", None) is None:
        raise PotentialError(f"{source} has no uncertainties: neither posterior_samples_ nor sigma_")
    return from_covariance(model.sigma_, parameters, coefficients, draws, seed, allow_singular, source)


def read_ensemble(
    path: str | os.PathLike[str],
    parameters: Parameters,
    draws: int = DRAWS,
    seed: int = 0,
    allow_singular: bool = False,
) -> Ensemble:
    """Read an ensemble.

    Parameters
    ----------
    path : path-like
        ``.npy``: (S, P) floats. ``.npz``: ``samples`` (S, P), or ``covariance`` (P, P) and perhaps ``mean`` (P,); with
        ``names`` (P,) and ``potential_sha256``, if there, checked. ``.csv``: a row a sample, under a line of labels or
        none. A folder: all its ``.snapcoeff`` files.
    parameters : Parameters
    draws, seed, allow_singular
        Of a covariance; see `from_covariance`.

    Raises
    ------
    PotentialError
        If it cannot be read or does not fit the potential.
    """
    file = Path(path)
    if file.is_dir():
        return from_samples(_read_folder(file, parameters), parameters, file.name)
    if not file.is_file():
        raise PotentialError(f"ensemble {path} does not exist")
    kind = file.suffix.lower()
    if kind == ".csv":
        return from_samples(_read_csv(file, parameters), parameters, file.name)
    if kind not in (".npy", ".npz"):
        raise PotentialError(f"ensemble {path}: .npy, .npz, .csv or a folder of .snapcoeff files is expected")
    arrays = _read_numpy(file)
    if "names" in arrays:
        _require_same_order([str(name) for name in np.ravel(arrays["names"])], parameters, file.name)
    made_for = str(arrays.get("potential_sha256", parameters.digest))
    if made_for != parameters.digest:
        raise PotentialError(
            f"{file.name}: the ensemble is of another potential: its coefficient file has SHA-256 {made_for[:12]}…, "
            f"that of the result {parameters.digest[:12]}…"
        )
    if "covariance" in arrays and "samples" in arrays:
        raise PotentialError(f"{file.name}: both 'samples' and 'covariance' are in it: leave one out")
    if "covariance" in arrays:
        mean = arrays.get("mean")
        return from_covariance(arrays["covariance"], parameters, mean, draws, seed, allow_singular, file.name)
    if "samples" not in arrays:
        raise PotentialError(f"{file.name}: neither 'samples' nor 'covariance' is in it, but {', '.join(arrays)}")
    return from_samples(arrays["samples"], parameters, file.name)


def _read_numpy(file: Path) -> dict[str, NDArray[Any]]:
    """Arrays of a file by name; that of a ``.npy`` file is called ``samples``."""
    try:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            arrays = {"samples": loaded}
        else:
            with loaded:
                arrays = dict(loaded)
        for name in {"samples", "covariance", "mean"} & set(arrays):
            if arrays[name].dtype.kind not in "fiu":
                raise ValueError(f"'{name}' is of type {arrays[name].dtype}")
    except Exception as error:  # zip, struct and codec errors of all kinds come with damaged files
        raise PotentialError(f"{file.name}: not arrays of numbers ({' '.join(str(error).split())})") from None
    return arrays


def _read_csv(file: Path, parameters: Parameters) -> FloatArray:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
        rows = [line for line in lines if line.strip() and not line.startswith("#")]
        words = [word.strip() for word in rows[0].split(",")] if rows else []
        labelled = not all(is_number(word) for word in words)
        if len(rows) <= labelled:
            raise PotentialError(f"{file.name}: there are no samples in it")
        samples = np.loadtxt(rows[labelled:], delimiter=",", ndmin=2, comments=None)
    except (OSError, ValueError) as error:
        raise PotentialError(f"{file.name}: not a table of numbers ({' '.join(str(error).split())})") from None
    if labelled:
        _require_same_order(words, parameters, file.name)
    return samples


def _read_folder(folder: Path, parameters: Parameters) -> FloatArray:
    """Coefficients of all files of a folder, in the order of their names."""
    files = sorted(folder.glob("*.snapcoeff"), key=lambda file: _natural(file.name))
    if not files:
        raise PotentialError(f"{folder.name}: there is no .snapcoeff file in this folder")
    if not is_coefficient_file(parameters.text):
        raise PotentialError(f"{folder.name}: the potential of the result is not SNAP: give samples as .npy or .csv")
    expected = parse_coefficients(parameters.text, "the potential of the result")
    chosen = [expected.names.index(name) for name in parameters.names]
    held = np.ones(len(expected.names), bool)
    held[chosen] = False
    rows = []
    for file in files:
        found = read_coefficients(file)
        if found.names != expected.names or found.blocks != expected.blocks:
            raise PotentialError(
                f"{folder.name}/{file.name} is of another potential: elements, radii, weights or the number of "
                "coefficients differ"
            )
        if np.any(found.theta[held] != expected.theta[held]):
            name = expected.names[int(np.argmax(held & (found.theta != expected.theta)))]
            raise PotentialError(f"{folder.name}/{file.name}: {name} differs, which derivatives were not taken for")
        rows.append(found.theta[chosen])
    return np.array(rows)


def _natural(name: str) -> tuple[list[int], str]:
    """Sort key by which file 10 comes after file 9."""
    digits = "".join(character if character.isdigit() else " " for character in name).split()
    return [int(part) for part in digits], name


def _require_same_order(names: list[str], parameters: Parameters, source: str) -> None:
    expected = list(parameters.names)
    if names == expected:
        return
    if sorted(names) == sorted(expected):
        place = next(i for i, (a, b) in enumerate(zip(names, expected, strict=True)) if a != b)
        raise PotentialError(
            f"{source}: the labels are in another order: column {place + 1} is {names[place]}, expected "
            f"{expected[place]}; reorder the columns"
        )
    missing = [name for name in expected if name not in names]
    unknown = [name for name in names if name not in expected]
    wrong = f"{unknown[0]} is not one of them" if unknown else f"{missing[0]} is missing" if missing else "one repeats"
    raise PotentialError(
        f"{source}: its {len(names)} labels are not those of the {len(expected)} parameters "
        f"({expected[0]} to {expected[-1]}): {wrong}"
    )


def _require_near(mean: FloatArray, spread: FloatArray, parameters: Parameters, source: str) -> None:
    """Refuse an ensemble that has nothing to do with the potential: columns without labels may be any numbers."""
    off = np.abs(mean - parameters.theta) / np.maximum(spread, 1e-6 * np.abs(parameters.theta) + 1e-300)
    if not float(np.median(off)) <= FAR:
        raise PotentialError(
            f"{source}: the ensemble is not around the potential's parameters, but {np.median(off):.3g} standard "
            "deviations away (median over parameters): is it of another potential?"
        )
