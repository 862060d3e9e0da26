"""Factors of a Jacobian dX*/dΘ: in memory, or in a result file that is read piece by piece."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.files import hdf5_opened
from lammps_implicit.response.jacobian import Jacobian
from lammps_implicit.results.format import SENSITIVITY

WHAT = "a result of 'lammps-implicit sensitivity'"
"""What a result file is called in messages."""


class Factors(Protocol):
    """Factors of dX*/dΘ = Σ_k L_k R_kᵀ, with rows in the order of the atoms of the result's structure."""

    @property
    def right(self) -> FloatArray:
        """R, (P, r), per unit of each parameter."""
        ...

    def left(self, rows: slice | IntArray) -> FloatArray:
        """L of some atoms, (r, m, 3), Å."""
        ...

    def displacement(self, weights: FloatArray) -> FloatArray:
        """Σ_k weights_k L_k of all atoms, (n, 3), Å."""
        ...


@dataclass(frozen=True)
class JacobianFactors:
    """Factors of a `Jacobian` in memory, whose rows are in the engine's order."""

    jacobian: Jacobian
    order: IntArray

    @property
    def right(self) -> FloatArray:
        return self.jacobian.right

    def left(self, rows: slice | IntArray) -> FloatArray:
        return self.jacobian.left[:, self.order[rows]]

    def displacement(self, weights: FloatArray) -> FloatArray:
        return np.tensordot(weights, self.jacobian.left, axes=1)[self.order]


@dataclass(frozen=True)
class ArrayFactors:
    """Factors in memory, whose rows are in the structure's order."""

    patterns: FloatArray
    right: FloatArray

    def left(self, rows: slice | IntArray) -> FloatArray:
        return self.patterns[:, rows]

    def displacement(self, weights: FloatArray) -> FloatArray:
        return np.tensordot(weights, self.patterns, axes=1)


@dataclass(frozen=True)
class FileFactors:
    """Factors in a file, read when they are needed, one pattern at a time."""

    path: Path
    parameters: int

    @property
    def right(self) -> FloatArray:
        with hdf5_opened(self.path, [SENSITIVITY], WHAT) as file:
            return np.eye(self.parameters) if "jacobian" in file else file["jacobian_right"][()]

    def left(self, rows: slice | IntArray) -> FloatArray:
        with hdf5_opened(self.path, [SENSITIVITY], WHAT) as file:
            patterns = file["jacobian" if "jacobian" in file else "jacobian_left"]
            if isinstance(rows, slice):
                return patterns[:, rows]
            rising, place = np.unique(rows, return_inverse=True)  # as HDF5 reads them
            return patterns[:, rising][:, place]

    def displacement(self, weights: FloatArray) -> FloatArray:
        with hdf5_opened(self.path, [SENSITIVITY], WHAT) as file:
            patterns = file["jacobian" if "jacobian" in file else "jacobian_left"]
            moved = np.zeros(patterns.shape[1:])
            for index in np.flatnonzero(weights):
                moved += weights[index] * patterns[index]
        return moved
