"""Dynamical matrices, which are linear in force constants; frequencies, and derivatives of them.

With the primitive atoms i, the atoms j of the supercell and the nearest images of these, (D. Parlinski et al., as in
phonopy),

    D_ii'(q) = (m_i m_i')^(-1/2) Σ_j∈i' Φ_ij exp(2πi q·r_ij),

the mean being taken over images of j that are equally near. q is in fractions of the reciprocal cell: it strains with
the crystal, and D changes with its structure through Φ only (a shift of atoms in the primitive cell multiplies D with
phases that change no eigenvalue).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.phonons.crystal import Crystal

EQUAL = 1e-6
"""Difference of eigenvalues, of the largest one, within which modes count as degenerate. Chosen: above the error of
force constants, below all splittings that can be seen."""

AT_REST = 1e-7
"""Eigenvalue, of the largest one, below which an acoustic mode at Γ has the frequency zero: their sums over atoms
vanish to round-off. Its frequency has no derivative, and is told as zero."""

MEMORY = 2**28
"""Bytes of the dynamical matrices that are made at a time."""

ComplexArray = NDArray[np.complex128]


class Dynamics:
    """Force constants and their derivatives, from which dynamical matrices are made.

    Parameters
    ----------
    crystal : Crystal
    force_constants : (n, N, 3, 3) float array
    derivatives : (K, n, N, 3, 3) float array
        Any others that D is made of likewise.
    """

    def __init__(self, crystal: Crystal, force_constants: FloatArray, derivatives: FloatArray) -> None:
        self.crystal = crystal
        root = np.sqrt(crystal.masses)
        weights = 1 / (root[:, None] * root[crystal.primitive_atoms])
        self._force_constants = force_constants * weights[:, :, None, None]
        self._derivatives = derivatives * weights[:, :, None, None]
        self.modes = 3 * len(root)
        largest = np.linalg.eigvalsh(self.at(np.array([[0.5, 0.5, 0.5], [0.5, 0, 0], [0, 0, 0]]))[0])
        self.largest = float(np.abs(largest).max())

    def at(self, qpoints: FloatArray, derivatives: bool = False) -> tuple[ComplexArray, ComplexArray]:
        """Dynamical matrices, (Q, m, m), and their derivatives, (K, Q, m, m), or none of them."""
        phases = self._phases(qpoints)
        return self._summed(self._force_constants[None], phases)[0], self._summed(
            self._derivatives if derivatives else self._derivatives[:0], phases
        )

    def pieces(self, qpoints: FloatArray, copies: int = 1) -> Iterator[slice]:
        """Parts of q-points whose dynamical matrices, each with derivatives and copies, fit into `MEMORY`."""
        size = 16 * self.modes**2 * (1 + len(self._derivatives) + copies)
        count = int(max(MEMORY // size, 1))
        for start in range(0, len(qpoints), count):
            yield slice(start, start + count)

    def _phases(self, qpoints: FloatArray) -> ComplexArray:
        """Mean phases of pairs, (Q, n, N)."""
        crystal = self.crystal
        waves = np.exp(2j * np.pi * qpoints @ crystal.vectors.T)
        number, first = (np.moveaxis(crystal.counts, 2, 0)).astype(int)
        sums = np.zeros((len(qpoints), *number.shape), complex)
        for image in range(number.max()):
            there = number > image
            sums += np.where(there, waves[:, np.where(there, first + image, 0)], 0)
        return np.asarray(np.swapaxes(sums / number, 1, 2))

    def _summed(self, force_constants: FloatArray, phases: ComplexArray) -> ComplexArray:
        """Sums over the supercell, (K, Q, m, m), Hermitian."""
        n = self.modes // 3
        found = np.zeros((len(force_constants), len(phases), n, 3, n, 3), complex)
        for other in range(n):
            of = self.crystal.primitive_atoms == other
            for one in range(n):
                block = np.tensordot(phases[:, one, of], force_constants[:, one, of], ([1], [1]))
                found[:, :, one, :, other] = np.moveaxis(block, 0, 1)
        matrices = found.reshape(len(force_constants), len(phases), self.modes, self.modes)
        return np.asarray((matrices + np.conj(np.swapaxes(matrices, 2, 3))) / 2)


@dataclass(frozen=True)
class Frequencies:
    """Frequencies at some q-points, in ascending order at each, with derivatives.

    Attributes
    ----------
    values : (Q, m) float array
        THz (1/τ in reduced units); imaginary ones are negative.
    derivatives : (Q, m, K) float array
        Of the frequencies. Degenerate ones have the mean of their derivatives each: the trace over their subspace,
        which does not depend on how modes are chosen in it, divided by its dimension. It is zero for modes at rest.
    relative : (Q, m, K) float array
        Derivatives of the logarithm of the squared frequencies, per unit; zero for modes at rest.
    """

    values: FloatArray
    derivatives: FloatArray
    relative: FloatArray


def frequencies(dynamics: Dynamics, qpoints: FloatArray) -> Frequencies:
    """Frequencies and derivatives at q-points, (Q, 3)."""
    parts = [_differentiated(dynamics, qpoints[piece]) for piece in dynamics.pieces(qpoints)]
    return Frequencies(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("values", "derivatives", "relative"))
    )


def _differentiated(dynamics: Dynamics, qpoints: FloatArray) -> Frequencies:
    matrices, changes = dynamics.at(qpoints, derivatives=True)
    squares, modes = np.linalg.eigh(matrices)
    slopes = np.einsum("qam,kqab,qbm->qmk", modes.conj(), changes, modes, optimize=True).real
    slopes = np.array(
        [_shared(one, square, EQUAL * dynamics.largest) for one, square in zip(slopes, squares, strict=True)]
    )
    moving = np.abs(squares) > AT_REST * dynamics.largest
    slopes *= moving[:, :, None]
    safe = np.where(moving, squares, 1.0)[:, :, None]
    values = from_squares(squares * moving, dynamics.crystal.frequency_factor)
    return Frequencies(values, slopes / (2 * safe) * values[:, :, None], slopes / safe)


def _shared(slopes: FloatArray, squares: FloatArray, within: float) -> FloatArray:
    """Derivatives, (m, K), averaged over modes whose squares, ascending, differ by little from the next."""
    groups = np.concatenate([[0], np.cumsum(np.diff(squares) > within)])
    sums = np.zeros((groups[-1] + 1, slopes.shape[1]))
    np.add.at(sums, groups, slopes)
    return np.asarray((sums / np.bincount(groups)[:, None])[groups])


def from_squares(squares: FloatArray, factor: float) -> FloatArray:
    """Frequencies of eigenvalues of the dynamical matrix; those of negative ones, imaginary, as negative numbers."""
    return np.asarray(np.sign(squares) * np.sqrt(np.abs(squares)) * factor)
