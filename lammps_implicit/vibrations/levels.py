"""Which of some modes are wanted: the softest, or those nearest a frequency; equal ones are never torn apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray

LEVEL = 1e-4
"""Relative distance of eigenvalues up to which modes count as one level. Chosen: well above the errors of eigenvalues,
which are of second order in the residual."""


def signed_roots(values: FloatArray) -> FloatArray:
    """√|λ| with the sign of λ, (k,), for values of shape (k,)."""
    return np.asarray(np.sign(values) * np.sqrt(np.abs(values)))


@dataclass(frozen=True)
class Choice:
    """A number of modes, the softest or those nearest a frequency.

    Attributes
    ----------
    count : int
    near : float, optional
        √|λ| with the sign of λ. Default: the softest.
    blur : float
        Distance of eigenvalues up to which modes count as one level, whatever their size.
    """

    count: int
    near: float | None = None
    blur: float = 0.0

    def of(self, values: FloatArray) -> list[int]:
        """Indices of the chosen ones among eigenvalues, ascending; more than `count` if a level needs them."""
        roots = signed_roots(values)
        distance = roots if self.near is None else np.abs(roots - self.near)
        order = np.argsort(distance, kind="stable")
        kept = set(order[: self.count].tolist())
        by_value = np.argsort(values, kind="stable")
        for path in (by_value, by_value[::-1]):
            for this, other in zip(path[:-1].tolist(), path[1:].tolist(), strict=True):
                if this in kept and abs(values[other] - values[this]) <= LEVEL * abs(values[this]) + self.blur:
                    kept.add(other)
        return sorted(kept, key=lambda index: (values[index], index))
