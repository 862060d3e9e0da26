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

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.minimum import Minimum
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.observables.observable import Observable

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

    Every atom has a row on some rank, not always the one that owns it; see `positions`.

    Attributes
    ----------
    cell : str
        Name of the minimum.
    ids : (n,) int array
        Of the rows that this rank holds.
    target : (n, 3) float array
        Å.
    weights : (n,) float array
        Å⁻²; zero for atoms that were not chosen.
    name : str
    """

    cell: str
    ids: NDArray[np.int64]
    target: FloatArray
    weights: FloatArray
    name: str = "positions"

    def _missing(self, minimum: Minimum) -> tuple[FloatArray, FloatArray, FloatArray]:
        """x - t of this rank's atoms, their weights, and the cell vectors in between; (n, 3), (n,), (n, 3)."""
        engine = minimum.engine
        rows = fetch(engine.comm, self.ids, np.column_stack([self.target, self.weights]), minimum.ids)
        apart, weights = engine.nearest_image(minimum.positions - rows[:, :3]), rows[:, 3]
        shift = apart - (minimum.positions - rows[:, :3])
        return apart - self._drift(minimum, apart, weights), weights, shift

    def _drift(self, minimum: Minimum, array: FloatArray, weights: FloatArray) -> FloatArray:
        """Weighted mean over atoms along directions in which all may be moved together, (3,) or (..., 3)."""
        engine = minimum.engine
        free = np.array([not engine.any(bool((~engine.free[:, axis]).any())) for axis in range(3)])
        if engine.external:
            free[:] = False
        total = np.asarray(engine.sum(np.einsum("n,n...->...", weights, array)))
        return np.where(free, total / float(engine.sum(float(weights.sum()))), 0.0)

    def value(self, cells: Cells) -> float:
        return self.pull(cells[self.cell])[0]

    def pull(self, minimum: Minimum) -> tuple[float, FloatArray]:
        """Its value, and ∂L/∂X of this rank's atoms, (n, 3)."""
        apart, weights, _ = self._missing(minimum)
        return self._half_square(minimum, apart, weights), weights[:, None] * apart

    def _half_square(self, minimum: Minimum, apart: FloatArray, weights: FloatArray) -> float:
        return 0.5 * float(minimum.engine.sum(float(weights @ (apart**2).sum(axis=1))))

    def contribution(self, cells: Cells, tol: float, curvature: bool) -> Contribution:
        minimum = cells[self.cell]
        apart, weights, shift = self._missing(minimum)
        value, pull = self._half_square(minimum, apart, weights), weights[:, None] * apart
        carried = np.zeros((len(pull), 0, 3))
        if minimum.cell != "none":  # cell vectors between an atom and its target follow the strain
            tensors = minimum.cell_system(tol, minimum.cell).freedom.tensors()
            carried = np.einsum("kab,nb->nka", tensors, shift)
        if not curvature:
            if minimum.cell == "none":
                return Contribution(value, minimum.vjp(pull, tol))
            felt = np.asarray(minimum.engine.sum(np.einsum("na,nka->k", pull, carried)))
            return Contribution(value, minimum.vjp(pull, tol, cell=minimum.cell, strain_cotangent=felt))
        jacobian = minimum.jacobian(tol, cell=minimum.cell)
        patterns = np.moveaxis(jacobian.left, 0, 1).copy()  # (n, r, 3), those of strains last
        patterns[:, patterns.shape[1] - carried.shape[1] :] += carried
        patterns = patterns - self._drift(minimum, patterns, weights)
        between = np.asarray(minimum.engine.sum(np.einsum("n,nra,nsa->rs", weights, patterns, patterns, optimize=True)))
        felt = np.asarray(minimum.engine.sum(np.einsum("na,nra->r", pull, patterns)))
        return Contribution(value, jacobian.right @ felt, jacobian.right @ between @ jacobian.right.T)


def positions(
    cells: Cells,
    cell: str,
    ids: NDArray[np.int64],
    target: FloatArray,
    weights: FloatArray | None = None,
    name: str = "positions",
) -> Positions:
    """Term of target positions for some atoms of a cell, (m,) ids and (m, 3) positions on any ranks, each on one.

    Raises
    ------
    LammpsImplicitError
        If the cell has no such atoms.
    """
    minimum = cells[cell]
    comm, engine = minimum.engine.comm, minimum.engine
    weights = np.ones(len(ids)) if weights is None else weights
    known = fetch(comm, minimum.ids, np.ones(len(minimum.ids), np.int64), ids, missing=0)
    if engine.any(not known.all()):
        example = engine.max(float(ids[known == 0].max(initial=-1)))
        raise LammpsImplicitError(f"{name}: the target names atom {example:.0f}, which {cell} does not have")
    if not engine.sum(float(weights.sum())) > 0:
        raise LammpsImplicitError(f"{name}: no atom of {cell} is chosen")
    rows = fetch(comm, ids, np.column_stack([target, weights]), minimum.ids, missing=0.0)
    return Positions(cell, minimum.ids.copy(), rows[:, :3], rows[:, 3], name)


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
        return self._evaluated(cells[self.cell])[0]

    def contribution(self, cells: Cells, tol: float, curvature: bool) -> Contribution:
        minimum = cells[self.cell]
        value, pull = self._evaluated(minimum)
        return Contribution(value, minimum.vjp(pull, tol, cell=minimum.cell))

    def _evaluated(self, minimum: Minimum) -> tuple[float, FloatArray]:
        """What the function says, checked: it is not ours."""
        engine = minimum.engine
        try:
            given = self.function(minimum)
            value, pull = float(given[0]), np.asarray(given[1], float)
            wrong = "" if pull.shape == minimum.positions.shape else f"∂L/∂X has shape {pull.shape}"
            wrong = wrong or ("" if np.isfinite(value) and np.isfinite(pull).all() else "it is not finite")
        except Exception as error:  # whatever the user's code raises
            value, pull, wrong = 0.0, np.zeros(0), f"{type(error).__name__}: {error}"
        if engine.any(bool(wrong)):
            why = wrong or "it failed on another rank"
            raise LammpsImplicitError(f"{self.name}: {why}; (value, ∂L/∂X of this rank's atoms) is expected")
        if engine.max(value) != -engine.max(-value):
            raise LammpsImplicitError(f"{self.name}: another value on each rank; sum it with minimum.engine.sum")
        return value, pull
