"""Terms of a loss over one or several minima, with value and gradient with respect to the parameters.

All terms but those that users write are sums of squares ½ Σ r², whose second derivative is approximated by JᵀJ of the
residuals (Gauss-Newton). A gradient takes one solve per structure, whatever the number of parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Union

import numpy as np

from lammps_implicit.arrays import BoolArray, FloatArray, IntArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.mpi.shutdown import all_arrive
from lammps_implicit.observables.kind import Cells, Measure
from lammps_implicit.stationary.point import StationaryPoint

_PATIENCE = 10.0
"""Seconds that a rank whose function failed waits for the others. Chosen: ranks may differ in what they compute, and a
job in which one has failed is to end within 20 s."""

UserFunction = Callable[[StationaryPoint], Union[tuple[float, FloatArray], tuple[float, FloatArray, FloatArray]]]
"""Loss of one minimum: returns its value, ∂L/∂X (n, 3) and, if it depends on the cell, ∂L/∂ε (k,); see `UserTerm`."""


@dataclass(frozen=True)
class Contribution:
    """Value of a loss or a term, and its derivatives with respect to the parameters.

    Attributes
    ----------
    value : float
    gradient : (P,) float array
        Per unit of each parameter.
    curvature : (P, P) float array or None
        Gauss-Newton approximation JᵀJ of the second derivative; None if it was not requested or is not known.
    """

    value: float
    gradient: FloatArray
    curvature: FloatArray | None = None


class Term(Protocol):
    """Interface of a term of a loss. Methods are called on all ranks and return the same on each."""

    @property
    def name(self) -> str:
        """Unique name, used in the history."""
        ...

    def value(self, cells: Cells) -> float:
        """Value for the present state of the cells, without any solve."""
        ...

    def contribution(self, cells: Cells, tol: float, curvature: bool) -> Contribution:
        """Value and derivatives for the present state of the cells.

        Parameters
        ----------
        cells : mapping of str to StationaryPoint
            By name.
        tol : float
            Relative tolerance of linear solves.
        curvature : bool
            Whether the curvature is needed.
        """
        ...


@dataclass(frozen=True)
class Positions:
    """Target positions: ½ Σ_i w_i |x_i - t_i|² over selected atoms.

    Differences x - t are between nearest images. Their weighted mean is subtracted along directions in which the whole
    structure can be translated. Rows are distributed over the ranks independently of who owns the atoms; use
    `positions` to make such a term.

    Attributes
    ----------
    cell : str
        Name of the cell.
    ids : (n,) int array
        Ids of the rows that this rank holds; every atom of the cell has a row on one rank.
    target : (n, 3) float array
        Å.
    weights : (n,) float array
        Å⁻²; zero for atoms that were not selected.
    name : str
        Of the term.
    """

    cell: str
    ids: IntArray
    target: FloatArray
    weights: FloatArray
    name: str = "positions"

    def _residuals(self, minimum: StationaryPoint) -> tuple[FloatArray, FloatArray, FloatArray]:
        """x - t of this rank's atoms (n, 3), their weights (n,), and lattice vectors to the nearest images (n, 3)."""
        engine = minimum.engine
        rows = fetch(engine.comm, self.ids, np.column_stack([self.target, self.weights]), minimum.ids)
        residuals, weights = engine.nearest_image(minimum.positions - rows[:, :3]), rows[:, 3]
        shift = residuals - (minimum.positions - rows[:, :3])
        return residuals - self._translation(minimum, residuals, weights), weights, shift

    def _translation(self, minimum: StationaryPoint, array: FloatArray, weights: FloatArray) -> FloatArray:
        """Weighted mean over atoms of (n, ..., 3) along the directions of free translation, zero along others."""
        engine = minimum.engine
        free: BoolArray = np.array([not engine.any(bool((~engine.free[:, axis]).any())) for axis in range(3)])
        if engine.external:
            free[:] = False
        total = np.asarray(engine.sum(np.einsum("n,n...->...", weights, array)))
        return np.where(free, total / float(engine.sum(float(weights.sum()))), 0.0)

    def value(self, cells: Cells) -> float:
        return self.pull(cells[self.cell])[0]

    def pull(self, minimum: StationaryPoint) -> tuple[float, FloatArray]:
        """Value, and gradient ∂L/∂X with respect to the positions of this rank's atoms, (n, 3)."""
        residuals, weights, _ = self._residuals(minimum)
        return self._half_square(minimum, residuals, weights), weights[:, None] * residuals

    def _half_square(self, minimum: StationaryPoint, residuals: FloatArray, weights: FloatArray) -> float:
        return 0.5 * float(minimum.engine.sum(float(weights @ (residuals**2).sum(axis=1))))

    def contribution(self, cells: Cells, tol: float, curvature: bool) -> Contribution:
        minimum = cells[self.cell]
        residuals, weights, shift = self._residuals(minimum)
        value, pull = self._half_square(minimum, residuals, weights), weights[:, None] * residuals
        strained_shift = np.zeros((len(pull), 0, 3))
        if minimum.cell != "none":  # lattice vectors between an atom and its target deform with the cell
            tensors = minimum.cell_system(tol, minimum.cell).freedom.tensors()
            strained_shift = np.einsum("kab,nb->nka", tensors, shift)
        if not curvature:
            if minimum.cell == "none":
                return Contribution(value, minimum.vjp(pull, tol))
            strain_cotangent = np.asarray(minimum.engine.sum(np.einsum("na,nka->k", pull, strained_shift)))
            gradient = minimum.vjp(pull, tol, cell=minimum.cell, strain_cotangent=strain_cotangent)
            return Contribution(value, gradient)
        jacobian = minimum.jacobian(tol, cell=minimum.cell)
        patterns = np.moveaxis(jacobian.left, 0, 1).copy()  # (n, r, 3), those of strains last
        patterns[:, patterns.shape[1] - strained_shift.shape[1] :] += strained_shift
        patterns = patterns - self._translation(minimum, patterns, weights)
        gram = np.asarray(minimum.engine.sum(np.einsum("n,nra,nsa->rs", weights, patterns, patterns, optimize=True)))
        slopes = np.asarray(minimum.engine.sum(np.einsum("na,nra->r", pull, patterns)))
        return Contribution(value, jacobian.right @ slopes, jacobian.right @ gram @ jacobian.right.T)


