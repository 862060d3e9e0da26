"""The coupled linear system of positions and cell, with the strain of the cell as an additional degree of freedom.

Positions and cell together are x' = x₀ + (1 + ε)(x + u - x₀), x₀ the cell's origin, with displacements u and a strain
ε = Σ_j e_j b_j. At a minimum of the enthalpy both the forces and V(P - T) vanish, where T is the target of the pressure
tensor P. Differentiating these conditions gives

    [[H, G], [Gᵀ, S]] (u, e) = -(C, D) δΘ,    G = ∂²U/∂X∂e,   D = ∂²U/∂e∂Θ,   S = ∂²(U + TV)/∂e²,

where H and C are those of the fixed cell. Positions are eliminated with Z = H⁻¹G: one linear solve per strain, whose
result is kept.
"""

from __future__ import annotations

import numpy as np

from lammps_implicit.arrays import FloatArray, read_only
from lammps_implicit.cell.freedom import CellResponse, Coupling, second_derivative
from lammps_implicit.errors import LammpsImplicitError, NotAMinimumError
from lammps_implicit.evaluators.interface import Evaluator

AT_TARGET = 2e-5
"""Remaining strain below which the cell counts as being at its target. Chosen between the 1e-8 that relaxation may
leave and strains that change derivatives noticeably."""

_EMPTY = 1e-6
"""Stiffness of a strain, relative to the largest, below which nothing resists it. Chosen between the noise of pressures
(1e-9) and layers that hardly touch (1e-3)."""

_PUSH = 1e-3
"""Least strain along a direction of negative stiffness. Chosen: well above round-off, far below the longest step."""


