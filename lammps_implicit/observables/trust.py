"""How far the parameters may change before the first derivative of an observable no longer tells its change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.observables.observable import Observable

SHARE = 0.1
"""Largest second-order term in a trust radius, relative to the first-order term. As the default limit of
``propagate``."""


@dataclass(frozen=True)
class TrustRadius:
    """Relative changes of the parameters up to which second-order terms are at most `SHARE` of first-order ones.

    With S = diag(|Θ|), b = S g and M = S H S of an observable with gradient g and second derivative H.

    Attributes
    ----------
    scattered : float
        r, where each parameter changes by a normally distributed relative amount of deviation r, independently of the
        others: the root mean squares of the terms are r |b| and ½ r² √(2 |M|² + (tr M)²). Infinite for an observable
        that is linear, zero for one without a gradient.
    steepest : float
        r, where they change along r S b/|b|, the direction of the largest first-order term of all relative changes of
        norm r: the terms are r |b| and ½ r² bᵀMb/|b|².
    """

    scattered: float
    steepest: float


def trust_radius(observable: Observable, theta: FloatArray) -> TrustRadius | None:
    """Trust radius of the gradient of a scalar observable; None if its second derivative is not known.

    Parameters
    ----------
    observable : Observable
    theta : (P,) float array
        Parameters at which its derivatives were taken.
    """
    if observable.hessian is None or not len(theta):
        return None
    scale = np.abs(theta)
    slope, bend = scale * observable.gradient, scale[:, None] * observable.hessian * scale
    size = float(np.linalg.norm(slope))
    if size == 0:
        return TrustRadius(0.0, 0.0)
    scattered = np.sqrt(2 * np.sum(bend**2) + np.trace(bend) ** 2)
    steepest = abs(slope @ bend @ slope) / size**2
    return TrustRadius(*(float(2 * SHARE * size / term) if term > 0 else np.inf for term in (scattered, steepest)))
