"""Forward propagation: the distribution of every observable over an ensemble of parameters, from derivatives alone.

Each sample's change is summed to every order that is known. The size of the last term, and by how much structures
respond to the sample, estimate how large the next term may be. Samples for which that is more than a share of the
change itself, or of the ensemble's spread, are flagged: they lie outside the range in which the series can be trusted.
So are samples for which the stiffness of some softest mode changes by half: displacements along it are divided by that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.ensembles.ensemble import Ensemble
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.observables.observable import Observable
from lammps_implicit.response.cubic import ResponseMetric

QUANTILES = (0.025, 0.16, 0.5, 0.84, 0.975)

ORDERS = ("first", "second", "third")

LIMIT = 0.1
"""Share of a change, or of the spread, that an estimated error may be."""

COVERED = 0.9
"""Share of the structures' response that has to lie along the directions of third derivatives."""

BLOCK = 8192
"""Samples evaluated at a time."""

COMPONENTS = 0.999
"""Share of the ensemble's (scaled) variance that its principal directions hold together."""


@dataclass(frozen=True)
class Principal:
    """Principal directions of an ensemble, parameters scaled to unit variance.

    Attributes
    ----------
    vectors : (P, r) float array
        One standard deviation along each, falling in variance.
    shares : (r,) float array
        Of the variance of the scaled parameters.
    scores : (S, r) float array
        Coordinates of the samples, in standard deviations.
    """

    vectors: FloatArray
    shares: FloatArray
    scores: FloatArray


@dataclass(frozen=True)
class Distribution:
    """One observable over an ensemble.

    Attributes
    ----------
    value : float
        At the potential's own parameters.
    units : str
    estimates : (O, S) float array
        Of each sample, to first, second, ... order.
    error : (S,) float array
        Estimate for the highest order; not a number where only the first is known, or where nothing says by how much
        structures respond.
    flagged : (S,) bool array
        Where the estimated error is too large.
    parameter_shares : (P,) float array
        Of the variance to first order that goes with each parameter alone: its squared correlation with the observable.
        They add up to one where the parameters are independent.
    direction_shares : (r,) float array
        Of the variance to first order, for each principal direction.
    """

    value: float
    units: str
    estimates: FloatArray
    error: FloatArray
    flagged: NDArray[np.bool_]
    parameter_shares: FloatArray
    direction_shares: FloatArray

    @property
    def orders(self) -> tuple[str, ...]:
        """Names of the orders."""
        return ORDERS[: len(self.estimates)]

    @property
    def mean(self) -> FloatArray:
        """Of each order, (O,)."""
        return self.estimates.mean(axis=1)

    @property
    def deviation(self) -> FloatArray:
        """Standard deviation of each order, (O,)."""
        return self.estimates.std(axis=1)

    @property
    def spread(self) -> float:
        """Half the width of the middle 68 % of the highest order: a deviation that samples far off do not decide."""
        return robust_spread(self.estimates[-1])

    @property
    def quantiles(self) -> FloatArray:
        """`QUANTILES` of the highest order."""
        return np.quantile(self.estimates[-1], QUANTILES)


