"""The softest modes of a Hessian: lowest eigenvalues θ of H v = θ M v, which vanish where a minimum ceases to exist.

M is a network of equal springs between neighbours, so that waves over the whole of a large cell do not count as soft.
It depends on positions only: the springs fitted to H depend on a random vector, and with them the order of modes that
are about as soft as each other (measured: another mode of a vacancy in W for each of four vectors).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import REACH, Evaluator
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.solvers.bonds import find_bonds
from lammps_implicit.solvers.interface import PRODUCT_SHARE, LinearSystem

DEGENERATE = 1e-2
"""Relative distance of eigenvalues up to which modes count as one group. Chosen: to tell them apart takes more than a
hundred products."""

_BOUND = 1e-3
"""Added to the diagonal of M, relative to its mean: atoms without a neighbour in reach have modes too. Chosen: waves of
more than a hundred atoms' length feel it."""

_STILL = 3
"""Iterations in succession whose estimated error is small enough that end a search: the estimate needs the next
eigenvalue, which may yet fall."""

_SOFT = 1e-4
"""Stiffness, relative to the largest, below which all modes count as equally soft. Chosen: zero is never far."""

_COARSE = 1e-3
"""Largest relative error of a Hessian product. Chosen: such products cost one evaluation."""

_SPENT = 1e-8
"""Part of a vector outside the space, relative to the vector, below which it is round-off."""

_MEMORY, _FEWEST = 2**29, 8
"""Bytes for the vectors of a search on each rank, and the number of vectors that is kept whatever they take. Chosen:
memory against iterations."""


@dataclass(frozen=True)
class Mode:
    """A displacement and its stiffness.

    Attributes
    ----------
    vector : (n, 3) float array
        v, of unit norm over all ranks.
    stiffness : float
        vᵀHv / vᵀMv, eV/Å²: of the same size for most modes, whatever the size of the cell.
    curvature : float
        vᵀHv / vᵀv, eV/Å².
    """

    vector: FloatArray
    stiffness: float
    curvature: float


@dataclass(frozen=True)
class EqualModes:
    """A mode, with those whose stiffness is the same or nearly so.

    Attributes
    ----------
    modes : tuple of Mode
        In order of their stiffness. Of modes that are equal by symmetry one may stand for all.
    error : float
        Estimated angle between them and what they stand for.
    """

    modes: tuple[Mode, ...]
    error: float


def equal_springs(engine: Evaluator) -> Callable[[FloatArray], FloatArray]:
    """Return the function v → M v for distributed (n, 3) arrays.

    M = Σ_bonds w(r) (e_i - e_j)(e_i - e_j)ᵀ + a small multiple of the identity, with w = 1 - r / reach.
    """
    n = len(engine.ids)
    around = engine.neighbourhood()
    bonds, spacing = find_bonds(engine, around, REACH)
    lengths = np.concatenate([np.zeros(0), *(bonds.directions(part)[1] for _, part in bonds.chunks(n))])
    weights = 1.0 - lengths / (REACH * spacing)
    links = sparse.csr_matrix((weights, (bonds.start, bonds.end)), shape=(n, len(around.ids)))
    held = np.asarray(links.sum(axis=1))
    mean = engine.sum(float(held.sum())) / engine.n_atoms
    held = held + _BOUND * (mean if mean > 0 else 1.0)
    ids = engine.ids.copy()

    def product(v: FloatArray) -> FloatArray:
        return engine.constrain(held * v - links @ fetch(engine.comm, ids, v, around.ids))

    return product


