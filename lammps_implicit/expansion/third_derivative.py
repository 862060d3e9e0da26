"""Third derivatives of the relaxed enthalpy W*(Θ, t), along the few leading directions of an ensemble of parameters.

t are loads on the cell, which add t·Uᵀe to the enthalpy for a few strain patterns U, the columns of a matrix. As
∂W*/∂Θ = B and ∂W*/∂t = Uᵀe, third derivatives are second derivatives of B and of the strains e. At the predicted
structure z₁, with residual forces and stresses g = ∂W/∂z, the relaxed value of a quantity f is f(z₁) - f'K⁻¹g to second
order, K being the Hessian of positions and cell together. For f = B_c this is B_c(z₁) + z_c·g with z_c = dz/dΘ_c, and
for a strain z_c is its response to a load: both are known (the 2n + 1 rule). Strains are such quantities themselves, so
that their second derivatives along two directions are found in two ways. No solve is needed, only forces, pressures and
descriptors at the structures predicted for ± each direction and ± each sum of two.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import driving_force
from lammps_implicit.cell.system import CellSystem
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.response.cubic import Cubic, LeadingDirections, StrainBends, ThirdDerivative
from lammps_implicit.stationary.point import StationaryPoint

STEP = 1.0
"""Difference step, in standard deviations of the ensemble. Chosen: derivatives then average over the range that
matters."""

FAR_MOVED, FAR_STRAINED = 0.1, 0.01
"""Largest displacement of an atom, Å, and largest strain in one step. Chosen: beyond them structures are no longer
near."""

SMALL = 1e-3
"""Strain pattern that answers to the ensemble, relative to the one that does most, below which it gets no load of its
own. Chosen: in a crystal patterns that break its symmetry do not answer at all."""

MODES = 4
"""Number of different stiffnesses that are followed. Measured: where a crowdion turns it is not the stiffness of its
softest mode, along its line, that vanishes, but the next one."""

PUSHED = 2e-3
"""Å by which the atom that moves most is displaced along the softest mode. Chosen: so small that few pairs cross a
cutoff, where cosine cutoff functions have a step in their second derivative."""


class _Change(NamedTuple):
    """A change of (Θ, t)."""

    dtheta: FloatArray
    loads: FloatArray

    def scaled(self, factor: float) -> _Change:
        return _Change(factor * self.dtheta, factor * self.loads)


def third_derivative(minimum: StationaryPoint, directions: LeadingDirections, tol: float, cell: str) -> ThirdDerivative:
    """Measure third derivatives along k directions.

    Costs forces and descriptors at k (k + 1) structures, at 2 (k + 1) more for each of the independent strain patterns
    with which the cell answers to the ensemble (one in a cubic crystal), and at two for the softest mode, after its
    search.

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
    count, size = vectors.shape[1], len(vectors)
    response = _FirstOrder(minimum, tol, cell, vectors)
    still, at_ease = np.zeros(size), np.zeros(len(response.loads))
    along = [_Change(vector, at_ease) for vector in vectors.T]
    along += [_Change(still, load) for load in np.diag(response.loads)]
    sizes = [response.safe_share(change) for change in along]
    along = [change.scaled(share) for share, change in zip(sizes, along, strict=True)]
    at_rest = response.gradient(_Change(still, at_ease))
    bends: dict[tuple[int, int], FloatArray] = {}
    pairs = [(a, b) for a in range(len(along)) for b in range(a + 1) if a == b or b < count]  # no two loads together
    for a, b in sorted(pairs, key=lambda pair: pair[0] != pair[1]):  # singles first: sums of two need them
        step = STEP if a == b else STEP / np.sqrt(2.0)
        ends = [response.gradient(_summed(along[a], along[b], sign * step)) for sign in (1, -1)]
        bend = (ends[0] + ends[1] - 2 * at_rest) / step**2
        bends[a, b] = bend if a == b else (bend - bends[a, a] - bends[b, b]) / 2
    if not all(np.isfinite(bend).all() for bend in bends.values()):
        raise LammpsImplicitError(
            "energies at predicted structures are not finite: the ensemble is too wide; propagate with order 2"
        )
    within = np.array(
        [[bends[max(a, b), min(a, b)] / (sizes[a] * sizes[b]) for b in range(count)] for a in range(count)]
    )
    within = within.reshape(count, count, len(at_rest))
    tensor = within[:, :, :size]
    inner = tensor @ vectors
    strains = volume = None
    volume_error = 0.0
    if response.system is not None:
        by_load = np.array(
            [
                [bends[count + u, a][:size] / (sizes[a] * along[count + u].loads[u]) for a in range(count)]
                for u in range(len(response.loads))
            ]
        ).reshape(len(response.loads), count, size)
        direct = np.moveaxis(within[:, :, size:], 2, 0)
        slopes = response.system.strain_jacobian.T @ vectors
        strains = _strain_bends(directions, slopes, response.patterns, by_load, direct)
        if strains.known:
            volume = _volume_hessian(response.system, strains)
        volume_error = response.system.volume * strains.error(np.einsum("saa->s", response.system.freedom.tensors()))
    softening, softening_errors = _softening(minimum, response, at_rest[:size])
    return ThirdDerivative(
        cell,
        directions,
        Cubic(directions.duals, tensor, inner),
        strains,
        volume,
        volume_error,
        softening,
        softening_errors,
        _asymmetry(inner),
    )


