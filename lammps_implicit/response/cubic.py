"""Third derivatives at one reference, along the leading directions of an ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lammps_implicit.arrays import FloatArray

KINKED = 0.5
"""Error of the second-order terms of strains, relative to what strains change by over the ensemble, beyond which these
terms are not used. Chosen: they then tell nothing."""


@dataclass(frozen=True)
class LeadingDirections:
    """The k directions of an ensemble to which structures respond most: uncorrelated, and orthogonal in `metric`.

    See `expansion.directions.leading_directions`.

    Attributes
    ----------
    vectors : (P, k) float array
        One standard deviation of the ensemble along each direction, units of Θ.
    duals : (P, k) float array
        ``changes @ duals`` are the coordinates of parameter changes along the directions.
    gains : (k,) float array
        Share of each direction in the energy gained by relaxation, averaged over the ensemble. They sum to one if the
        directions are complete.
    metric : (P, P) float array
        The size of a response is √(δΘᵀ metric δΘ), whose mean square over the ensemble is one.
    """

    vectors: FloatArray
    duals: FloatArray
    gains: FloatArray
    metric: FloatArray

    @property
    def share(self) -> float:
        """Share of all directions together in the energy gained by relaxation."""
        return float(self.gains.sum())

    def term_size(self, forms: FloatArray) -> FloatArray:
        """Size of ½ δΘᵀ A δΘ for a change with an average response, from its root mean square over the ensemble.

        Parameters
        ----------
        forms : (..., k, k) float array
            A, with both arguments along directions.
        """
        # For normal, uncorrelated coordinates w: ⟨(wᵀAw)²⟩ = tr A(A + Aᵀ) + (tr A)²; with A = diag(gains), ⟨response⁴⟩.
        squares = (
            np.sum(forms * (forms + np.swapaxes(forms, -1, -2)), axis=(-1, -2))
            + np.trace(forms, axis1=-2, axis2=-1) ** 2
        )
        fourth = 2 * np.sum(self.gains**2) + self.share**2
        return np.asarray(np.sqrt(squares / (4 * fourth))) if fourth > 0 else np.zeros(forms.shape[:-2])

    @property
    def response_metric(self) -> ResponseMetric:
        """The size of responses to changes of the parameters."""
        return ResponseMetric(self.metric, self.response)

    @property
    def response(self) -> FloatArray:
        """(P, k): ‖δΘ @ response‖ is the size of the response to the part of δΘ along the directions."""
        return self.duals * np.sqrt(self.gains)


class ResponseMetric(NamedTuple):
    """Size of the response of structures to changes of the parameters; its mean square over the ensemble is one.

    Attributes
    ----------
    metric : (P, P) float array
        See `LeadingDirections.metric`.
    response : (P, k) float array
        See `LeadingDirections.response`.
    """

    metric: FloatArray
    response: FloatArray

    def sizes(self, changes: FloatArray) -> FloatArray:
        """Size of the response to each change: (S,) for changes of shape (S, P)."""
        squares = np.einsum("sp,sp->s", changes @ self.metric, changes)
        return np.sqrt(np.clip(squares, 0.0, None))

    def share(self, changes: FloatArray) -> float:
        """Share of the directions in the sum of squares of these sizes, for changes of shape (S, P)."""
        total = float(np.sum(self.sizes(changes) ** 2))
        return float(np.sum((changes @ self.response) ** 2)) / total if total > 0 else 1.0


@dataclass(frozen=True)
class Cubic:
    """A third derivative d³f/dΘ³, known where at least two of its three arguments are directions.

    Attributes
    ----------
    duals : (P, k) float array
        ``changes @ duals`` are the coordinates of parameter changes along the directions.
    tensor : (k, k, P) float array
        Arguments: two directions and any parameter.
    inner : (k, k, k) float array
        Arguments: three directions.
    """

    duals: FloatArray
    tensor: FloatArray
    inner: FloatArray

    def term(self, changes: FloatArray) -> FloatArray:
        """Third-order term of the Taylor series, of shape (...) for changes of shape (..., P).

        The part of a change off the directions moves no atoms, so terms with it more than once are left out.
        """
        weights = changes @ self.duals
        bend = np.einsum("...a,...b->...ab", weights, weights)
        mixed = np.einsum("...ab,...ab->...", bend, np.einsum("abp,...p->...ab", self.tensor, changes, optimize=True))
        within = np.einsum("...ab,...ab->...", bend, np.einsum("abc,...c->...ab", self.inner, weights, optimize=True))
        return np.asarray((3 * mixed - 2 * within) / 6)


@dataclass(frozen=True)
class StrainBends:
    """Second derivatives of s strains, known where at least one of the two arguments is a direction.

    Attributes
    ----------
    directions : LeadingDirections
    slopes : (s, k) float array
        First derivatives along the directions.
    tensor : (s, k, P) float array
        Arguments: a direction and any parameter.
    inner : (s, k, k) float array
        Arguments: two directions.
    missed : (s, k, k) float array
        `inner` minus a second estimate, from the response to loads: an estimate of its error. It is conservative where
        forces have kinks within the ensemble, as loads see more of them.
    """

    directions: LeadingDirections
    slopes: FloatArray
    tensor: FloatArray
    inner: FloatArray
    missed: FloatArray

    def hessian(self, slopes: FloatArray) -> FloatArray:
        """Σ_s slopes_s d²e_s/dΘ², (P, P); terms with two arguments off the directions are left out."""
        duals = self.directions.duals
        half = duals @ np.tensordot(slopes, self.tensor, axes=1)
        whole = half + half.T - duals @ np.tensordot(slopes, self.inner, axes=1) @ duals.T
        return np.asarray((whole + whole.T) / 2)

    def error(self, slopes: FloatArray) -> float:
        """Estimated error of the second-order term of Σ_s slopes_s e_s for a change with an average response."""
        return float(self.directions.term_size(np.tensordot(slopes, self.missed, axes=1)))

    @property
    def relative_error(self) -> float:
        """Error of all second-order terms, relative to what strains change by over the ensemble, to both orders."""
        first, second = np.linalg.norm(self.slopes), np.linalg.norm(self.directions.term_size(self.inner))
        size = float(np.hypot(first, second))
        return float(np.linalg.norm(self.directions.term_size(self.missed))) / size if size > 0 else 0.0

    @property
    def known(self) -> bool:
        """Whether second derivatives are known well enough to be used: lattice parameters and volumes need them."""
        return self.relative_error <= KINKED

    @property
    def finding(self) -> str:
        """How well second derivatives are known, as commands print it."""
        found = f"strains to {self.relative_error:.1e}"
        if self.known:
            return found
        told = "volumes and lattice parameters are known to first order only: forces have kinks within the ensemble"
        return f"{found}; {told}"


@dataclass(frozen=True)
class ThirdDerivative:
    """Third derivatives of the relaxed enthalpy of one minimum, and quantities that follow from them.

    Attributes
    ----------
    cell : str
        Strains of the cell, such as ``iso``; ``none`` if it is fixed.
    directions : LeadingDirections
    enthalpy : Cubic
        Third derivative of the relaxed enthalpy, or energy at fixed cell.
    strains : StrainBends or None
        Second derivatives of the strains of the cell; None if it is fixed.
    volume_hessian : (P, P) float array or None
        d²V/dΘ², Å³, accurate along the directions; None if the volume is fixed, or known to first order only: see
        `StrainBends.known`.
    volume_error : float
        Estimated error of the volume's second-order term, Å³, for a change with an average response.
    softening : (m, P) float array
        d(ln |κ|)/dΘ of the stiffness κ of the softest modes, in their order. The minimum disappears where a κ vanishes;
        a saddle merges with a minimum where the first of its κ does, which is below zero.
    softening_errors : (m,) float array
        Estimated relative errors of `softening`: the angle to which a mode was found, or if several modes are hardly
        apart the largest difference of one from their mean.
    asymmetry : float
        Largest deviation of `enthalpy` from symmetry, relative to its largest element: an estimate of its error.
    """

    cell: str
    directions: LeadingDirections
    enthalpy: Cubic
    strains: StrainBends | None
    volume_hessian: FloatArray | None
    volume_error: float
    softening: FloatArray
    softening_errors: FloatArray
    asymmetry: float