def softest_modes(
    system: LinearSystem,
    metric: Callable[[FloatArray], FloatArray],
    start: FloatArray,
    tol: float,
    most: int,
    count: int = 1,
) -> list[EqualModes]:
    """Return the modes of the lowest eigenvalues of H v = θ M v, to a given angle or as near as can be.

    Davidson's method: Rayleigh and Ritz in a space to which K⁻¹r is added, with the residual r = Hv - θMv and the
    springs K that precondition H (E. R. Davidson, J. Comput. Phys. 17, 87 (1975)).

    Parameters
    ----------
    system : LinearSystem
        H may have negative curvatures.
    metric : callable
        Maps v to M v, (n, 3) arrays: see `equal_springs`.
    start : (n, 3) float array
        First vector of the space. A random one sees modes of every symmetry.
    tol : float
        Angle to which the modes are found.
    most : int
        Limit on the number of Hessian products.
    count : int
        Number of eigenvalues, of which those within `DEGENERATE` of each other count as one; there may be fewer.
    """
    return _searched(system, metric, [start], tol, most, count)[0]


def negative_modes(
    system: LinearSystem,
    metric: Callable[[FloatArray], FloatArray],
    starts: Sequence[FloatArray],
    tol: float,
    most: int,
    count: int,
) -> list[Mode]:
    """Return the modes with negative eigenvalues, the lowest first, as far as a search for the lowest ones sees them.

    There are at least as many negative eigenvalues as negative Ritz values (Cauchy's interlacing theorem). Of modes
    that are equal by symmetry a space that starts from one vector has one only: as many are seen as there are `starts`.

    Parameters
    ----------
    system, metric, tol, most, count
        As for `softest_modes`.
    starts : sequence of (n, 3) float arrays
        First vectors of the space, random ones.
    """
    _, space = _searched(system, metric, starts, tol, most, count)
    return [space.mode(int(index)) for index in np.flatnonzero(space.values < 0)]


