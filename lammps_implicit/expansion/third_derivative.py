"""Third derivatives of the relaxed enthalpy W*(Θ, p), along the few leading directions of an ensemble of parameters.

As ∂W*/∂Θ = B and ∂W*/∂p = V, they are second derivatives of B and V. At the predicted structure z₁, with residual
forces and stresses g = ∂W/∂z, the relaxed value of a quantity f is f(z₁) - f'K⁻¹g to second order, K being the Hessian
of positions and cell together. For f = B_c this is B_c(z₁) + z_c·g with z_c = dz/dΘ_c, which is known (the 2n + 1
rule): no solve is needed, only forces, pressures and descriptors at the structures predicted for ± each direction and ±
each sum of two.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import driving_force
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.response.cubic import Cubic, LeadingDirections, ThirdDerivative
from lammps_implicit.stationary.point import StationaryPoint

STEP = 1.0
"""Difference step, in standard deviations of the ensemble. Chosen: derivatives then average over the range that
matters."""

FAR_MOVED, FAR_STRAINED = 0.1, 0.01
"""Largest displacement of an atom, Å, and largest strain in one step. Chosen: beyond them structures are no longer
near."""

SMALL = 1e-5
"""Smallest relative change of the volume in a difference with respect to pressure. Chosen: well above round-off."""

PUSHED = 2e-3
"""Å by which the atom that moves most is displaced along the softest mode. Chosen: so small that few pairs cross a
cutoff, where cosine cutoff functions have a step in their second derivative."""


class _Change(NamedTuple):
    """A change of (Θ, p)."""

    dtheta: FloatArray
    pressure: float


def third_derivative(minimum: StationaryPoint, directions: LeadingDirections, tol: float, cell: str) -> ThirdDerivative:
    """Measure third derivatives along k directions.

    Costs forces and descriptors at (k + 1)(k + 2) structures, or k(k + 1) if the volume is fixed, and two for the
    softest mode.

    Parameters
    ----------
    minimum : StationaryPoint
    directions : LeadingDirections
    tol : float
        Relative tolerance of each column of the Jacobian.
    cell : str
        Strains of the cell, held at the minimum's ``target``; ``none`` for a fixed cell.

    Returns
    -------
    ThirdDerivative

    Raises
    ------
    LammpsImplicitError
        If an energy at a predicted structure is not finite.
    """
    vectors = directions.vectors
    along = [_Change(vector, 0.0) for vector in vectors.T]
    response = _FirstOrder(minimum, tol, cell)
    if response.compressibility > 0:
        # A change of volume as large as the standard deviation over the ensemble, if that is not zero.
        assert response.system is not None
        spread = float(np.linalg.norm(vectors.T @ response.system.volume_gradient))
        spread = max(spread, SMALL * response.system.volume)
        along.append(_Change(np.zeros(len(vectors)), spread / response.compressibility))
    sizes = [response.safe_share(change) for change in along]
    along = [_Change(size * change.dtheta, size * change.pressure) for size, change in zip(sizes, along, strict=True)]
    at_rest = response.gradient(_Change(np.zeros(len(vectors)), 0.0))
    bends: dict[tuple[int, int], FloatArray] = {}
    pairs = [(a, b) for a in range(len(along)) for b in range(a + 1)]
    for a, b in sorted(pairs, key=lambda pair: pair[0] != pair[1]):  # singles first: sums of two need them
        step = STEP if a == b else STEP / np.sqrt(2.0)
        ends = [response.gradient(_summed(along[a], along[b], sign * step)) for sign in (1, -1)]
        bend = (ends[0] + ends[1] - 2 * at_rest) / step**2
        bends[a, b] = bend if a == b else (bend - bends[a, a] - bends[b, b]) / 2
    if not all(np.isfinite(bend).all() for bend in bends.values()):
        raise LammpsImplicitError(
            "energies at predicted structures are not finite: the ensemble is too wide; propagate with order 2"
        )
    count = vectors.shape[1]
    tensor = np.array(
        [[bends[max(a, b), min(a, b)][:-1] / (sizes[a] * sizes[b]) for b in range(count)] for a in range(count)]
    )
    tensor = tensor.reshape(count, count, len(vectors))
    inner = tensor @ vectors
    volume = None
    if response.compressibility > 0:
        by_pressure = np.array([bends[count, a][:-1] / sizes[a] for a in range(count)]) / along[-1].pressure
        by_pressure = by_pressure.reshape(count, len(vectors))
        half = directions.duals @ by_pressure
        volume = half + half.T - directions.duals @ (by_pressure @ vectors) @ directions.duals.T
        volume = (volume + volume.T) / 2
    softening = _softening(minimum, response, at_rest[:-1])
    return ThirdDerivative(
        cell, directions, Cubic(directions.duals, tensor, inner), volume, softening, _asymmetry(inner)
    )


def _softening(minimum: StationaryPoint, response: _FirstOrder, at_rest: FloatArray) -> FloatArray:
    """d(ln κ)/dΘ of the softest mode φ with κ = φᵀHφ: the curvature of B_c + z_c·∂W/∂z along φ is dκ/dΘ_c."""
    mode = minimum.softest_mode()
    largest = minimum.engine.max_abs(mode.vector)
    if largest == 0 or mode.curvature <= 0:  # no atom can move, or a saddle point
        return np.zeros_like(at_rest)
    size = PUSHED / largest
    none = _Change(np.zeros_like(at_rest), 0.0)
    ends = [response.gradient(none, sign * size * mode.vector)[:-1] for sign in (1, -1)]
    return np.asarray((ends[0] + ends[1] - 2 * at_rest) / size**2 / mode.curvature)


class _FirstOrder:
    """First-order response of positions and cell to (Θ, p), and the enthalpy gradient at predicted structures."""

    def __init__(self, minimum: StationaryPoint, tol: float, cell: str) -> None:
        self.minimum = minimum
        self.fixed = minimum.jacobian(tol)
        self.system = None if cell == "none" else minimum.cell_system(tol, cell)
        self.by_pressure = np.zeros(0)  # dε/dp, (k,)
        if self.system is not None:
            dilation = self.system.freedom.basis[:3].sum(axis=0)
            self.by_pressure = -np.linalg.solve(self.system.stiffness, self.system.volume * dilation)

    @property
    def compressibility(self) -> float:
        """-dV/dp with relaxed positions; zero if no strain changes the volume."""
        if self.system is None:
            return 0.0
        return -float(self.system.volume * self.system.freedom.basis[:3].sum(axis=0) @ self.by_pressure)

    def safe_share(self, change: _Change) -> float:
        """Share of a change, at most 1, that exceeds neither `FAR_MOVED` nor `FAR_STRAINED`."""
        moved = self.minimum.engine.max_abs(self.fixed.dot(change.dtheta))
        strained = 0.0
        if self.system is not None:
            amounts = change.dtheta @ self.system.strain_jacobian + change.pressure * self.by_pressure
            moved = max(moved, self.minimum.engine.max_abs(self.system.relaxed @ amounts))
            strained = float(np.abs(amounts).max())
        return 1.0 / max(1.0, moved / FAR_MOVED, strained / FAR_STRAINED)

    def gradient(self, change: _Change, beside: FloatArray | float = 0.0) -> FloatArray:
        """Gradient of the relaxed enthalpy with respect to (Θ, p), (P + 1,), correct to second order in the change.

        Evaluated at the structure predicted for the change, displaced by `beside`, (n, 3), in addition.
        """
        displacement, strain, target = self.fixed.dot(change.dtheta) + beside, np.zeros((3, 3)), np.zeros((3, 3))
        if self.system is not None:
            amounts = change.dtheta @ self.system.strain_jacobian + change.pressure * self.by_pressure
            displacement = displacement + np.tensordot(amounts, self.system.patterns(), axes=1)
            strain = np.tensordot(amounts, self.system.freedom.tensors(), axes=1)
            target = self.system.freedom.target + change.pressure * np.eye(3)
        state = self.minimum.state_at(change.dtheta, displacement, strain, gradient=True)
        assert state.gradient is not None
        engine = self.minimum.engine
        work = np.asarray(engine.sum(np.einsum("rna,na->r", self.fixed.left, state.forces)))
        gradient = np.append(state.gradient - self.fixed.right @ work, state.volume)
        if self.system is not None:
            drive = self.system.freedom.basis.T @ driving_force(state.volume, state.pressure, strain, target)
            drive = drive + np.asarray(engine.sum(np.einsum("nak,na->k", self.system.relaxed, state.forces)))
            gradient += np.append(self.system.strain_jacobian @ drive, self.by_pressure @ drive)
        return gradient


def _summed(a: _Change, b: _Change, step: float) -> _Change:
    if a is b:
        return _Change(step * a.dtheta, step * a.pressure)
    return _Change(step * (a.dtheta + b.dtheta), step * (a.pressure + b.pressure))


def _asymmetry(tensor: FloatArray) -> float:
    """Largest difference between elements of a (k, k, k) tensor that should be equal, relative to the largest."""
    size = float(np.abs(tensor).max(initial=0.0))
    if size == 0:
        return 0.0
    return float(np.abs(tensor - np.swapaxes(tensor, 1, 2)).max()) / size
