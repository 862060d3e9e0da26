"""Forward propagation: the distribution of every observable over an ensemble of parameters, from derivatives alone.

For each sample, the Taylor series of an observable is summed to every order that is known. The first term left out is
estimated from the last one known and from the size of the structural response to the sample; the error of the
second-order term is added where it is known. A sample is flagged, that is outside the trust range, if this estimate
exceeds a given share of the change and of the ensemble's spread, if the stiffness of a softest mode changes by half
(displacements along that mode are inversely proportional to it), or if that of one of the next modes falls below a
quarter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import BoolArray, FloatArray
from lammps_implicit.ensembles.ensemble import Ensemble
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.observables.observable import Observable
from lammps_implicit.response.cubic import ResponseMetric

QUANTILES = (0.025, 0.16, 0.5, 0.84, 0.975)
"""Median and the limits of the central 68 % and 95 %: one and two standard deviations of a normal distribution."""

ORDERS = ("first", "second", "third")
"""Names of the orders of Taylor terms."""

LIMIT = 0.1
"""Default of the largest estimated error of a sample that is trusted, relative to its change or the ensemble's spread.

The accuracy that is asked for: smaller values flag more samples. Measured with it: all 20 samples of 1,000 whose error
exceeds 10 % are flagged (benchmarks/README.md).
"""

MIN_COVERAGE = 0.9
"""Smallest share of the structural response to an ensemble that must lie along the directions of third derivatives.

