"""Ensembles of parameters: samples, or a covariance to draw them from, checked against the potential."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.ensembles.tables import read_csv, read_folder, read_numpy
from lammps_implicit.errors import PotentialError
from lammps_implicit.expansion.covariance import covariance_factor
from lammps_implicit.potentials.interface import Parameters

DRAWS = 100_000
"""Default number of samples drawn from a covariance: standard errors of means are 0.3 % of the standard deviation."""

MAX_OFFSET = 6.0
"""Largest accepted distance of the mean from the potential's parameters, in standard deviations.

The median over the parameters counts. It only has to recognise ensembles of other potentials, whose columns are
unrelated numbers.
"""

MIN_SAMPLES = 10
"""Number of samples below which their spread is too uncertain, by a quarter and more, for that comparison.

Fewer are compared in units of the parameters themselves where these are larger than the spread.
"""

MAX_NUMBERS = 2**28
"""Largest number of values that are drawn, 2 GiB."""

SYMMETRIC = 1e-9
"""Difference of a matrix from its transpose, relative to its largest element, below which it is symmetric."""


@dataclass(frozen=True)
class Ensemble:
    """Samples of the parameters of one potential.

    Attributes
    ----------
    samples : (S, P) float array
        Values of the parameters, not changes.
    names : tuple of str
        Labels of the parameters.
    source : str
        Description of where the samples come from, for messages.
    factor : (P, r) float array or None
        Factor A of the covariance A Aᵀ that the samples were drawn from.
    coordinates : (S, r) float array or None
        Standard normal variates c of the samples, which are mean + A c.
    origin : bytes
        Covariance, mean, number and seed of the draw; empty for samples that were given.
    """

    samples: FloatArray
    names: tuple[str, ...]
    source: str
    factor: FloatArray | None = None
    coordinates: FloatArray | None = None
    origin: bytes = b""

    @property
    def digest(self) -> str:
        """SHA-256 of the samples, or of `origin`, which unlike drawn samples is the same on every processor."""
        return hashlib.sha256(self.origin or np.ascontiguousarray(self.samples, float).tobytes()).hexdigest()

    def changes(self, theta: ArrayLike) -> FloatArray:
        """Differences of the samples from the parameters `theta`, (S, P)."""
        return self.samples - np.asarray(theta, float)

    @property
    def covariance(self) -> FloatArray:
        """Covariance of the samples, (P, P)."""
        return np.atleast_2d(np.cov(self.samples.T, bias=True))

    def factored(self, theta: FloatArray) -> tuple[FloatArray | None, FloatArray]:
        """Changes from `theta` in as few coordinates as possible.

        Parameters
        ----------
        theta : (P,) float array

        Returns
        -------
        basis : (P, m) float array or None
            With m < P; None if no such basis is known.
        coordinates : (S, m) float array
            Changes are ``coordinates @ basis.T``; the changes themselves, (S, P), where there is no basis.
        """
        if self.factor is None or self.coordinates is None or self.factor.shape[1] + 1 >= len(theta):
            return None, self.changes(theta)
        offset = self.samples[0] - self.factor @ self.coordinates[0] - theta
        ones = np.ones(len(self.coordinates))
        return np.column_stack([self.factor, offset]), np.column_stack([self.coordinates, ones])

    def subset(self, count: int, seed: int) -> IntArray:
        """Random selection of samples without repetition.

        Parameters
        ----------
        count, seed : int

        Returns
        -------
        (count,) int array
            Row numbers in ascending order.

        Raises
        ------
        PotentialError
            If `count` is not positive or exceeds the number of samples.
        """
        if not 0 < count <= len(self.samples):
            raise PotentialError(f"cannot select {count} samples: {self.source} has {len(self.samples)}")
        return np.sort(np.random.default_rng(seed).choice(len(self.samples), count, replace=False))


def from_samples(
    samples: ArrayLike, parameters: Parameters, source: str = "samples", accept_mean: bool = False
) -> Ensemble:
    """Make an ensemble of samples, and check them against a potential.

    Parameters
    ----------
    samples : (S, P) array_like
        Values of the parameters.
    parameters : Parameters
        Of the potential.
    source : str
        Description of where they come from, for messages.
    accept_mean : bool
        Whether the mean may be far from the potential's parameters.

    Returns
    -------
    Ensemble

    Raises
    ------
    PotentialError
        If the shape is wrong, a value is not finite, the array is a symmetric matrix as covariances are, or the mean is
        far from the potential's parameters.
    """
    array = _numbers(samples, source)
    count = len(parameters.names)
    if array.ndim != 2 or array.shape[1] != count or not len(array):
        raise PotentialError(
            f"{source}: samples of shape {array.shape}, expected one row per sample with {count} columns, "
            f"{parameters.names[0]} to {parameters.names[-1]}"
        )
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, column = bad[0]
        raise PotentialError(f"{source}: {parameters.names[column]} of sample {row + 1} is {array[row, column]}")
    if count > 1 and _is_symmetric(array):
        raise PotentialError(
            f"{source}: {count} rows of {count} numbers that are a symmetric matrix, as covariances are: "
            "pass --covariance if it is one ('matrix: true' in a configuration, from_covariance in Python)"
        )
    if not accept_mean:
        spread = array.std(axis=0)
        if len(array) < MIN_SAMPLES:
            spread = np.maximum(spread, np.abs(parameters.theta))
        _require_near(array.mean(axis=0), spread, parameters, source)
    return Ensemble(array, parameters.names, source)


def from_covariance(
    covariance: ArrayLike,
    parameters: Parameters,
    mean: ArrayLike | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    allow_singular: bool = False,
    source: str = "covariance",
    accept_mean: bool = False,
) -> Ensemble:
    """Draw an ensemble from a normal distribution.

    Parameters
    ----------
    covariance : (P, P) array_like
    parameters : Parameters
        Of the potential.
    mean : (P,) array_like, optional
        Default: the potential's parameters.
    draws, seed : int
        Number of samples, and seed of the random numbers.
    allow_singular : bool
        Whether the variance of parameters, or of combinations of them, may vanish.
    source : str
        Description of where the covariance comes from, for messages.
    accept_mean : bool
        Whether the mean may be far from the potential's parameters.

    Returns
    -------
    Ensemble

    Raises
    ------
    PotentialError
        If the matrix is not a covariance of these parameters.
    """
    count = len(parameters.names)
    matrix = _numbers(covariance, source)
    centre = parameters.theta if mean is None else _numbers(mean, source)
    if matrix.shape != (count, count):
        raise PotentialError(f"{source}: covariance of shape {matrix.shape}, expected ({count}, {count})")
    if centre.shape != (count,):
        raise PotentialError(f"{source}: mean of shape {centre.shape}, expected ({count},)")
    if not (np.isfinite(matrix).all() and np.isfinite(centre).all()):
        raise PotentialError(f"{source}: the covariance or the mean has values that are not finite")
    if draws < 1:
        raise PotentialError(f"{source}: cannot draw {draws} samples: give a positive number")
    if draws > MAX_NUMBERS // count:
        raise PotentialError(
            f"{source}: {draws} samples of {count} parameters do not fit in memory: draw at most {MAX_NUMBERS // count}"
        )
    if seed < 0:
        raise PotentialError(f"{source}: the random seed is {seed}: give one that is not negative")
    factor = covariance_factor(matrix, source)
    if factor.shape[1] < count and not allow_singular:
        raise PotentialError(
            f"{source}: the covariance is singular, of rank {factor.shape[1]} for {count} parameters; allow this "
            "(--allow-singular) if the variance of some parameters or combinations is meant to vanish"
        )
    if not accept_mean:
        _require_near(centre, np.sqrt(np.diag(matrix)), parameters, source)
    coordinates = np.random.default_rng(seed).standard_normal((draws, factor.shape[1]))
    origin = matrix.tobytes() + centre.tobytes() + f"{draws} {seed}".encode()
    return Ensemble(centre + coordinates @ factor.T, parameters.names, source, factor, coordinates, origin)


def as_ensemble(given: Any, parameters: Parameters) -> Ensemble:
    """Convert to an ensemble whatever describes one.

    Parameters
    ----------
    given : Ensemble, (S, P) array_like, path-like, or fitted linear model
        For paths see `read_ensemble`, for models `from_regression`.
    parameters : Parameters
        Of the potential.

    Returns
    -------
    Ensemble

    Raises
    ------
    PotentialError
        If it does not fit the potential.
    """
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
    """Ensemble of a fitted linear model whose features are the potential's descriptors, in the same order.

    Parameters
    ----------
    model : POPSRegression, or a scikit-learn model such as BayesianRidge
        With ``coef_`` (P,), and either ``posterior_samples_`` (P, S), deviations from it, or the covariance ``sigma_``
        (P, P).
    parameters, draws, seed, allow_singular
        See `from_covariance`; posterior samples are taken as they are.

    Returns
    -------
    Ensemble

    Raises
    ------
    PotentialError
        If the model was not fitted, has an intercept or no uncertainties, or does not fit the potential.
    """
    source = type(model).__name__
    coefficients = np.ravel(np.asarray(getattr(model, "coef_", np.nan), float))
    if np.isnan(coefficients).all():
        raise PotentialError(f"{source} has not been fitted")
    features = getattr(model, "feature_names_in_", None)
    if features is not None:
        _require_same_order([str(name) for name in features], parameters, source)
    posterior = getattr(model, "posterior_samples_", None)
    intercept = np.any(getattr(model, "intercept_", 0.0))
    if intercept or (posterior is not None and len(posterior) != len(coefficients)):
        raise PotentialError(f"{source}: fit it without intercept: the constant term is one of the parameters")
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
    covariance: bool = False,
    accept_mean: bool = False,
) -> Ensemble:
    """Read an ensemble from a file or a folder.

    Parameters
    ----------
    path : path-like
        ``.npy``: samples (S, P). ``.npz``: ``samples`` (S, P), or ``covariance`` (P, P) and optionally ``mean`` (P,);
        ``names`` (P,) and ``potential_sha256`` are checked if present. ``.csv``: one row per sample, optionally below a
        line of labels. A folder: all its ``.snapcoeff`` files.
    parameters : Parameters
        Of the potential.
    draws, seed, allow_singular
        For a covariance; see `from_covariance`.
    covariance : bool
        Whether a ``.npy`` or ``.csv`` file holds a covariance (P, P) instead of samples; in a ``.csv`` file labels may
        head columns, or columns and rows.
    accept_mean : bool
        Whether the mean may be far from the potential's parameters.

    Returns
    -------
    Ensemble

    Raises
    ------
    PotentialError
        If it cannot be read or does not fit the potential.
    """
    file = Path(path)
    if not file.exists():
        raise PotentialError(f"ensemble {path} does not exist")
    kind = "folder" if file.is_dir() else file.suffix.lower()
    if kind not in ("folder", ".csv", ".npy", ".npz"):
        raise PotentialError(f"ensemble {path}: expected .npy, .npz, .csv or a folder of .snapcoeff files")
    if kind == "folder":
        arrays: dict[str, Any] = {"samples": read_folder(file, parameters)}
    elif kind == ".csv":
        table, labels = read_csv(file, covariance)
        arrays = {"samples": table}
        for given in labels:
            _require_same_order(given, parameters, file.name)
    else:
        arrays = read_numpy(file)
    _require_made_for(arrays, parameters, file.name)
    if covariance and "samples" in arrays:
        if kind in ("folder", ".npz"):
            raise PotentialError(f"{file.name}: --covariance was given, but it holds samples: leave the option out")
        arrays["covariance"] = arrays.pop("samples")
    if "covariance" in arrays:
        mean, matrix = arrays.get("mean"), arrays["covariance"]
        return from_covariance(matrix, parameters, mean, draws, seed, allow_singular, file.name, accept_mean)
    if "samples" not in arrays:
        raise PotentialError(f"{file.name} has neither 'samples' nor 'covariance', but {', '.join(arrays)}")
    return from_samples(arrays["samples"], parameters, file.name, accept_mean)


def _require_made_for(arrays: dict[str, Any], parameters: Parameters, source: str) -> None:
    """Refuse arrays that say that they are of other parameters or of another potential, or that are ambiguous."""
    if "names" in arrays:
        _require_same_order([str(name) for name in np.ravel(arrays["names"])], parameters, source)
    made_for = str(arrays.get("potential_sha256", parameters.digest))
    if made_for != parameters.digest:
        raise PotentialError(
            f"{source}: the ensemble is for another potential: its coefficient file has SHA-256 {made_for[:12]}…, "
            f"that of the result {parameters.digest[:12]}…"
        )
    if "covariance" in arrays and "samples" in arrays:
        raise PotentialError(f"{source} has both 'samples' and 'covariance': remove one")


def _numbers(given: ArrayLike, source: str) -> FloatArray:
    """As an array of floats."""
    try:
        array = np.asarray(given)
        if array.dtype.kind not in "fiu":
            raise ValueError(f"type {array.dtype}")
        return array.astype(float)
    except (TypeError, ValueError) as error:
        raise PotentialError(f"{source}: not an array of numbers ({error})") from None


def _is_symmetric(array: FloatArray) -> bool:
    """Whether an array is a square matrix that equals its transpose."""
    if array.shape[0] != array.shape[1]:
        return False
    return bool(np.abs(array - array.T).max() <= SYMMETRIC * np.abs(array).max())


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
    """Refuse an ensemble that is unrelated to the potential: columns without labels may be any numbers."""
    # A parameter without spread may differ by the rounding of files with six digits.
    offset = np.abs(mean - parameters.theta) / np.maximum(spread, 1e-6 * np.abs(parameters.theta) + 1e-300)
    if not float(np.median(offset)) <= MAX_OFFSET:
        raise PotentialError(
            f"{source}: the mean of the ensemble is {np.median(offset):.3g} standard deviations away from the "
            "potential's parameters (median over parameters): is it for another potential? Pass --accept-mean "
            "(accept_mean=True in Python) if it is meant"
        )
