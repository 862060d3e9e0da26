"""An observable: a quantity that depends on the parameters Θ, with its derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from lammps_implicit.arrays import FloatArray
from lammps_implicit.response.cubic import Cubic

MAX_SOFTENING = 0.5
"""Relative change of the softest mode's stiffness κ beyond which predictions are not trusted.

Displacements along that mode are proportional to 1/κ, a series in δκ/κ that converges only below one; half of that is
chosen, which leaves a margin for the terms that the series omits.
"""

STABILITIES = ("stability", *(f"stability {k}" for k in range(2, 5)))
"""Names of the relative stiffnesses of the softest modes."""

LEFT = 0.25
"""Part of the stiffness of one of the next modes below which the structure may turn into another one. Chosen: above
zero by as much as a first-order prediction may be wrong; a mode that stiffens changes little."""


@dataclass(frozen=True)
class Observable:
    """A value and its derivatives with respect to the P parameters Θ.

    Attributes
    ----------
    value : (...) float array
        In `units`; of shape () for a scalar.
    gradient : (P, ...) float array
        First derivative, in `units` per unit of each parameter.
    units : str
    hessian : (P, P, ...) float array or None
        Second derivative, where known. For volumes and lattice parameters it is accurate only along the leading
        directions of an ensemble.
    cubic : Cubic or None
        Third derivative along the leading directions of an ensemble, where known.
    bound : float or None
        Change of this observable beyond which predictions of all observables are unreliable.
    floor : float or None
        Value of this observable below which they are.
    caution : str
        What finite changes see, where it differs from the derivatives.
    second_order_error : (...) float array or None
        Estimated error of the second-order term for a change to which structures respond as to an average sample of the
        ensemble, where known; it grows as the square of the response.
    cautions : mapping of tuple of int to str
        The same for entries of an array that have one of their own.
    """

    value: FloatArray
    gradient: FloatArray
    units: str
    hessian: FloatArray | None = None
    cubic: Cubic | None = None
    bound: float | None = None
    floor: float | None = None
    caution: str = ""
    second_order_error: FloatArray | None = None
    cautions: Mapping[tuple[int, ...], str] = field(default_factory=dict)

    def terms(self, changes: FloatArray) -> list[FloatArray]:
        """Taylor terms of first, second and third order, as far as they are known.

        Parameters
        ----------
        changes : (S..., P) float array
            δΘ.

        Returns
        -------
        list of (S..., ...) float array
        """
        terms = [np.asarray(np.tensordot(changes, self.gradient, axes=1))]
        if self.hessian is not None:
            along = changes.reshape(*changes.shape, *([1] * self.value.ndim))
            bent = along * np.tensordot(changes, self.hessian, axes=1)  # (S..., P, ...)
            terms.append(0.5 * np.asarray(bent.sum(axis=changes.ndim - 1)))
            if self.cubic is not None:
                terms.append(self.cubic.term(changes))
        return terms

    def predict(self, dtheta: ArrayLike) -> FloatArray:
        """Value at Θ + δΘ, to the highest order known.

        Parameters
        ----------
        dtheta : (S..., P) array_like
            δΘ.

        Returns
        -------
        (S..., ...) float array
        """
        return np.asarray(self.value + sum(self.terms(np.asarray(dtheta, float))))

    def along(self, basis: FloatArray) -> Observable:
        """The same observable as a function of r coordinates c, where δΘ = basis c.

        Parameters
        ----------
        basis : (P, r) float array

        Returns
        -------
        Observable
            With derivatives with respect to c.
        """
        gradient = np.asarray(np.tensordot(basis.T, self.gradient, axes=1))
        hessian = self.hessian
        if hessian is not None:
            hessian = np.einsum("pa,pq...,qb->ab...", basis, hessian, basis, optimize=True)
        cubic = self.cubic
        if cubic is not None:
            cubic = Cubic(basis.T @ cubic.duals, cubic.tensor @ basis, cubic.inner)
        return replace(self, gradient=gradient, hessian=hessian, cubic=cubic)

    def component(self, *index: int) -> Observable:
        """One entry of an array-valued observable, with its derivatives."""
        gradient, hessian, error = np.moveaxis(self.gradient, 0, -1)[index], None, None
        if self.hessian is not None:
            hessian = np.moveaxis(self.hessian, (0, 1), (-2, -1))[index]
        if self.second_order_error is not None:
            error = np.asarray(self.second_order_error[index])
        return Observable(
            np.asarray(self.value[index]),
            np.asarray(gradient),
            self.units,
            hessian,
            second_order_error=error,
            caution=self.cautions.get(index, self.caution),
        )

    def deviation(self, covariance: ArrayLike) -> FloatArray:
        """Standard deviation to first order, √(gᵀ Σ g), where the parameters have the covariance Σ.

        Parameters
        ----------
        covariance : (P, P) array_like

        Returns
        -------
        (...) float array
        """
        flat = self.gradient.reshape(len(self.gradient), -1)
        variance = np.einsum("pm,pq,qm->m", flat, np.asarray(covariance, float), flat)
        return np.sqrt(variance).reshape(self.gradient.shape[1:])


def combine(terms: Sequence[tuple[float, Observable]], constant: float = 0.0) -> Observable:
    """Linear combination Σ weight · observable + constant.

    Parameters
    ----------
    terms : sequence of (float, Observable)
        At least one; all in the same units.
    constant : float
        In the same units.

    Returns
    -------
    Observable
        With second and third derivatives if all terms have them; third derivatives must be along the same directions.
    """
    weights, parts = [weight for weight, _ in terms], [part for _, part in terms]
    value = sum((w * p.value for w, p in terms), np.float64(constant))
    gradient = np.sum([w * p.gradient for w, p in terms], axis=0)
    hessian = cubic = None
    if all(part.hessian is not None for part in parts):
        hessian = np.tensordot(weights, np.array([part.hessian for part in parts]), axes=1)
    cubics = [part.cubic for part in parts if part.cubic is not None]
    if len(cubics) == len(parts) and all(cubic_.duals is cubics[0].duals for cubic_ in cubics):
        tensor, inner = (
            np.einsum("k,kabp->abp", weights, np.array(arrays))
            for arrays in ([cubic_.tensor for cubic_ in cubics], [cubic_.inner for cubic_ in cubics])
        )
        cubic = Cubic(cubics[0].duals, tensor, inner)
    errors = [abs(w) * p.second_order_error for w, p in terms if p.second_order_error is not None]
    error = np.asarray(sum(errors)) if errors else None
    caution = next((part.caution for part in parts if part.caution), "")
    return Observable(
        np.asarray(value), gradient, parts[0].units, hessian, cubic, second_order_error=error, caution=caution
    )


def stabilities(softening: FloatArray) -> dict[str, Observable]:
    """Stiffnesses κ of the softest modes, relative to their values at the minimum.

    Where a κ reaches zero the minimum disappears. At a saddle the first is that of the negative mode, and where it
    reaches zero the saddle merges with a minimum.

    Parameters
    ----------
    softening : (m, P) float array
        d(ln κ)/dΘ; see `ThirdDerivative`.

    Returns
    -------
    dict of str to Observable
        With the names `STABILITIES`: dimensionless, with value one. The first has the bound `MAX_SOFTENING`, the
        others have the floor `LEFT`.
    """
    units = "of that at rest"
    found: dict[str, Observable] = {}
    for name, slope in zip(STABILITIES, softening, strict=False):  # there may be fewer modes
        bound, floor = (None, LEFT) if found else (MAX_SOFTENING, None)
        found[name] = Observable(np.asarray(1.0), slope, units, bound=bound, floor=floor)
    return found
