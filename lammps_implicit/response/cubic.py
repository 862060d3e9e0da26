"""Third derivatives at one reference, along the leading directions of an ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lammps_implicit.arrays import FloatArray


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
    duals : (P, k) float array
        As for `Cubic`.
    tensor : (s, k, P) float array
        Arguments: a direction and any parameter.
    inner : (s, k, k) float array
        Arguments: two directions.
    """

    duals: FloatArray
    tensor: FloatArray
    inner: FloatArray

    def hessian(self, slopes: FloatArray) -> FloatArray:
        """Σ_s slopes_s d²e_s/dΘ², (P, P); terms with two arguments off the directions are left out."""
        half = self.duals @ np.tensordot(slopes, self.tensor, axes=1)
        whole = half + half.T - self.duals @ np.tensordot(slopes, self.inner, axes=1) @ self.duals.T
        return np.asarray((whole + whole.T) / 2)


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
        d²V/dΘ², Å³, accurate along the directions; None if the volume is fixed.
    softening : (m, P) float array
        d(ln κ)/dΘ of the stiffness κ of the softest modes, in their order. The minimum disappears where a κ vanishes.
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
    softening: FloatArray
    softening_errors: FloatArray
    asymmetry: float