def _searched(
    system: LinearSystem,
    metric: Callable[[FloatArray], FloatArray],
    starts: Sequence[FloatArray],
    tol: float,
    most: int,
    count: int,
) -> tuple[list[EqualModes], _Space]:
    """Search for the softest modes, and return them with the space in which they were found."""
    engine, project = system.engine, system.null_space.project
    accuracy = min(_COARSE, PRODUCT_SHARE * tol)
    v, *waiting = map(project, starts)
    space = _Space(engine, lambda v: project(metric(v)), project)
    if engine.norm(v) == 0:  # only rigid motions are possible
        return [EqualModes((Mode(v, 1.0, system.stiffness),), 0.0)], space
    room = int(np.clip(_MEMORY // max(72 * v.size, 1), _FEWEST, most))
    found: list[EqualModes] = []
    error, still = 1.0, 0
    for _ in range(most):
        if not space.add(v, lambda v: project(system.operator(v, accuracy, None))):
            # Every direction that H leads to has been seen.
            rest = space.groups_above(found)[: count - len(found)]
            return found + [EqualModes(tuple(map(space.mode, group)), 0.0) for group in rest], space
        values, groups = space.values, space.groups_above(found)
        group = groups[0] if groups else [len(values) - 1]
        residuals = [space.ritz(space.products, i) - values[i] * space.ritz(space.pulled, i) for i in group]
        down = [system.preconditioned(residual) for residual in residuals]
        sizes = [max(engine.dot(a, b), 0.0) for a, b in zip(residuals, down, strict=True)]
        error, following = 1.0, group[-1] + 1
        if following < len(values):
            # An error of v is (H - θM)⁻¹r. It is largest along the next mode λ, where H⁻¹ = (λM)⁻¹, and K⁻¹ is like it.
            # A mode that has not shown yet may be as soft.
            gap = min(values[following] - values[group[-1]], max(abs(values[group[0]]), _SOFT * values[-1]))
            error = min(1.0, float(np.sqrt(sum(sizes) * max(values[following], abs(values[group[0]]))) / gap))
        still = still + 1 if error <= tol else 0
        if still == _STILL:
            # Kept as they are now: of modes that are equal by symmetry others come in later, and not as accurate.
            found.append(EqualModes(tuple(map(space.mode, group)), error))
            if len(found) == count:
                return found, space
            still = 0
        v = waiting.pop() if waiting else down[int(np.argmax(sizes))]
        if len(values) == room:
            space.reduce(room // 2)
    return [*found, EqualModes(tuple(map(space.mode, group)), error)], space


class _Space:
    """Vectors that are orthonormal in M, their products with M and H, and the Ritz values of H in their space.

    Attributes
    ----------
    vectors, pulled, products : lists of (n, 3) float arrays
        v, Mv and Hv.
    values : (m,) float array
        Ritz values, in ascending order.
    """

    def __init__(
        self, engine: Evaluator, metric: Callable[[FloatArray], FloatArray], project: Callable[[FloatArray], FloatArray]
    ) -> None:
        self.engine = engine
        self.metric = metric
        self.project = project
        self.vectors: list[FloatArray] = []
        self.pulled: list[FloatArray] = []
        self.products: list[FloatArray] = []
        self.values = np.zeros(0)
        self._gram = np.zeros((0, 0))
        self._weights = np.zeros((0, 0))

    def groups_above(self, found: list[EqualModes]) -> list[list[int]]:
        """Indices of Ritz values above those of modes found before, in groups within `DEGENERATE` of their lowest."""
        groups: list[list[int]] = []
        below = -np.inf if not found else _reach(found[-1].modes[0].stiffness)
        for index in np.flatnonzero(self.values > below):
            if groups and self.values[index] <= _reach(self.values[groups[-1][0]]):
                groups[-1].append(int(index))
            else:
                groups.append([int(index)])
        return groups

    def mode(self, index: int) -> Mode:
        """One of the Ritz vectors."""
        v, stiffness = self.ritz(self.vectors, index), float(self.values[index])
        size = self.engine.norm(v)
        return Mode(v / size, stiffness, stiffness / size**2)

    def ritz(self, arrays: list[FloatArray], index: int) -> FloatArray:
        """One of the lists, combined to a Ritz vector."""
        total = np.zeros_like(arrays[0])
        for weight, array in zip(self._weights[:, index], arrays, strict=True):
            total += weight * array
        return total

    def add(self, v: FloatArray, product: Callable[[FloatArray], FloatArray]) -> bool:
        """Add a vector, (n, 3), and its product with H; False if it lies in the space already."""
        left = 1.0
        for _ in range(2):  # the second time for what round-off leaves, which small rests show
            v = self.project(v)
            pulled = self.metric(v)
            before = np.sqrt(max(self.engine.dot(v, pulled), 0.0))
            for weight, other, of_other in zip(self._along(v, self.pulled), self.vectors, self.pulled, strict=True):
                v, pulled = v - weight * other, pulled - weight * of_other
            size = np.sqrt(max(self.engine.dot(v, pulled), 0.0))
            left *= size / before if before > 0 else 0.0
            if not left > _SPENT:
                return False
            v, pulled = v / size, pulled / size
        self.vectors.append(v)
        self.pulled.append(pulled)
        self.products.append(product(self.vectors[-1]))
        column = self._along(self.vectors[-1], self.products)
        self._gram = np.block([[self._gram, column[:-1, None]], [column[None, :]]])
        self.values, self._weights = np.linalg.eigh(self._gram)
        return True

    def reduce(self, count: int) -> None:
        """Keep the space of the lowest Ritz vectors only."""
        for arrays in (self.vectors, self.pulled, self.products):
            arrays[:] = [self.ritz(arrays, index) for index in range(count)]
        self.values, self._weights = self.values[:count], np.eye(count)
        self._gram = np.diag(self.values)

    def _along(self, v: FloatArray, arrays: list[FloatArray]) -> FloatArray:
        """Inner products with each of some arrays, (m,)."""
        return np.asarray(self.engine.sum(np.array([np.vdot(array, v) for array in arrays], float)))


def _reach(value: float) -> float:
    """The largest eigenvalue that counts as equal to one."""
    return value + DEGENERATE * abs(value)
