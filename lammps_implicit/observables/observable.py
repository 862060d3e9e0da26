"""A number that depends on the parameters, with its derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Observable:
    """A value and how it depends on Θ.

    Attributes
    ----------
    value : float or array
        Of shape (...).
    gradient : (P, ...) float array
        Per unit of each parameter.
    hessian : (P, P) float array or None
        Where it is known, for numbers only.
    units : str
    """

    value: FloatArray
    gradient: FloatArray
    units: str
    hessian: FloatArray | None = None

    def predict(self, dtheta: ArrayLike) -> FloatArray:
        """Value at Θ + δΘ to the highest order known, (S..., ...) for δΘ of shape (S..., P)."""
        changes = np.asarray(dtheta, float)
        predicted = self.value + np.tensordot(changes, self.gradient, axes=1)
        if self.hessian is not None:
            predicted = predicted + 0.5 * np.einsum("...p,pq,...q->...", changes, self.hessian, changes)
        return np.asarray(predicted)

    def deviation(self, covariance: ArrayLike) -> FloatArray:
        """Standard deviation to first order for parameters with this covariance, (P, P)."""
        flat = self.gradient.reshape(len(self.gradient), -1)
        variance = np.einsum("pm,pq,qm->m", flat, np.asarray(covariance, float), flat)
        return np.sqrt(variance).reshape(self.gradient.shape[1:])


def combine(terms: Sequence[tuple[float, Observable]], constant: float = 0.0) -> Observable:
    """Σ weight · observable + constant; the second derivative is known where that of each is."""
    weights, parts = [weight for weight, _ in terms], [part for _, part in terms]
    value = sum((w * p.value for w, p in terms), np.float64(constant))
    gradient = np.sum([w * p.gradient for w, p in terms], axis=0)
    hessian = None
    if all(part.hessian is not None for part in parts):
        hessian = np.einsum("k,kpq->pq", weights, np.array([part.hessian for part in parts]))
    return Observable(np.asarray(value), gradient, parts[0].units, hessian)