def _strain_bends(
    directions: LeadingDirections, slopes: FloatArray, patterns: FloatArray, by_load: FloatArray, within: FloatArray
) -> StrainBends:
    """Second derivatives of the strains: along directions as measured, the rest from loads where there are any.

    Those along directions are differences of strains over the ensemble itself: kinks of forces matter least to them
    (measured: 2 %, where loads are 5 % off).

    Parameters
    ----------
    directions : LeadingDirections
    slopes : (s, k) float array
        de/dΘ along the directions.
    patterns : (s, r) float array
        U.
    by_load : (r, k, P) float array
        d²(Uᵀe)/dΘ² with one argument along a direction.
    within : (s, k, k) float array
        d²e/dΘ² with both.
    """
    loaded = np.tensordot(patterns, by_load, axes=1)
    other = np.tensordot(patterns @ patterns.T, within, axes=1) - loaded @ directions.vectors
    tensor = loaded + (within - loaded @ directions.vectors) @ directions.duals.T
    return StrainBends(directions, slopes, tensor, within, other)


def _volume_hessian(system: CellSystem, strains: StrainBends) -> FloatArray:
    """d²V/dΘ², (P, P), of V det(1 + ε)."""
    tensors, slopes = system.freedom.tensors(), system.strain_jacobian
    traces = np.einsum("saa->s", tensors)
    second = np.outer(traces, traces) - np.einsum("sab,tba->st", tensors, tensors)
    return np.asarray(system.volume * (strains.hessian(traces) + slopes @ second @ slopes.T))


def _softening(minimum: StationaryPoint, response: _FirstOrder, at_rest: FloatArray) -> tuple[FloatArray, FloatArray]:
    """d(ln |κ|)/dΘ of the softest modes φ with κ = φᵀHφ, (m, P), and their errors, (m,): see `ThirdDerivative`.

    The curvature of B_c + z_c·∂W/∂z along φ is dκ/dΘ_c. Modes that are equal by symmetry stay so at all parameters, so
    that each of them has the derivative of all; of others that are hardly apart the mean is taken.
    """
    none = _Change(np.zeros_like(at_rest), np.zeros(len(response.loads)))
    found: list[FloatArray] = []
    errors: list[float] = []
    for equal in minimum.softest_modes(count=MODES):
        slopes = []
        for mode in equal.modes:
            largest = minimum.engine.max_abs(mode.vector)
            unstable = mode.curvature <= 0 and not minimum.saddle
            if largest == 0 or mode.curvature == 0 or unstable:  # no atom can move, or it is no minimum
                return np.zeros((1, len(at_rest))), np.zeros(1)
            size = PUSHED / largest
            ends = [response.gradient(none, sign * size * mode.vector)[: len(at_rest)] for sign in (1, -1)]
            slopes.append((ends[0] + ends[1] - 2 * at_rest) / size**2 / mode.curvature)
        mean = np.mean(slopes, axis=0)
        sizes = np.linalg.norm(np.abs(minimum.potential.theta) * [mean, *(slopes - mean)], axis=1)
        found.append(mean)
        errors.append(max(equal.error, float(sizes[1:].max() / sizes[0]) if sizes[0] > 0 else 0.0))
    return np.array(found), np.array(errors)


