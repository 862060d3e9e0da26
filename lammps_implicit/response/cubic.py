"""Third derivatives along the directions of an ensemble: what is known of one reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lammps_implicit.arrays import FloatArray


@dataclass(frozen=True)
class LeadingDirections:
    """Combinations of parameters, of unit variance in an ensemble and independent of each other in the structure.

    Attributes
    ----------
    vectors : (P, k) float array
        One standard deviation along each.
    duals : (P, k) float array
        ``changes @ duals`` are the coordinates of changes along them.
    gains : (k,) float array
        Shares of the energy that relaxation gains over the ensemble; what is missing to one lies off the directions.
    metric : (P, P) float array
        √(δΘᵀ metric δΘ) is by how much structures respond to δΘ, one on average over the ensemble.
    """

    vectors: FloatArray
    duals: FloatArray
    gains: FloatArray
    metric: FloatArray

    @property
    def share(self) -> float:
        """Of the energy that relaxation gains over the ensemble, what they hold."""
        return float(self.gains.sum())

    @property
    def response_metric(self) -> ResponseMetric:
        """By how much structures respond to changes of the parameters."""
        return ResponseMetric(self.metric, self.response)

    @property
    def response(self) -> FloatArray:
        """(P, k): |δΘ @ response| is by how much structures respond to what δΘ has along the directions."""
        return self.duals * np.sqrt(self.gains)


class ResponseMetric(NamedTuple):
    """By how much structures respond to changes of the parameters, one on average over an ensemble.

    Attributes
    ----------
    metric : (P, P) float array
    response : (P, k) float array
        `LeadingDirections.metric` and `LeadingDirections.response`.
    """

    metric: FloatArray
    response: FloatArray

    def sizes(self, changes: FloatArray) -> FloatArray:
        """Of each change, (S,) for (S, P)."""
        squares = np.einsum("sp,sp->s", changes @ self.metric, changes)
        return np.sqrt(np.clip(squares, 0.0, None))

    def share(self, changes: FloatArray) -> float:
        """Of the squares of these sizes, what the directions hold."""
        total = float(np.sum(self.sizes(changes) ** 2))
        return float(np.sum((changes @ self.response) ** 2)) / total if total > 0 else 1.0


@dataclass(frozen=True)
class Cubic:
    """A third derivative, along directions in two of its three arguments.

    Attributes
    ----------
    duals : (P, k) float array
        ``changes @ duals`` are the coordinates of changes along the directions.
    tensor : (k, k, P) float array
        Directions as arguments one and two, any parameter as the third.
    inner : (k, k, k) float array
        Directions as all three.
    """

    duals: FloatArray
    tensor: FloatArray
    inner: FloatArray

    def term(self, changes: FloatArray) -> FloatArray:
        """Third-order term of the Taylor series, (...), for changes (..., P).

        What a change has besides the directions moves no atoms, and enters once only.
        """
        weights = changes @ self.duals
        bend = np.einsum("...a,...b->...ab", weights, weights)
        mixed = np.einsum("...ab,...ab->...", bend, np.einsum("abp,...p->...ab", self.tensor, changes, optimize=True))
        within = np.einsum("...ab,...ab->...", bend, np.einsum("abc,...c->...ab", self.inner, weights, optimize=True))
        return np.asarray((3 * mixed - 2 * within) / 6)


@dataclass(frozen=True)
class ThirdDerivative:
    """Third derivatives of one minimum's enthalpy, and what follows from them.

    Attributes
    ----------
    cell : str
        What the cell may do.
    directions : LeadingDirections
    enthalpy : Cubic
    volume_hessian : (P, P) float array or None
        d²V/dΘ², good along the directions; None where the volume is fixed.
    softening : (P,) float array
        d(ln κ)/dΘ of the stiffness κ of the softest mode: where κ falls to zero the minimum disappears.
    asymmetry : float
        By how much the tensor is not symmetric, relative to its size: its error.
    """

    cell: str
    directions: LeadingDirections
    enthalpy: Cubic
    volume_hessian: FloatArray | None
    softening: FloatArray
    asymmetry: float