def positions(
    cells: Cells,
    cell: str,
    ids: IntArray,
    target: FloatArray,
    weights: FloatArray | None = None,
    name: str = "positions",
) -> Positions:
    """Make a term of target positions for selected atoms of a cell; called on all ranks.

    Parameters
    ----------
    cells : mapping of str to StationaryPoint
    cell : str
        Name of the cell.
    ids : (m,) int array
        Ids of atoms; each selected atom on one rank, whichever owns it.
    target : (m, 3) float array
        Their target positions, Å; any periodic image.
    weights : (m,) float array, optional
        Å⁻²; default one.
    name : str
        Of the term.

    Returns
    -------
    Positions

    Raises
    ------
    LammpsImplicitError
        If the cell does not have an atom, or no atom with a positive weight is given.
    """
    minimum = cells[cell]
    comm, engine = minimum.engine.comm, minimum.engine
    weights = np.ones(len(ids)) if weights is None else weights
    known = fetch(comm, minimum.ids, np.ones(len(minimum.ids), np.int64), ids, missing=0)
    if engine.any(not known.all()):
        example = engine.max(float(ids[known == 0].max(initial=-1)))
        raise LammpsImplicitError(f"{name}: the target names atom {example:.0f}, which {cell} does not have")
    if not engine.sum(float(weights.sum())) > 0:
        raise LammpsImplicitError(f"{name}: no atom of {cell} is selected; give ids with positive weights")
    rows = fetch(comm, ids, np.column_stack([target, weights]), minimum.ids, missing=0.0)
    return Positions(cell, minimum.ids.copy(), rows[:, :3], rows[:, 3], name)


