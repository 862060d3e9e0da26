"""A model of the Hessian from a preconditioner and changes of force along past steps.

    B = K + R Qᵀ K + K Q Rᵀ + K Q (Qᵀ H Q - Qᵀ K Q) Qᵀ K,   R = H Q - K Q (Qᵀ H Q)

for past steps Q, orthonormal in K, and the changes H Q along them: the symmetric matrix nearest to K in its own metric
that explains them (M. J. D. Powell, in Nonlinear Programming, Academic Press (1970), for several steps at once). Unlike
L-BFGS it takes negative curvatures as they are.

Neither K nor B is ever formed. Steps are combinations of arrays whose product with K is known: K⁻¹ y of a change of
force y, K⁻¹ F, and past steps. In the space of all of these B is a small dense matrix; outside of it B is K.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator

_MEMORY = 30
"""Steps that are remembered. Chosen: more than a search for a saddle takes between two fits of the springs."""

_VALID_WITHIN = 0.1
"""Path of the atom that moves most after which a step tells nothing more, in units of the distance of neighbours.
Chosen."""

_SPENT = 1e-5
"""Size of a direction, relative to what it is the rest of, below which it is round-off."""

_NOTHING = 1e-300
"""Stands for the square of a norm that vanishes."""

_SEEN = 0.03
"""Part of an earlier step that later ones do not explain, relative to the step, below which it tells nothing more.
Chosen: forces along earlier steps differ by a few per cent from those that the present Hessian would cause."""


@dataclass(frozen=True)
class Pair:
    """An array and its product with K.

    Attributes
    ----------
    vector, product : (n, 3) float arrays
        v in Å, and K v in eV/Å.
    """

    vector: FloatArray
    product: FloatArray

    def __mul__(self, factor: float) -> Pair:
        return Pair(factor * self.vector, factor * self.product)


class CurvatureModel:
    """The model B, and its eigenvalues and eigenvectors in K.

    Parameters
    ----------
    engine : Evaluator
        Provides sums over ranks.
    precondition : callable
        v → K⁻¹v, (n, 3) arrays.

    Attributes
    ----------
    values : (d,) float array
        Eigenvalues of B v = λ K v in the space of all arrays, ascending; set by `spectrum`.
    """

    def __init__(self, engine: Evaluator, precondition: Callable[[FloatArray], FloatArray]) -> None:
        self.engine = engine
        self.precondition = precondition
        self.values = np.zeros(0)
        self._steps: list[Pair] = []
        self._changes: list[Pair] = []
        self._places_known: list[float] = []
        self._travelled = 0.0
        self._basis: list[Pair] = []
        self._transform = np.zeros((0, 0))
        self._vectors = np.zeros((0, 0))

    def __len__(self) -> int:
        return len(self._steps)

    def learn(self, step: Pair, change: FloatArray) -> None:
        """Add a step and the change of -F along it, (n, 3)."""
        size = self.size(step)
        if size > 0:
            step, change = step * (1 / size), change / size
            self._steps.append(step)
            self._changes.append(Pair(self.precondition(change), change))
            self._places_known.append(self._travelled)
        self._keep(_MEMORY)

    def moved(self, distance: float) -> None:
        """Say that the structure has moved, by this largest component, Å: what was learnt far away is forgotten."""
        self._travelled += distance
        self._keep(sum(place > self._travelled - _VALID_WITHIN * self.engine.spacing for place in self._places_known))

    def forget(self) -> None:
        """Discard all past steps."""
        self._keep(0)

    def _keep(self, count: int) -> None:
        for items in (self._steps, self._changes, self._places_known):
            del items[: max(len(items) - count, 0)]

    def spectrum(self, *further: Pair) -> None:
        """Find the eigenvectors of the model in the space of past steps, their changes and further arrays."""
        steps, changes = self._places(*further)
        self.values, self._vectors = np.linalg.eigh(_model(*_orthonormal(steps, changes)))

    def lowest(self) -> tuple[Pair, float, Pair]:
        """The lowest mode v in the space of past steps alone, its curvature λ in K, and K⁻¹r of r = Hv - λKv."""
        directions, products = _orthonormal(*self._places())
        values, vectors = np.linalg.eigh(_inside(directions, products))
        mode, product = directions @ vectors[:, 0], products @ vectors[:, 0]
        return self._pair(mode), float(values[0]), self._pair(product - values[0] * mode)

    def _places(self, *further: Pair) -> tuple[FloatArray, FloatArray]:
        """Coordinates of past steps and of their changes, (d, m) each, in which K is the identity."""
        sized = [pair * (1 / size) for pair in further if (size := self.size(pair)) > 0]
        self._basis = [*self._steps, *self._changes, *sized]
        gram = np.array([[np.vdot(a.vector, b.product) for b in self._basis] for a in self._basis], float)
        gram = np.asarray(self.engine.sum(gram))
        sizes = np.sqrt(np.maximum(np.diag(gram), _NOTHING))
        scaled = gram / np.outer(sizes, sizes)
        values, vectors = np.linalg.eigh((scaled + scaled.T) / 2)
        kept = values > _SPENT**2 * values.max(initial=0.0)
        roots = np.sqrt(values[kept])
        self._transform = vectors[:, kept] / roots / sizes[:, None]
        places = (vectors[:, kept] * roots).T * sizes
        count = len(self._steps)
        return places[:, :count], places[:, count : 2 * count]

    def along(self, pair: Pair | FloatArray) -> FloatArray:
        """Components vᵀg of a force g, (n, 3), or vᵀKw of a pair, along each eigenvector v, (d,)."""
        product = pair.product if isinstance(pair, Pair) else pair
        dots = np.array([np.vdot(one.vector, product) for one in self._basis], float)
        return np.asarray(self._vectors.T @ (self._transform.T @ self.engine.sum(dots)))

    def combined(self, weights: FloatArray) -> Pair:
        """The sum of the eigenvectors with these weights, (d,)."""
        return self._pair(self._vectors @ weights)

    def size(self, pair: Pair) -> float:
        """Norm in K: the root of vᵀKv."""
        return float(np.sqrt(max(self.engine.dot(pair.vector, pair.product), 0.0)))

    def _pair(self, place: FloatArray) -> Pair:
        """The array with these coordinates, (d,)."""
        weights = self._transform @ place
        total = self._basis[0] * float(weights[0])
        for weight, pair in zip(weights[1:], self._basis[1:], strict=True):
            total.vector[:] += weight * pair.vector
            total.product[:] += weight * pair.product
        return total


def _orthonormal(steps: FloatArray, changes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Orthonormal directions in the space of steps, the newest first, and products with H along them, (d, k) each."""
    directions: list[FloatArray] = []
    products: list[FloatArray] = []
    for step, change in zip(steps.T[::-1], changes.T[::-1], strict=True):
        size = np.linalg.norm(step)
        for _ in range(2):
            for direction, product in zip(directions, products, strict=True):
                weight = direction @ step
                step, change = step - weight * direction, change - weight * product
        rest = np.linalg.norm(step)
        if rest > _SEEN * size:
            directions.append(step / rest)
            products.append(change / rest)
    empty = np.zeros((0, len(steps)))
    return np.array([empty, directions][bool(directions)]).T, np.array([empty, products][bool(directions)]).T


def _inside(directions: FloatArray, products: FloatArray) -> FloatArray:
    """Qᵀ H Q, symmetric: where two changes contradict each other that of the newer step is right, which comes first."""
    lower = np.tril(directions.T @ products)
    return np.asarray(lower + np.tril(lower, -1).T)


def _model(q: FloatArray, z: FloatArray) -> FloatArray:
    """B, (d, d), in coordinates in which K is the identity, from directions and products."""
    outside = z - q @ (q.T @ z)
    model = np.eye(len(q)) - q @ q.T + q @ _inside(q, z) @ q.T + outside @ q.T + q @ outside.T
    return np.asarray((model + model.T) / 2)
