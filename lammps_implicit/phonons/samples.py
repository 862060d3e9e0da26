"""Frequencies of an ensemble of parameters, from force constants that are linear in them; what drives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.phonons.dynamical import AT_REST, Dynamics, Frequencies, from_squares
from lammps_implicit.phonons.study import Phonons

QUANTILES = (0.025, 0.16, 0.5, 0.84, 0.975)
"""Quantiles that are told: median, and the limits of one and two deviations of a normal distribution."""

GRID = 401
"""Frequencies at which densities of states are given."""

WIDTH = 0.015
"""Deviation of the Gaussians that densities of states are made of, relative to the range of frequencies. Chosen: about
twice the distance of frequencies of neighbouring points of the mesh."""


_NEAR = 0.15
"""Reciprocal lattice vectors between q-points, below which modes belong to one instability. Chosen."""


@dataclass(frozen=True)
class Spread:
    """Distribution of something over an ensemble.

    Attributes
    ----------
    mean, deviation : float arrays
    quantiles : (5, ...) float array
        At `QUANTILES`.
    """

    mean: FloatArray
    deviation: FloatArray
    quantiles: FloatArray

    @classmethod
    def of(cls, samples: FloatArray) -> Spread:
        """The distribution of samples, (S, ...)."""
        return cls(samples.mean(axis=0), samples.std(axis=0), np.quantile(samples, QUANTILES, axis=0))


@dataclass(frozen=True)
class Density:
    """A density of states; its integral is the number of branches.

    Attributes
    ----------
    frequencies, values : (G,) float arrays
    spread : Spread or None
        Of the values over an ensemble.
    """

    frequencies: FloatArray
    values: FloatArray
    spread: Spread | None = None


@dataclass(frozen=True)
class Sampled:
    """Frequencies of an ensemble.

    Attributes
    ----------
    bands : Spread
        Along the path, (Q, m).
    density : Density
    unstable : float
        Part of the samples with an imaginary frequency on the path.
    count : int
        Number of samples.
    """

    bands: Spread
    density: Density
    unstable: float
    count: int


def sampled_frequencies(dynamics: Dynamics, changes: FloatArray, qpoints: FloatArray) -> FloatArray:
    """Frequencies of samples, (S, Q, m), in ascending order; force constants are linear in the changes, (S, P)."""
    found = np.empty((len(changes), len(qpoints), dynamics.modes))
    for piece in dynamics.pieces(qpoints, len(changes)):
        matrices, slopes = dynamics.at(qpoints[piece], derivatives=True)
        samples = matrices + np.tensordot(changes, slopes[:-1], 1)  # the last is by the volume
        squares = np.linalg.eigvalsh(samples)
        squares[np.abs(squares) < AT_REST * dynamics.largest] = 0
        found[:, piece] = from_squares(squares, dynamics.crystal.frequency_factor)
    return found


def propagated(phonons: Phonons, changes: FloatArray) -> Sampled:
    """Distributions of bands and density of states over changes of the parameters, (S, P)."""
    dynamics = phonons.dynamics
    bands = sampled_frequencies(dynamics, changes, phonons.path.qpoints)
    on_mesh = sampled_frequencies(dynamics, changes, phonons.mesh_qpoints)
    limits = [np.quantile(on_mesh, 0.001), np.quantile(on_mesh, 0.999), phonons.mesh_bands.values.max()]
    grid = grid_of(float(min(limits[0], phonons.mesh_bands.values.min())), float(max(limits[1:])))
    densities = np.array([density_of(one, phonons.mesh_weights, grid) for one in on_mesh])
    plain = density_of(phonons.mesh_bands.values, phonons.mesh_weights, grid)
    unstable = float((bands < 0).any(axis=(1, 2)).mean())
    return Sampled(Spread.of(bands), Density(grid, plain, Spread.of(densities)), unstable, len(changes))


def plain_density(phonons: Phonons) -> Density:
    """The density of states without an ensemble."""
    values = phonons.mesh_bands.values
    grid = grid_of(float(values.min()), float(values.max()))
    return Density(grid, density_of(values, phonons.mesh_weights, grid))


def grid_of(low: float, high: float) -> FloatArray:
    """Frequencies at which a density of states is given."""
    low = min(low, 0.0)
    pad = 5 * WIDTH * (high - low)
    return np.linspace(low - (pad if low < 0 else 0), high + pad, GRID)


def density_of(values: FloatArray, weights: IntArray, grid: FloatArray) -> FloatArray:
    """Density of states, (G,), of frequencies (M, m) at points of these weights."""
    step = grid[1] - grid[0]
    places = (values - grid[0]) / step
    whole = np.clip(np.floor(places).astype(int), 0, len(grid) - 2)
    part = np.clip(places - whole, 0.0, 1.0)
    share = np.broadcast_to((weights / weights.sum())[:, None], values.shape)
    counted = np.bincount(whole.ravel(), (share * (1 - part)).ravel(), len(grid))
    counted += np.bincount(whole.ravel() + 1, (share * part).ravel(), len(grid))
    width = WIDTH * (grid[-1] - grid[0]) / step
    return np.asarray(gaussian_filter1d(counted / step, width, mode="constant"))


@dataclass(frozen=True)
class Driver:
    """A parameter and what it does to a branch.

    Attributes
    ----------
    name : str
    effect : float
        Mean over the mesh of |dω/dΘ| times the deviation of the parameter.
    """

    name: str
    effect: float


def drivers(phonons: Phonons, names: Sequence[str], deviations: FloatArray, count: int = 3) -> list[list[Driver]]:
    """Parameters that move each branch most, the strongest first.

    Parameters
    ----------
    phonons : Phonons
    names : sequence of str
    deviations : (P,) float array
        Standard deviations of the parameters.
    count : int
        Parameters that are told.
    """
    weights = phonons.mesh_weights / phonons.mesh_weights.sum()
    slopes = np.abs(phonons.mesh_bands.derivatives[:, :, :-1])
    effects = np.einsum("q,qmk->mk", weights, slopes) * deviations
    most = np.argsort(-effects, axis=1, kind="stable")[:, :count]
    return [
        [Driver(names[k], float(row[k])) for k in chosen if row[k] > 0]
        for row, chosen in zip(effects, most, strict=True)
    ]


@dataclass(frozen=True)
class Unstable:
    """An imaginary mode.

    Attributes
    ----------
    qpoint : (3,) float array
    name : str
        Of the q-point, if it has one.
    frequency : float
        The imaginary part, positive.
    remedies : list of (str, float)
        Parameters, and relative changes that make its squared frequency vanish to first order; the least first.
    """

    qpoint: FloatArray
    name: str
    frequency: float
    remedies: list[tuple[str, float]]


def unstable_modes(phonons: Phonons, names: Sequence[str], theta: FloatArray, count: int = 3) -> list[Unstable]:
    """The lowest imaginary modes: at the ends of segments of the path, and where they are lowest of all.

    Of those that are alike by symmetry or near each other one is told.

    Parameters
    ----------
    phonons : Phonons
    names : sequence of str
    theta : (P,) float array
    count : int
        Modes, and parameters of each, that are told.
    """
    path = phonons.path
    ends: dict[int, str] = {}
    for begin, end, labels in zip(path.breaks[:-1], path.breaks[1:], path.labels, strict=True):
        ends |= {int(begin): labels[0], int(end) - 1: labels[1]}
    found = []
    for qpoints, bands, places in (
        (path.qpoints, phonons.bands, {_lowest(phonons.bands): ""} | ends),
        (phonons.mesh_qpoints, phonons.mesh_bands, {_lowest(phonons.mesh_bands): ""}),
    ):
        for place, name in places.items():
            if bands.values[place, 0] < 0:
                steep = bands.relative[place, 0, :-1] * theta
                most = [k for k in np.argsort(-np.abs(steep), kind="stable")[:count] if steep[k]]
                remedies = [(names[k], float(-1 / steep[k])) for k in most]
                found.append(Unstable(qpoints[place], name, -float(bands.values[place, 0]), remedies))
    told: list[Unstable] = []
    for mode in sorted(found, key=lambda mode: (-round(mode.frequency, 9), mode.name == "")):
        if len(told) < count and not any(_alike(mode, other) for other in told):
            told.append(mode)
    return told


def _lowest(bands: Frequencies) -> int:
    return int(np.argmin(bands.values[:, 0]))


def _alike(mode: Unstable, other: Unstable) -> bool:
    """Whether modes are of one frequency, as those that are equal by symmetry, or near each other."""
    apart = mode.qpoint - other.qpoint
    near = float(np.abs(apart - np.round(apart)).max()) < _NEAR
    return near or abs(mode.frequency - other.frequency) < 1e-4 * other.frequency
