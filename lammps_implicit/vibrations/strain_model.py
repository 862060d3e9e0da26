"""A function of the strains of a cell, known at a few of them, as a polynomial.

Nodes are a centre c and two further ones on either side of it along each strain. With values and slopes at them, the
model is the sum of a polynomial of degree five along each strain and of the products x_i x_j and x_i² x_j, x = ε - c:
what it leaves out is of fourth order where two strains meet, and of third where three do. With values alone it is of
degree two along each strain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray


def nodes(centre: FloatArray, reach: FloatArray) -> FloatArray:
    """The strains at which a function must be known, (2k + 1, k): the centre, and ± `reach`, (k,), along each."""
    along = np.concatenate([sign * np.diag(reach) for sign in (1, -1)])
    return np.asarray(centre + np.concatenate([np.zeros((1, len(centre))), along]))


@dataclass(frozen=True)
class StrainModel:
    """A polynomial model of an array-valued function.

    Attributes
    ----------
    centre, reach : (k,) float array
    constant : (...) float array
    powers : (d, k, ...) float array
        Coefficients of x_i, x_i², …
    products, squares : (k, k, ...) float array
        Coefficients of x_i x_j, i < j, and of x_i² x_j, i ≠ j.
    """

    centre: FloatArray
    reach: FloatArray
    constant: FloatArray
    powers: FloatArray
    products: FloatArray
    squares: FloatArray

    def value(self, strain: FloatArray) -> FloatArray:
        """The function at a strain, (k,): (...)."""
        x = strain - self.centre
        monomials = np.array([x**power for power in range(1, len(self.powers) + 1)])
        found = self.constant + np.tensordot(monomials, self.powers, axes=2)
        found = found + np.tensordot(np.outer(x, x), self.products, axes=2)
        return np.asarray(found + np.tensordot(np.outer(x**2, x), self.squares, axes=2))

    def slope(self, strain: FloatArray) -> FloatArray:
        """Its derivatives with respect to the strains, (k, ...)."""
        x = strain - self.centre
        found = [self._along(axis, x) for axis in range(len(x))]
        return np.array(found)

    def _along(self, axis: int, x: FloatArray) -> FloatArray:
        found = sum(
            (power * x[axis] ** (power - 1) * self.powers[power - 1, axis] for power in range(1, len(self.powers) + 1)),
            np.zeros_like(self.constant),
        )
        found = found + np.tensordot(x, self.products[axis] + self.products[:, axis], axes=1)
        found = found + 2 * x[axis] * np.tensordot(x, self.squares[axis], axes=1)
        return np.asarray(found + np.tensordot(x**2, self.squares[:, axis], axes=1))

    def curvature(self, strain: FloatArray) -> FloatArray:
        """Second derivatives of a scalar function, (k, k)."""
        step = 1e-4 * self.reach
        columns = [(self.slope(strain + unit) - self.slope(strain - unit)) / (2 * unit.sum()) for unit in np.diag(step)]
        found = np.array(columns)
        return np.asarray((found + found.T) / 2)


def inconsistency(reach: FloatArray, values: FloatArray, slopes: FloatArray) -> float:
    """How far values at `nodes` are from what slopes say, by Simpson's rule, relative to what they change by.

    Parameters
    ----------
    reach : (k,) float array
    values : (2k + 1,) float array
    slopes : (2k + 1, k) float array
    """
    count, worst = len(reach), 0.0
    for axis, h in enumerate(reach):
        up, down = 1 + axis, 1 + count + axis
        said = h / 3 * (slopes[up, axis] + 4 * slopes[0, axis] + slopes[down, axis])
        change = max(abs(float(value - values[0])) for value in (values[up], values[down]))
        size = max(change, abs(float(values[up] - values[down])))
        if size > 0:
            worst = max(worst, abs(float(values[up] - values[down] - said)) / size)
    return worst


def fit_averages(centre: FloatArray, reach: FloatArray, values: FloatArray) -> StrainModel:
    """A linear model of a function with kinks: the average of its values at `nodes`, and what it changes by.

    Parameters
    ----------
    centre, reach, values
        See `fit`.
    """
    count, shape = len(centre), values.shape[1:]
    slopes = (values[1 : 1 + count] - values[1 + count :]) / (2 * reach.reshape(-1, *[1] * len(shape)))
    nothing = np.zeros((count, count, *shape))
    return StrainModel(centre, reach, values.mean(axis=0), slopes[None], nothing, nothing)


def fit(centre: FloatArray, reach: FloatArray, values: FloatArray, slopes: FloatArray | None = None) -> StrainModel:
    """The model that has given values, and slopes, at `nodes`.

    Parameters
    ----------
    centre, reach : (k,) float array
        See `nodes`.
    values : (2k + 1, ...) float array
    slopes : (2k + 1, k, ...) float array, optional
    """
    count = len(centre)
    constant, shape = values[0], values.shape[1:]
    degree = 2 if slopes is None else 5
    powers = np.zeros((degree, count, *shape))
    products, squares = np.zeros((count, count, *shape)), np.zeros((count, count, *shape))
    for axis, h in enumerate(reach):
        up, down = 1 + axis, 1 + count + axis
        right = [values[up] - constant, values[down] - constant]
        rows = [[h**p for p in range(1, degree + 1)], [(-h) ** p for p in range(1, degree + 1)]]
        if slopes is not None:
            right += [slopes[node, axis] for node in (0, up, down)]
            rows += [[p * x ** (p - 1) for p in range(1, degree + 1)] for x in (0.0, h, -h)]
        solved = np.linalg.solve(np.array(rows), np.array(right).reshape(degree, -1))
        powers[:, axis] = solved.reshape(degree, *shape)
        if slopes is None:
            continue
        for other in range(count):
            if other != axis:
                ahead, behind, here = (slopes[node, other] for node in (up, down, 0))
                first, second = sorted((axis, other))
                products[first, second] += (ahead - behind) / (4 * h)  # half from either side
                squares[axis, other] = (ahead + behind - 2 * here) / (2 * h**2)
    return StrainModel(centre, reach, constant, powers, products, squares)
