"""The cell's share of a minimum: strain as a degree of freedom beside the positions.

Positions and cell together are x' = x₀ + (1 + ε)(x + u - x₀), x₀ the cell's origin, with displacements u and a strain
ε = Σ_j e_j b_j. At a minimum of the enthalpy both forces and V(P - T) vanish, T the target of the pressure tensor P.
Differentiating that gives

    [[H, G], [Gᵀ, S]] (u, e) = -(C, D) δΘ,    G = ∂²U/∂X∂e,   D = ∂²U/∂e∂Θ,   S = ∂²(U + TV)/∂e²,

where H and C are those of the fixed cell. X is eliminated with Z = H⁻¹G, one solve a strain, kept and used again.
"""

from __future__ import annotations

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import CellResponse, Coupling, second_derivative
from lammps_implicit.errors import NotAMinimumError
from lammps_implicit.evaluators.interface import Evaluator

PUSH = 1e-3
"""Strain along a direction of negative stiffness."""

AT_TARGET = 2e-5
"""Largest strain that would bring the cell to its target for it to count as being there."""


class CellSystem:
    """The coupled system with positions eliminated.

    Parameters
    ----------
    engine : Evaluator
    coupling : Coupling
    relaxed : (n, 3, k) float array
        Z = H⁻¹G: minus how positions follow each strain beyond the homogeneous part.
    effective : (k, P) float array
        D - ZᵀC: how the drive to strain depends on Θ when positions follow.
    energetic : (k, P) float array
        The same of the energy itself, where LAMMPS' forces and pressures are not its derivatives.
    positions_follow : bool
        Whether they do; `relaxed` is zero else.

    Attributes
    ----------
    volume : float
    stiffness : (k, k) float array
        A = S - GᵀZ, eV: that of the cell when positions follow.
    strain_jacobian : (P, k) float array
        de/dΘ = -A⁻¹(D - ZᵀC).
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
        self.strain_jacobian = -np.linalg.solve(self.stiffness, self.effective).T

    @property
    def volume_gradient(self) -> FloatArray:
        """dV/dΘ, (P,), Å³ per unit of Θ."""
        return self.volume * self.strain_jacobian @ self.freedom.basis[:3].sum(axis=0)

    @property
    def enthalpy_hessian(self) -> FloatArray:
        """What the cell adds to the second derivative of the relaxed energy at fixed cell, (P, P)."""
        return second_derivative(self._energetic, self.effective, self.strain_jacobian)

    def step(self, residual: FloatArray) -> FloatArray:
        """Strain that brings a cell with ∂(U + TV)/∂e = `residual` to its target, (k,); downhill in the enthalpy."""
        values, vectors = np.linalg.eigh((self.stiffness + self.stiffness.T) / 2)
        if values[0] > 0:
            return -np.linalg.solve(self.stiffness, residual)
        amounts = -(vectors.T @ residual) / np.maximum(np.abs(values), 1e-2 * np.abs(values).max())
        # On a ridge by symmetry nothing pulls downwards: a push does.
        ridge = (values < 0) & (np.abs(amounts) < PUSH)
        return vectors @ np.where(ridge, np.copysign(PUSH, amounts), amounts)

    def require_minimum(self) -> None:
        """Check that every strain raises the enthalpy.

        Raises
        ------
        NotAMinimumError
        """
        lowest = float(np.linalg.eigvalsh((self.stiffness + self.stiffness.T) / 2)[0])
        if not lowest > 0:
            raise NotAMinimumError(
                f"the cell is not at a minimum: under some strain out of {', '.join(self.freedom.names)} the enthalpy "
                f"curves downwards ({lowest / self.volume:.3g} in the deck's units of energy per volume), as a "
                "negative bulk modulus does"
            )

    def patterns(self) -> FloatArray:
        """How positions answer to a unit of each strain, the homogeneous part included, (k, n, 3)."""
        return self.homogeneous() - np.moveaxis(self.relaxed, 2, 0)

    def forward(self, displacement: FloatArray, dtheta: FloatArray) -> CellResponse:
        """Complete the fixed cell's answer -H⁻¹C δΘ, (n, 3), to that of positions and cell."""
        strain = dtheta @ self.strain_jacobian
        return CellResponse(displacement + np.tensordot(strain, self.patterns(), axes=1), strain)

    def backward(self, cotangent: FloatArray, strain_cotangent: FloatArray) -> FloatArray:
        """What the cell adds to the gradient of a loss with ∂L/∂X* and ∂L/∂e, (P,)."""
        felt = np.asarray(self.engine.sum(np.einsum("kna,na->k", self.patterns(), cotangent)))
        return self.strain_jacobian @ (strain_cotangent + felt)

    def homogeneous(self) -> FloatArray:
        """How positions follow a unit of each strain at fixed fractional coordinates, (k, n, 3)."""
        return np.stack([self._offset @ strain.T for strain in self.freedom.tensors()])