Third-order terms of the rest are missing; with less, errors would be underestimated.
"""

BLOCK = 8192
"""Samples evaluated at a time: bounds the memory of intermediate arrays."""

EXPLAINED_VARIANCE = 0.999
"""Share of the variance of the (scaled) parameters that the principal directions explain together."""


@dataclass(frozen=True)
class PrincipalDirections:
    """Principal directions of an ensemble whose parameters are scaled to unit variance.

    Attributes
    ----------
    vectors : (P, r) float array
        Change of the parameters by one standard deviation along each direction, in order of decreasing variance.
    shares : (r,) float array
        Share of each direction in the variance of the scaled parameters.
    scores : (S, r) float array
        Coordinates of the samples along the directions, in standard deviations.
    """

    vectors: FloatArray
    shares: FloatArray
    scores: FloatArray


@dataclass(frozen=True)
class Distribution:
    """Distribution of one observable over an ensemble.

    Attributes
    ----------
    value : float
        Value at the potential's own parameters.
    units : str
        Of the observable.
    estimates : (O, S) float array
        Value for each sample to first, second, ... order.
    error : (S,) float array
        Estimated error of the highest order: the first term left out, and the error of the second-order term where it
        is known; NaN if only the first order is known, or the structural response is not.
    flagged : (S,) bool array
        Samples outside the trust range of this observable.
    parameter_shares : (P,) float array
        Share of the variance to first order that each parameter alone explains: its squared correlation with the
        observable. The shares add up to one if the parameters are independent.
    direction_shares : (r,) float array
        Share of the variance to first order of each principal direction.
    """

    value: float
    units: str
    estimates: FloatArray
    error: FloatArray
    flagged: BoolArray
    parameter_shares: FloatArray
    direction_shares: FloatArray

    @property
    def orders(self) -> tuple[str, ...]:
        """Names of the orders known."""
        return ORDERS[: len(self.estimates)]

    @property
    def mean(self) -> FloatArray:
        """Mean to each order, (O,)."""
        return self.estimates.mean(axis=1)

    @property
    def deviation(self) -> FloatArray:
        """Standard deviation to each order, (O,)."""
        return self.estimates.std(axis=1)

    @property
    def spread(self) -> float:
        """Half the width of the central 68 % to the highest order: a standard deviation that is robust to outliers."""
        return _robust_spread(self.estimates[-1])

    @property
    def quantiles(self) -> FloatArray:
        """`QUANTILES` to the highest order, (5,)."""
        return np.quantile(self.estimates[-1], QUANTILES)


@dataclass(frozen=True)
class Propagation:
    """Distributions of observables over an ensemble.

    Attributes
    ----------
    ensemble : Ensemble
    distributions : dict of str to Distribution
        By observable.
    principal : PrincipalDirections
        Of the ensemble.
    limit : float
        Relative estimated error above which a sample is flagged.
    """

    ensemble: Ensemble
    distributions: dict[str, Distribution]
    principal: PrincipalDirections
    limit: float

    @property
    def flagged(self) -> BoolArray:
        """Samples that are flagged for any observable, (S,)."""
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
    """Evaluate observables for all samples of an ensemble.

    Parameters
    ----------
    observables : mapping of str to Observable
        Scalars.
    theta : (P,) float array
        Parameters at which their derivatives were taken.
    ensemble : Ensemble
    limit : float
        Largest estimated error of a sample that is trusted, relative to the larger of its change and the spread.
    response_metric : ResponseMetric, optional
        `LeadingDirections.response_metric` of the third derivatives. Without it no errors are estimated.

    Returns
    -------
    Propagation

    Raises
    ------
    LammpsImplicitError
        If an observable is not a scalar, the limit is not positive, a number overflows, or the ensemble varies along
        other directions than those of the third derivatives.
    """
    if not limit > 0:
        raise LammpsImplicitError(f"limit {limit:g} of the estimated error is not positive")
    for name, observable in observables.items():
        if observable.value.shape != ():
            raise LammpsImplicitError(f"{name} is an array of shape {observable.value.shape}: propagate its entries")
    principal = _principal_directions(ensemble)
    covariance = ensemble.covariance
    responses = None if response_metric is None else _response_sizes(response_metric, ensemble.changes(theta))
    with np.errstate(over="ignore", invalid="ignore"):
        found = {
            name: _distribution(observable, theta, ensemble, principal, covariance, limit, responses)
            for name, observable in observables.items()
        }
    return Propagation(ensemble, found, principal, limit)


def _response_sizes(metric: ResponseMetric, changes: FloatArray) -> FloatArray:
    """Size of the structural response to each sample, (S,)."""
    share = metric.share(changes)
    if share < MIN_COVERAGE:
        raise LammpsImplicitError(
            f"only {share:.0%} of the structural response to this ensemble lies along the directions of the third "
            "derivatives: run the command that wrote the result again, with --ensemble and this ensemble"
        )
    return metric.sizes(changes)


def _principal_directions(ensemble: Ensemble) -> PrincipalDirections:
    centred = ensemble.samples - ensemble.samples.mean(axis=0)
    scale = centred.std(axis=0)
    units = np.where(scale > 0, scale, 1.0)
    scaled = centred / units
    values, vectors = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    values, vectors = np.clip(values[::-1], 0.0, None), vectors[:, ::-1]
    total = float(values.sum())
    if total == 0:
        return PrincipalDirections(np.zeros((len(units), 0)), np.zeros(0), np.zeros((len(scaled), 0)))
    shares = values / total
    kept = slice(0, int(np.searchsorted(np.cumsum(shares), EXPLAINED_VARIANCE) + 1))
    deviation = np.sqrt(values[kept])
    kept_vectors = vectors[:, kept]
    return PrincipalDirections(
        units[:, None] * kept_vectors * deviation, shares[kept], scaled @ kept_vectors / np.maximum(deviation, 1e-300)
    )


def _next_term(last: FloatArray, order: int, responses: FloatArray) -> FloatArray:
    """Estimate the size of the first term that is left out, (S,).

    For a sample with an average response it is the root mean square of the last term known; it grows as response^(n+1),
    where n is the order of the last term. This is conservative: measured ratios of successive terms are 0.02 to 0.5.
    The term of a single sample cannot be used instead, because it may be zero by chance.

    Parameters
    ----------
    last : (S,) float array
        Term of the highest order known.
    order : int
        Order n of that term.
    responses : (S,) float array
        Size of the structural response to each sample, one on average.
    """
    moment = float(np.mean(responses ** (2 * order)))
    return np.sqrt(np.mean(last**2) / moment) * responses ** (order + 1) if moment > 0 else np.zeros_like(last)


def _robust_spread(values: FloatArray) -> float:
    low, high = np.quantile(values, [0.16, 0.84])
    return float(high - low) / 2


def _distribution(
    observable: Observable,
    theta: FloatArray,
    ensemble: Ensemble,
    principal: PrincipalDirections,
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
        error = _next_term(terms[-1], len(terms), responses)
        if observable.second_order_error is not None:
            error = error + float(observable.second_order_error) * responses**2
    change = np.abs(terms.sum(axis=0))
    allowed = limit * np.maximum(change, _robust_spread(estimates[-1]))
    bound = np.inf if observable.bound is None else observable.bound
    floor = -np.inf if observable.floor is None else observable.floor
    covariances = covariance @ observable.gradient  # of each parameter with the observable
    variance = float(observable.gradient @ covariances)
    variances = variance * np.diag(covariance)
    along = principal.vectors.T @ observable.gradient
    if not (np.isfinite(estimates).all() and np.isfinite(variance)):
        raise LammpsImplicitError("samples are so far from the result's parameters that numbers overflow")
    return Distribution(
        float(observable.value),
        observable.units,
        estimates,
        error,
        # Comparisons with NaN are false: unknown errors flag nothing.
        (error > allowed) | (change > bound) | (estimates[-1] < floor),
        np.divide(covariances**2, variances, out=np.zeros(len(theta)), where=variances > 0),
        along**2 / variance if variance > 0 else np.zeros(len(along)),
    )