@dataclass(frozen=True)
class Propagation:
    """Every observable over an ensemble.

    Attributes
    ----------
    ensemble : Ensemble
    distributions : dict of str to Distribution
    principal : Principal
    limit : float
        Above which estimated errors flag a sample.
    """

    ensemble: Ensemble
    distributions: dict[str, Distribution]
    principal: Principal
    limit: float

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Samples that some observable flags, (S,)."""
        found = np.zeros(len(self.ensemble.samples), bool)
        for distribution in self.distributions.values():
            found |= distribution.flagged
        return found


def propagate(
    observables: Mapping[str, Observable],
    theta: FloatArray,
    ensemble: Ensemble,
    limit: float = LIMIT,
    response_metric: ResponseMetric | None = None,
) -> Propagation:
    """Evaluate observables for all samples.

    Parameters
    ----------
    observables : mapping of str to Observable
        Numbers, not arrays.
    theta : (P,) float array
        Parameters that their derivatives were taken at.
    ensemble : Ensemble
    limit : float
    response_metric : ResponseMetric, optional
        `LeadingDirections.response_metric`, where third derivatives were taken.

    Raises
    ------
    LammpsImplicitError
        If an observable is not a number, the limit not positive, or the ensemble varies other directions than those
        that third derivatives were taken along.
    """
    if not limit > 0:
        raise LammpsImplicitError(f"limit {limit:g} of the estimated error is not positive")
    for name, observable in observables.items():
        if observable.value.shape != ():
            raise LammpsImplicitError(f"{name} is an array of shape {observable.value.shape}: propagate its entries")
    principal = principal_directions(ensemble)
    covariance = ensemble.covariance
    responses = None if response_metric is None else _responses(response_metric, ensemble.changes(theta))
    found = {
        name: _distribution(observable, theta, ensemble, principal, covariance, limit, responses)
        for name, observable in observables.items()
    }
    return Propagation(ensemble, found, principal, limit)


def _responses(metric: ResponseMetric, changes: FloatArray) -> FloatArray:
    """By how much structures respond to each sample, (S,)."""
    share = metric.share(changes)
    if share < COVERED:
        raise LammpsImplicitError(
            f"only {share:.0%} of what moves structures in this ensemble lies along the directions of the third "
            "derivatives: run the command that wrote the result again, with --ensemble and this ensemble"
        )
    return metric.sizes(changes)


def principal_directions(ensemble: Ensemble) -> Principal:
    """Principal directions of an ensemble's parameters, scaled to unit variance."""
    centred = ensemble.samples - ensemble.samples.mean(axis=0)
    scale = centred.std(axis=0)
    units = np.where(scale > 0, scale, 1.0)
    scaled = centred / units
    values, vectors = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    values, vectors = np.clip(values[::-1], 0.0, None), vectors[:, ::-1]
    total = float(values.sum())
    if total == 0:
        return Principal(np.zeros((len(units), 0)), np.zeros(0), np.zeros((len(scaled), 0)))
    shares = values / total
    kept = slice(0, int(np.searchsorted(np.cumsum(shares), COMPONENTS) + 1))
    deviation = np.sqrt(values[kept])
    kept_vectors = vectors[:, kept]
    return Principal(
        units[:, None] * kept_vectors * deviation, shares[kept], scaled @ kept_vectors / np.maximum(deviation, 1e-300)
    )


def next_term(last: FloatArray, order: int, responses: FloatArray) -> FloatArray:
    """Size that the term after the last may have, (S,): that of the last for the average response, growing as a power.

    Measured ratios of one term to that before are 0.02 to 0.5. Terms of single samples pass through zero; the power of
    the response that they grow with does not.

    Parameters
    ----------
    last : (S,) float array
        Term of the highest order known.
    order : int
        Of that term.
    responses : (S,) float array
        By how much structures respond to each sample, one on average.
    """
    felt = float(np.mean(responses ** (2 * order)))
    return np.sqrt(np.mean(last**2) / felt) * responses ** (order + 1) if felt > 0 else np.zeros_like(last)


def robust_spread(values: FloatArray) -> float:
    """Half the distance between the quantiles 0.16 and 0.84."""
    low, high = np.quantile(values, [0.16, 0.84])
    return float(high - low) / 2


def _distribution(
    observable: Observable,
    theta: FloatArray,
    ensemble: Ensemble,
    principal: Principal,
    covariance: FloatArray,
    limit: float,
    responses: FloatArray | None,
) -> Distribution:
    basis, coordinates = ensemble.factored(theta)
    reduced = observable if basis is None else observable.along(basis)
    blocks = [coordinates[first : first + BLOCK] for first in range(0, len(coordinates), BLOCK)]
    terms = np.concatenate([np.stack(reduced.terms(block)) for block in blocks], axis=1)  # (O, S)
    estimates = float(observable.value) + np.cumsum(terms, axis=0)
    error = np.full(terms.shape[1], np.nan)
    if responses is not None and len(terms) > 1:
        error = next_term(terms[-1], len(terms), responses)
    change = np.abs(terms.sum(axis=0))
    allowed = limit * np.maximum(change, robust_spread(estimates[-1]))
    bound = np.inf if observable.bound is None else observable.bound
    felt = covariance @ observable.gradient
    variance = float(observable.gradient @ felt)
    alone = variance * np.diag(covariance)
    along = principal.vectors.T @ observable.gradient
    return Distribution(
        float(observable.value),
        observable.units,
        estimates,
        error,
        (error > allowed) | (change > bound),  # never where neither is known
        np.divide(felt**2, alone, out=np.zeros(len(theta)), where=alone > 0),
        along**2 / variance if variance > 0 else np.zeros(len(along)),
    )
