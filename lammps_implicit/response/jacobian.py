"""The Jacobian dX*/dΘ from far fewer solves than parameters.

The columns of C are nearly linearly dependent. Scaled to unit norm, they have the singular value decomposition C D⁻¹ =
U S Vᵀ, and only directions with S_k > tol·S_0 are solved for, each to the relative tolerance tol·S_0/S_k: the last ones
need one or two iterations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import StrainFreedom
from lammps_implicit.response.prepared import Prepared
from lammps_implicit.response.statistics import Statistics
from lammps_implicit.solvers.interface import iterations_expected

RECYCLED = 0.45
"""Hessian products of solves that share search directions, relative to independent solves. Measured: 0.30 to 0.57 for
defect cells and alloys."""


@dataclass(frozen=True)
class Patterns:
    """Displacements linear in the parameters, factored: ∂X/∂Θ = Σ_k L_k R_kᵀ.

    Attributes
    ----------
    left : (r, n, 3) float array
        Displacement patterns L_k of this rank's atoms, Å.
    right : (P, r) float array
        Weight R_k of each parameter in each pattern, per unit of the parameter.
    """

    left: FloatArray
    right: FloatArray

    @property
    def rank(self) -> int:
        """Number of patterns."""
        return len(self.left)

    def dot(self, dtheta: ArrayLike) -> FloatArray:
        """δX = ∂X/∂Θ δΘ, (n, 3), Å, for δΘ of shape (P,)."""
        return np.tensordot(np.asarray(dtheta, float) @ self.right, self.left, axes=1)

    def row(self, index: int) -> FloatArray:
        """∂X/∂Θ_index, (n, 3), Å per unit of that parameter."""
        return np.tensordot(self.right[index], self.left, axes=1)

    def to_array(self) -> FloatArray:
        """The full array, (P, n, 3), Å per unit of each parameter."""
        return np.tensordot(self.right, self.left, axes=1)


@dataclass(frozen=True)
class Jacobian(Patterns):
    """The Jacobian dX*/dΘ, factored, with its cost and the derivatives of the relaxed energy.

    Attributes
    ----------
    left, right : float arrays
        Factors: see `Patterns`. If the cell is relaxed too, displacements include the part that follows it.
    tol : float
        Relative tolerance of each column.
    freedom : StrainFreedom
        Strains of the cell, and the pressure at which it is held.
    statistics : Statistics
        Cost and quality.
    energy_gradient : (P,) float array
        dE/dΘ = ∂U/∂Θ at the stationary point, energy per unit of each parameter; also the gradient of the enthalpy if
        the cell is relaxed too.
    relaxation_hessian : (P, P) float array or None
        Contribution of relaxation to the second derivative of the relaxed energy or enthalpy, besides ∂²U/∂Θ²; None at
        a stress that is not hydrostatic, where no enthalpy exists.
    strain_jacobian : (P, k) float array or None
        dε/dΘ; None if the cell is fixed.
    volume_gradient : (P,) float array or None
        dV/dΘ, Å³ per unit of each parameter; None if the cell is fixed, or a boundary of it follows the atoms.
    """

    tol: float
    freedom: StrainFreedom
    statistics: Statistics
    energy_gradient: FloatArray
    relaxation_hessian: FloatArray | None
    strain_jacobian: FloatArray | None = None
    volume_gradient: FloatArray | None = None


@dataclass(frozen=True)
class SingularDirections:
    """Combinations of parameters that are solved for.

    Attributes
    ----------
    weights : (P, r) float array
        ``C @ weights[:, k]`` is the k-th right-hand side; its norm is ``sizes[k]``.
    sizes : (r,) float array
        Singular values of the scaled C, descending.
    back : (P, r) float array
        dX*/dΘ = Σ_k solution_k ``back[:, k]``ᵀ.
    """

    weights: FloatArray
    sizes: FloatArray
    back: FloatArray

    def tolerances(self, tol: float) -> FloatArray:
        """Relative tolerance of each solve, (r,)."""
        return tol * self.sizes[:1] / self.sizes

    def iterations_expected(self, tol: float) -> float:
        """Estimated number of Hessian products of all solves together."""
        return RECYCLED * sum(iterations_expected(float(t)) for t in self.tolerances(tol))


def singular_directions(gram: FloatArray, tol: float) -> SingularDirections:
    """Find the directions to solve for.

    Parameters
    ----------
    gram : (P, P) float array
        CᵀC.
    tol : float
        Relative tolerance of each column of the Jacobian.

    Returns
    -------
    SingularDirections
    """
    norms = np.sqrt(np.clip(np.diag(gram), 0.0, None))
    # A column at the round-off of the others is zero: a constant term, or an element that is not present.
    used = norms > 1e-14 * norms.max(initial=0.0)
    scale = np.where(used, norms, 1.0)
    scaled = np.where(np.outer(used, used), gram / np.outer(scale, scale), 0.0)
    values, vectors = np.linalg.eigh(scaled)
    sizes = np.sqrt(np.clip(values[::-1], 0.0, None))
    keep = sizes > max(tol, 1e-8) * sizes[0] if sizes[0] > 0 else np.zeros(len(sizes), bool)
    vectors = vectors[:, ::-1][:, keep]
    used_scale = np.where(used, scale, 0.0)
    return SingularDirections(vectors / scale[:, None] * used[:, None], sizes[keep], vectors * used_scale[:, None])


def solve_directions(
    directions: SingularDirections,
    mixed: FloatArray,
    solve: Callable[[FloatArray, float, float], FloatArray],
    prepared: Callable[[], Prepared],
    tol: float,
) -> Patterns:
    """Solve H L_k = -C w_k for every direction.

    Parameters
    ----------
    directions : SingularDirections
    mixed : (n, 3, P) float array
        C of this rank's atoms.
    solve : callable
        Called with (right-hand side, tolerance, scale); returns a solution with ‖residual‖ ≤ tolerance·scale.
    prepared : callable
        Returns what is known of the system: later solves may find more motions to be free.
    tol : float
        Relative tolerance of each column of the Jacobian.

    Returns
    -------
    Patterns
        dX*/dΘ.
    """
    left = np.zeros((len(directions.sizes), *mixed.shape[:2]))
    for k, weights in enumerate(directions.weights.T):
        left[k] = solve(-(mixed @ weights), tol, float(directions.sizes[0]))
    project = prepared().system.null_space.project
    for k, pattern in enumerate(left):
        left[k] = project(pattern)
    return Patterns(left, directions.back)
