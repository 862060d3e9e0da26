"""A number that depends on the parameters, with its derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lammps_implicit.arrays import FloatArray
from lammps_implicit.response.cubic import Cubic

SOFTENED = 0.5
"""Relative change of the softest mode's stiffness up to which what depends on it is taken as a convergent series."""


@dataclass(frozen=True)
class Observable:
    """A value and its derivatives with respect to Θ.

    Attributes
    ----------
    value : float or array
        Of shape (...).
    gradient : (P, ...) float array
        Per unit of each parameter.
    hessian : (P, P) float array or None
        Where it is known, for numbers only; of volumes along an ensemble's directions.
    cubic : Cubic or None
        Third derivative along an ensemble's directions, where it is known.
    bound : float or None
        Change beyond which predictions of all observables mean little.
    units : str
    """

    value: FloatArray
    gradient: FloatArray
    units: str
    hessian: FloatArray | None = None
    cubic: Cubic | None = None
    bound: float | None = None

    def terms(self, changes: FloatArray) -> list[FloatArray]:
        """Terms of first, second and third order, as far as they are known, each (S..., ...) for δΘ (S..., P)."""
        terms = [np.asarray(np.tensordot(changes, self.gradient, axes=1))]
        if self.hessian is not None:
            terms.append(0.5 * np.einsum("...p,...p->...", changes @ self.hessian, changes))
            if self.cubic is not None:
                terms.append(self.cubic.term(changes))
        return terms

    def predict(self, dtheta: ArrayLike) -> FloatArray:
        """Value at Θ + δΘ to the highest order known, (S..., ...) for δΘ of shape (S..., P)."""
        return np.asarray(self.value + sum(self.terms(np.asarray(dtheta, float))))

    def along(self, basis: FloatArray) -> Observable:
        """The same as a function of coordinates c, δΘ = basis c, with `basis` (P, r)."""
        gradient = np.asarray(np.tensordot(basis.T, self.gradient, axes=1))
        hessian = None if self.hessian is None else basis.T @ self.hessian @ basis
        cubic = self.cubic
        if cubic is not None:
            cubic = Cubic(basis.T @ cubic.duals, cubic.tensor @ basis, cubic.inner)
        return Observable(self.value, gradient, self.units, hessian, cubic, self.bound)

    def component(self, *index: int) -> Observable:
        """One entry of an array of observables, with its gradient."""
        gradient = np.moveaxis(self.gradient, 0, -1)[index]
        return Observable(np.asarray(self.value[index]), np.asarray(gradient), self.units)

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
    hessian = cubic = None
    if all(part.hessian is not None for part in parts):
        hessian = np.einsum("k,kpq->pq", weights, np.array([part.hessian for part in parts]))
    cubics = [part.cubic for part in parts if part.cubic is not None]
    if len(cubics) == len(parts) and all(found.duals is cubics[0].duals for found in cubics):
        tensor, inner = (
            np.einsum("k,kabp->abp", weights, np.array(arrays))
            for arrays in ([found.tensor for found in cubics], [found.inner for found in cubics])
        )
        cubic = Cubic(cubics[0].duals, tensor, inner)
    return Observable(np.asarray(value), gradient, parts[0].units, hessian, cubic)


def stability(softening: FloatArray) -> Observable:
    """Stiffness of the softest mode, relative to that at the minimum: where it falls to zero the minimum ends.

    Parameters
    ----------
    softening : (P,) float array
        d(ln κ)/dΘ; see `ThirdDerivative`.
    """
    return Observable(np.asarray(1.0), softening, "of that at rest", bound=SOFTENED)