@dataclass(frozen=True)
class Number:
    """Target value of any scalar observable f: ½ ((f - target) / scale)².

    Attributes
    ----------
    name : str
        Of the term.
    observable : callable
        Takes the cells and the order of the derivatives, 0 or 1, and returns an `Observable`.
    target, scale : float
        In the units of the observable.
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
    """Penalty for changes of the parameters, ½ (Θ - Θ₀)ᵀ A (Θ - Θ₀).

    Attributes
    ----------
    centre : (P,) float array
        Θ₀.
    precision : (P, P) float array
        A: diagonal for a ridge, or the inverse of a covariance.
    name : str
        Of the term.
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
        gradient = self.precision @ change
        return Contribution(0.5 * float(change @ gradient), gradient, self.precision if curvature else None)


@dataclass(frozen=True)
class UserTerm:
    """Any loss of one minimum, with its derivatives with respect to positions and strains.

    Attributes
    ----------
    cell : str
        Name of the cell.
    function : callable
        Takes the minimum and returns (value, ∂L/∂X) or, for a relaxed cell, (value, ∂L/∂X, ∂L/∂ε). The value is the
        same on all ranks. ∂L/∂X, (n, 3), is for this rank's atoms. ∂L/∂ε, (k,), is the same on all ranks; it is taken
        at fixed Cartesian positions, with respect to the k strains that the cell may take. For example, with ``basis =
        minimum.freedom.basis``, ∂V/∂ε of the volume is ``V * basis[:3].sum(axis=0)``.
    name : str
        Of the term.
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
            If the function fails, or returns something else than expected.
        """
        engine = minimum.engine
        try:
            found = _Evaluated.of(self.function(minimum))
            problem = found.problem(minimum)
        except SystemExit as error:
            found, problem = _Evaluated(0.0, np.zeros(0), None), f"sys.exit({error.code!r}) was called"
        except Exception as error:  # the user's code may raise anything
            found, problem = _Evaluated(0.0, np.zeros(0), None), f"{type(error).__name__}: {error}"
        # The others may be waiting, inside the function, for a rank that failed in it.
        patience = np.inf if problem is None else _PATIENCE
        if engine.aside is not None and not all_arrive(engine.aside, patience):
            raise LammpsImplicitError(f"{self.name}: {problem}, on rank {engine.comm.rank} but not on all")
        problems = [text for text in engine.comm.allgather(problem) if text]
        if problems:
            raise LammpsImplicitError(
                f"{self.name}: {problems[0]}; the function must return (value, ∂L/∂X of this rank's atoms), and ∂L/∂ε "
                "as a third if it depends on a relaxed cell"
            )
        numbers = [found.value, *(() if found.strain_cotangent is None else found.strain_cotangent)]
        if any(engine.max(float(number)) != -engine.max(-float(number)) for number in numbers):
            raise LammpsImplicitError(
                f"{self.name}: the value or ∂L/∂ε differs between ranks; sum over ranks with minimum.engine.sum"
            )
        return found


class _Evaluated(NamedTuple):
    """Value and derivatives that a user's function returned."""

    value: float
    pull: FloatArray
    strain_cotangent: FloatArray | None

    @classmethod
    def of(cls, given: tuple[float, FloatArray] | tuple[float, FloatArray, FloatArray]) -> _Evaluated:
        """From (value, ∂L/∂X) or (value, ∂L/∂X, ∂L/∂ε)."""
        value, pull, *more = given
        strain = np.asarray(more[0], float) if more else None
        if len(more) > 1:
            raise ValueError(f"it returned {len(given)} values")
        return cls(float(value), np.asarray(pull, float), strain)

    def problem(self, minimum: StationaryPoint) -> str:
        """Describe what is wrong with the values for this minimum; empty if nothing is."""
        if self.pull.shape != minimum.positions.shape:
            return f"∂L/∂X has shape {self.pull.shape}, not {minimum.positions.shape}"
        strain = np.zeros(0) if self.strain_cotangent is None else self.strain_cotangent
        if not (np.isfinite(self.value) and np.isfinite(self.pull).all() and np.isfinite(strain).all()):
            return "the value or a derivative is not finite"
        if self.strain_cotangent is None:
            return ""
        if minimum.cell == "none":
            return "∂L/∂ε of a cell that is held fixed (relax the cell under some strains: 'cell: iso', ...)"
        names = minimum.freedom.names
        return "" if strain.shape == (len(names),) else f"∂L/∂ε has shape {strain.shape}, not ({len(names)},)"
