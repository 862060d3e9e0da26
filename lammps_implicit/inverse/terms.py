"""Terms of a loss over one or several minima: each gives its value and its gradient with respect to the parameters.

A term is a sum of squares ½ Σ r², except those that users write; then JᵀJ of its residuals approximates its second
derivative (Gauss and Newton). Gradients come from one solve a structure, whatever the number of parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Union

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import strains
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.observables.kind import Cells, Measure
from lammps_implicit.stationary.point import StationaryPoint

UserFunction = Callable[[StationaryPoint], Union[tuple[float, FloatArray], tuple[float, FloatArray, FloatArray]]]
"""A loss of one minimum: its value, ∂L/∂X (n, 3) and, if it depends on the cell, ∂L/∂ε (k,)."""


@dataclass(frozen=True)
class Contribution:
    """Value and derivatives of a term with respect to the parameters.

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

    def _missing(self, minimum: StationaryPoint) -> tuple[FloatArray, FloatArray, FloatArray]:
        """x - t of this rank's atoms, their weights, and the cell vectors in between; (n, 3), (n,), (n, 3)."""
        engine = minimum.engine
        rows = fetch(engine.comm, self.ids, np.column_stack([self.target, self.weights]), minimum.ids)
        apart, weights = engine.nearest_image(minimum.positions - rows[:, :3]), rows[:, 3]
        shift = apart - (minimum.positions - rows[:, :3])
        return apart - self._drift(minimum, apart, weights), weights, shift

    def _drift(self, minimum: StationaryPoint, array: FloatArray, weights: FloatArray) -> FloatArray:
        """Weighted mean over atoms along directions in which all may be moved together, (3,) or (..., 3)."""
        engine = minimum.engine
        free = np.array([not engine.any(bool((~engine.free[:, axis]).any())) for axis in range(3)])
        if engine.external:
            free[:] = False
        total = np.asarray(engine.sum(np.einsum("n,n...->...", weights, array)))
        return np.where(free, total / float(engine.sum(float(weights.sum()))), 0.0)

    def value(self, cells: Cells) -> float:
        return self.pull(cells[self.cell])[0]

    def pull(self, minimum: StationaryPoint) -> tuple[float, FloatArray]:
        """Its value, and ∂L/∂X of this rank's atoms, (n, 3)."""
        apart, weights, _ = self._missing(minimum)
        return self._half_square(minimum, apart, weights), weights[:, None] * apart

    def _half_square(self, minimum: StationaryPoint, apart: FloatArray, weights: FloatArray) -> float:
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
    observable: Measure
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
    """Any loss of one minimum, with its own derivatives.

    Attributes
    ----------
    cell : str
        Name of the minimum.
    function : callable
        The minimum to (value, ∂L/∂X) or, for a relaxed cell, (value, ∂L/∂X, ∂L/∂ε). The value is the same on all ranks.
        ∂L/∂X, (n, 3), is of this rank's atoms. ∂L/∂ε, (k,), is the same on all ranks and at fixed Cartesian positions,
        with respect to the strains that the cell may take: with ``_, basis = cell.freedom.strains(minimum.cell)`` that
        of the volume V is ``V * basis[:3].sum(axis=0)``.
    name : str
    """

    cell: str
    function: UserFunction
    name: str = "user"

    def value(self, cells: Cells) -> float:
        return self._evaluated(cells[self.cell]).value

    def contribution(self, cells: Cells, tol: float, curvature: bool) -> Contribution:
        minimum = cells[self.cell]
        found = self._evaluated(minimum)
        gradient = minimum.vjp(found.pull, tol, cell=minimum.cell, strain_cotangent=found.strain_cotangent)
        return Contribution(found.value, gradient)

    def _evaluated(self, minimum: StationaryPoint) -> _Evaluated:
        """Call the function and check what it returns.

        Raises
        ------
        LammpsImplicitError
        """
        engine = minimum.engine
        try:
            found = _Evaluated.of(self.function(minimum))
            wrong = found.difference(minimum)
        except Exception as error:  # whatever the user's code raises
            found, wrong = _Evaluated(0.0, np.zeros(0), None), f"{type(error).__name__}: {error}"
        if engine.any(bool(wrong)):
            why = wrong or "it failed on another rank"
            raise LammpsImplicitError(
                f"{self.name}: {why}; (value, ∂L/∂X of this rank's atoms) is expected, and ∂L/∂ε after it for a loss "
                "that depends on a relaxed cell"
            )
        numbers = [found.value, *(() if found.strain_cotangent is None else found.strain_cotangent)]
        if any(engine.max(float(number)) != -engine.max(-float(number)) for number in numbers):
            raise LammpsImplicitError(
                f"{self.name}: another value, or another ∂L/∂ε, on each rank; sum it with minimum.engine.sum"
            )
        return found


class _Evaluated(NamedTuple):
    """What a user's function returned."""

    value: float
    pull: FloatArray
    strain_cotangent: FloatArray | None

    @classmethod
    def of(cls, given: tuple[float, FloatArray] | tuple[float, FloatArray, FloatArray]) -> _Evaluated:
        """Of (value, ∂L/∂X) or (value, ∂L/∂X, ∂L/∂ε)."""
        value, pull, *more = given
        strain = np.asarray(more[0], float) if more else None
        if len(more) > 1:
            raise ValueError(f"{len(given)} values")
        return cls(float(value), np.asarray(pull, float), strain)

    def difference(self, minimum: StationaryPoint) -> str:
        """Say what is not as it must be for this minimum; empty if all is."""
        if self.pull.shape != minimum.positions.shape:
            return f"∂L/∂X has shape {self.pull.shape}, not {minimum.positions.shape}"
        strain = np.zeros(0) if self.strain_cotangent is None else self.strain_cotangent
        if not (np.isfinite(self.value) and np.isfinite(self.pull).all() and np.isfinite(strain).all()):
            return "it is not finite"
        if self.strain_cotangent is None:
            return ""
        if minimum.cell == "none":
            return "∂L/∂ε of a cell that is held fixed (give the cell the strains it may take: 'cell: iso', ...)"
        names, _ = strains(minimum.cell)
        return "" if strain.shape == (len(names),) else f"∂L/∂ε has shape {strain.shape}, not ({len(names)},)"