class _FirstOrder:
    """First-order response of positions and cell to (Θ, t), and the enthalpy gradient at predicted structures.

    Attributes
    ----------
    patterns : (s, r) float array
        U: orthonormal strain patterns with which the cell answers to the ensemble; none if it is fixed.
    loads : (r,) float array
        For each pattern the load that strains the cell as much as the ensemble does along the pattern that does most,
        as a root mean square. Smaller loads on weak patterns would magnify kinks of forces, such as that at a cutoff:
        measured, the second derivative of such a pattern was nine times too large.
    """

    def __init__(self, minimum: StationaryPoint, tol: float, cell: str, vectors: FloatArray) -> None:
        self.minimum = minimum
        self.fixed = minimum.jacobian(tol)
        self.system = None if cell == "none" else minimum.cell_system(tol, cell)
        self.patterns, self.loads, self.by_load = np.zeros((0, 0)), np.zeros(0), np.zeros((0, 0))
        if self.system is not None:
            answers = vectors.T @ self.system.strain_jacobian
            # On one rank, so that all use the same patterns to the last digit.
            _, sizes, axes = minimum.engine.on_root(lambda: np.linalg.svd(answers, full_matrices=False))
            kept = sizes > SMALL * sizes.max(initial=0.0)
            self.patterns = axes[kept].T
            self.by_load = -np.linalg.solve(self.system.stiffness, self.patterns).T  # de/dt, (r, s)
            self.loads = sizes.max(initial=0.0) / np.abs(np.einsum("us,su->u", self.by_load, self.patterns))

    def safe_share(self, change: _Change) -> float:
        """Share of a change, at most 1, that exceeds neither `FAR_MOVED` nor `FAR_STRAINED`."""
        moved = self.minimum.engine.max_abs(self.fixed.dot(change.dtheta))
        strained = 0.0
        if self.system is not None:
            amounts = change.dtheta @ self.system.strain_jacobian + change.loads @ self.by_load
            moved = max(moved, self.minimum.engine.max_abs(self.system.relaxed @ amounts))
            strained = float(np.abs(amounts).max())
        return 1.0 / max(1.0, moved / FAR_MOVED, strained / FAR_STRAINED)

    def gradient(self, change: _Change, beside: FloatArray | float = 0.0) -> FloatArray:
        """Gradient of the relaxed enthalpy with respect to Θ, and strains e, (P + s,), both to second order.

        Evaluated at the structure predicted for the change, displaced by `beside`, (n, 3), in addition.
        """
        displacement, strain, amounts = self.fixed.dot(change.dtheta) + beside, np.zeros((3, 3)), np.zeros(0)
        if self.system is not None:
            amounts = change.dtheta @ self.system.strain_jacobian + change.loads @ self.by_load
            displacement = displacement + np.tensordot(amounts, self.system.patterns(), axes=1)
            strain = np.tensordot(amounts, self.system.freedom.tensors(), axes=1)
        state = self.minimum.state_at(change.dtheta, displacement, strain, gradient=True)
        assert state.gradient is not None
        engine = self.minimum.engine
        work = np.asarray(engine.sum(np.einsum("rna,na->r", self.fixed.left, state.forces)))
        gradient = state.gradient - self.fixed.right @ work
        if self.system is not None:
            freedom = self.system.freedom
            drive = freedom.basis.T @ driving_force(state.volume, state.pressure, strain, freedom.target)
            drive = drive + np.asarray(engine.sum(np.einsum("nak,na->k", self.system.relaxed, state.forces)))
            drive = drive + self.patterns @ change.loads
            gradient = gradient + self.system.strain_jacobian @ drive
            amounts = amounts - np.linalg.solve(self.system.stiffness, drive)
        return np.append(gradient, amounts)


def _summed(a: _Change, b: _Change, step: float) -> _Change:
    return a.scaled(step) if a is b else _Change(step * (a.dtheta + b.dtheta), step * (a.loads + b.loads))


def _asymmetry(tensor: FloatArray) -> float:
    """Largest difference between elements of a (k, k, k) tensor that should be equal, relative to the largest."""
    size = float(np.abs(tensor).max(initial=0.0))
    if size == 0:
        return 0.0
    return float(np.abs(tensor - np.swapaxes(tensor, 1, 2)).max()) / size
