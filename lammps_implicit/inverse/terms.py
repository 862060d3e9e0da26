"""Terms of a loss over one or several minima: each gives its value and its gradient with respect to the parameters.

A term is a sum of squares ½ Σ r², except those that users write; then JᵀJ of its residuals approximates its second
derivative (Gauss and Newton). Gradients come from one solve a structure, whatever the number of parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.minimum import Minimum
from lammps_implicit.observables.observable import Observable

FloatArray = NDArray[np.float64]
Cells = Mapping[str, Minimum]


@dataclass(frozen=True)
class Contribution:
    """What a term adds to a loss.

    Attributes
    ----------
    value : float
    gradient : (P,) float array
    curvature : (P, P) float array or None
        JᵀJ of its residuals, if asked for; None where it has none.
    """

    value: float
    gradient: FloatArray
    curvature: FloatArray | None = None


class Term(Protocol):
    """Part of a loss."""

    @property
    def name(self) -> str:
        """Shown in the history."""
        ...

    def value(self, cells: Cells) -> float:
        """Its value at the cells as they stand, without any solve."""
        ...

    def contribution(self, cells: Cells, tol: float, curvature: bool) -> Contribution:
        """Value, gradient and, if asked for and known, curvature."""
        ...


@dataclass(frozen=True)
class Positions:
    """½ Σ_i w_i |x_i - t_i|² over chosen atoms, nearest images, the weighted mean removed where nothing holds it.

    Attributes
    ----------
    cell : str
        Name of the minimum.
    ids : (m,) int array
        Atoms, rising.
    target : (m, 3) float array
        Å.
    weights : (m,) float array
        Å⁻².
    name : str
    """

    cell: str
    ids: NDArray[np.int64]
    target: FloatArray
    weights: FloatArray
    name: str = "positions"

    def _missing(self, cells: Cells) -> tuple[FloatArray, FloatArray]:
        """x - t of this rank's atoms and their weights, zero for others; (n, 3), (n,)."""
        minimum = cells[self.cell]
        engine = minimum.engine
        rows = np.clip(np.searchsorted(self.ids, minimum.ids), 0, len(self.ids) - 1)
        chosen = self.ids[rows] == minimum.ids
        if int(engine.sum(int(chosen.sum()))) != len(self.ids):
            raise LammpsImplicitError(f"{self.name}: the target names atoms that {self.cell} does not have")
        weights = np.where(chosen, self.weights[rows], 0.0)
        apart = engine.nearest_image(minimum.positions - self.target[rows]) * chosen[:, None]
        return apart - chosen[:, None] * self._drift(minimum, apart, weights), weights

    def _drift(self, minimum: Minimum, array: FloatArray, weights: FloatArray) -> FloatArray:
        """Weighted mean over atoms along directions in which all may be moved together, (3,) or (..., 3)."""
        engine = minimum.engine
        free = np.array([not engine.any(bool((~engine.free[:, axis]).any())) for axis in range(3)])
        if engine.external:
            free[:] = False
        mean = np.asarray(engine.sum(np.einsum("n,n...->...", weights, array))) / float(
            engine.sum(float(weights.sum()))
        )
        return np.where(free, mean, 0.0)

    def value(self, cells: Cells) -> float:
        apart, weights = self._missing(cells)
        return 0.5 * float(cells[self.cell].engine.sum(float(weights @ (apart**2).sum(axis=1))))

    def contribution(self, cells: Cells, tol: float, curvature: bool) -> Contribution:
        minimum = cells[self.cell]
        apart, weights = self._missing(cells)
        value = 0.5 * float(minimum.engine.sum(float(weights @ (apart**2).sum(axis=1))))
        pull = weights[:, None] * apart
        if not curvature:
            gradient = minimum.vjp(pull, tol, cell=minimum.cell)
            return Contribution(value, gradient)
        jacobian = minimum.jacobian(tol, cell=minimum.cell)
        patterns = np.moveaxis(jacobian.left, 0, 1)  # (n, r, 3)
        patterns = patterns - self._drift(minimum, patterns, weights)
        between = np.asarray(minimum.engine.sum(np.einsum("n,nra,nsa->rs", weights, patterns, patterns, optimize=True)))
        felt = np.asarray(minimum.engine.sum(np.einsum("na,nra->r", pull, patterns)))
        return Contribution(value, jacobian.right @ felt, jacobian.right @ between @ jacobian.right.T)


@dataclass(frozen=True)
class Number:
    """½ ((f - target)/scale)² of any observable f, a number.

    Attributes
    ----------
    name : str
    observable : callable
        Cells and the order of derivatives, 0 or 1, to the observable.
    target, scale : float
    """

    name: str
    observable: Callable[[Cells, int], Observable]
    target: float
    scale: float = 1.0

    def value(self, cells: Cells) -> float:
        return 0.5 * ((float(self.observable(cells, 0).value) - self.target) / self.scale) ** 2

    def contribution(self, cells: Cells, tol: float, curvature: bool) -> Contribution:
        found = self.observable(cells, 1)
        residual, slope = (float(found.value) - self.target) / self.scale, found.gradient / self.scale
        return Contribution(0.5 * residual**2, residual * slope, np.outer(slope, slope) if curvature else None)


@dataclass(frozen=True)
class Prior:
    """½ (Θ - Θ₀)ᵀ A (Θ - Θ₀): a ridge, or the inverse of a covariance.

    Attributes
    ----------
    centre : (P,) float array
    precision : (P, P) float array
    name : str
    """

    centre: FloatArray
    precision: FloatArray
    name: str = "prior"

    def _change(self, cells: Cells) -> FloatArray:
        return next(iter(cells.values())).potential.theta - self.centre

    def value(self, cells: Cells) -> float:
        change = self._change(cells)
        return 0.5 * float(change @ self.precision @ change)

    def contribution(self, cells: Cells, tol: float, curvature: bool) -> Contribution:
        change = self._change(cells)
        pulled = self.precision @ change
        return Contribution(0.5 * float(change @ pulled), pulled, self.precision if curvature else None)


@dataclass(frozen=True)
class UserTerm:
    """Any function of one minimum's positions with its own ∂L/∂X.

    Attributes
    ----------
    cell : str
    function : callable
        The minimum to the value, on all ranks the same, and ∂L/∂X of this rank's atoms, (n, 3).
    name : str
    """

    cell: str
    function: Callable[[Minimum], tuple[float, FloatArray]]
    name: str = "user"

    def value(self, cells: Cells) -> float:
        return float(self.function(cells[self.cell])[0])

    def contribution(self, cells: Cells, tol: float, curvature: bool) -> Contribution:
        minimum = cells[self.cell]
        value, pull = self.function(minimum)
        return Contribution(float(value), minimum.vjp(pull, tol, cell=minimum.cell))