class CellSystem:
    """The coupled system of positions and cell, with positions eliminated.

    Parameters
    ----------
    engine : Evaluator
    coupling : Coupling
    relaxed : (n, 3, k) float array
        Z = H⁻¹G, Å: minus the displacements, beyond the homogeneous ones, that relax the positions per unit of strain.
    effective : (k, P) float array
        D - ZᵀC, eV per unit of Θ: mixed derivative of the enthalpy with positions relaxed.
    energetic : (k, P) float array
        The same from LAMMPS' energy; it differs where LAMMPS' forces and pressures are not derivatives of the energy.
    positions_follow : bool
        Whether positions relax with the strain; if not, `relaxed` is zero.

    Attributes
    ----------
    volume : float
        Å³.
    stiffness : (k, k) float array
        A = S - GᵀZ, eV: stiffness of the cell with positions relaxed.
    strain_jacobian : (P, k) float array
        (de/dΘ)ᵀ with de/dΘ = -A⁻¹(D - ZᵀC), per unit of Θ.
    caution : str
        What a finite strain sees, where it differs from the derivatives; empty if not, or not measured.
    """

    def __init__(
        self,
        engine: Evaluator,
        coupling: Coupling,
        relaxed: FloatArray,
        effective: FloatArray,
        energetic: FloatArray,
        positions_follow: bool = True,
    ) -> None:
        self.engine = engine
        self.positions_follow = positions_follow
        self.volume = engine.volume
        self._offset = engine.positions - engine.origin
        self.freedom = coupling.freedom
        self.coupling = coupling
        self.relaxed = relaxed
        self.stiffness = coupling.stiffness - np.asarray(engine.sum(np.einsum("nai,naj->ij", coupling.forces, relaxed)))
        self.effective = effective
        self._energetic = energetic
        self.strain_jacobian = read_only(-np.linalg.solve(self.stiffness, self.effective).T)
        self.caution = ""

    @property
    def volume_gradient(self) -> FloatArray:
        """dV/dΘ of the relaxed cell, (P,), Å³ per unit of Θ.

        Raises
        ------
        LammpsImplicitError
            If a boundary of the cell follows its atoms, and the volume with them.
        """
        if self.engine.follows_atoms:
            raise LammpsImplicitError(
                "a boundary of the cell follows its atoms ('boundary ... s' or 'm'), and its volume with them: write "
                "'boundary ... f' for a volume with derivatives"
            )
        return self.volume * self.strain_jacobian @ self.freedom.basis[:3].sum(axis=0)

    @property
    def enthalpy_hessian(self) -> FloatArray:
        """Contribution of the cell to d²U/dΘ² of the relaxed structure, (P, P), eV per unit of Θ squared."""
        return second_derivative(self._energetic, self.effective, self.strain_jacobian)

    def step(self, residual: FloatArray) -> FloatArray:
        """Return the Newton step towards the target, (k,); where the stiffness is indefinite, a step downhill.

        Parameters
        ----------
        residual : (k,) float array
            ∂(U + TV)/∂e, eV.
        """
        values, vectors = np.linalg.eigh((self.stiffness + self.stiffness.T) / 2)
        if values[0] > 0:
            return -np.linalg.solve(self.stiffness, residual)
        amounts = -(vectors.T @ residual) / np.maximum(np.abs(values), 1e-2 * np.abs(values).max())
        # On a ridge, symmetry makes the residual vanish along the unstable directions: a push leaves it.
        ridge = (values < 0) & (np.abs(amounts) < _PUSH)
        return vectors @ np.where(ridge, np.copysign(_PUSH, amounts), amounts)

    def require_resistance(self) -> None:
        """Check that something resists each strain.

        Raises
        ------
        NotAMinimumError
            If nothing does, as where vacuum surrounds a slab.
        """
        sizes = np.abs(np.diag(self.stiffness))  # others are changed by the work of the pressure too
        held = sizes > _EMPTY * sizes.max()
        if not held.all():
            names = np.array(self.freedom.names)
            raise NotAMinimumError(
                f"nothing resists the strain {', '.join(names[~held])} of the cell (vacuum beside a slab, or a gas?): "
                + (f"leave it out, as with cell '{','.join(names[held])}'" if held.any() else "keep the cell fixed")
            )

    def require_minimum(self) -> None:
        """Check that the stiffness is positive definite.

        Raises
        ------
        NotAMinimumError
            If some strain lowers the enthalpy.
        """
        lowest = float(np.linalg.eigvalsh((self.stiffness + self.stiffness.T) / 2)[0])
        if not lowest > 0:
            raise NotAMinimumError(
                "the cell is not at a minimum: the enthalpy has negative curvature under some combination of the "
                f"strains {', '.join(self.freedom.names)} ({lowest / self.volume:.3g} in the deck's units of energy "
                "per volume), as with a negative bulk modulus; relax the cell from elsewhere, or keep it fixed"
            )

    def patterns(self) -> FloatArray:
        """Return the displacements per unit of each strain with positions relaxed, (k, n, 3), Å."""
        return self.homogeneous() - np.moveaxis(self.relaxed, 2, 0)

    def forward(self, displacement: FloatArray, dtheta: FloatArray) -> CellResponse:
        """Return the response of positions and cell from that at fixed cell.

        Parameters
        ----------
        displacement : (n, 3) float array
            -H⁻¹C δΘ, Å.
        dtheta : (P,) float array
            δΘ.
        """
        strain = dtheta @ self.strain_jacobian
        return CellResponse(displacement + np.tensordot(strain, self.patterns(), axes=1), strain)

    def backward(self, cotangent: FloatArray, strain_cotangent: FloatArray) -> FloatArray:
        """Return the cell's contribution to the gradient of a loss L with respect to Θ, (P,).

        Parameters
        ----------
        cotangent : (n, 3) float array
            ∂L/∂X*.
        strain_cotangent : (k,) float array
            ∂L/∂e at fixed positions.
        """
        through_positions = np.asarray(self.engine.sum(np.einsum("kna,na->k", self.patterns(), cotangent)))
        return self.strain_jacobian @ (strain_cotangent + through_positions)

    def homogeneous(self) -> FloatArray:
        """Return the displacements per unit of each strain at fixed fractional coordinates, (k, n, 3), Å."""
        return np.stack([self._offset @ strain.T for strain in self.freedom.tensors()])
