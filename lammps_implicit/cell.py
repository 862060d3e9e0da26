"""The cell's share of a minimum: strain as a degree of freedom beside the positions.

Positions and cell together are x' = x₀ + (1 + ε)(x + u - x₀), x₀ the cell's origin, with displacements u and a strain
ε = Σ_j e_j b_j. At a minimum of the enthalpy both forces and V(P - T) vanish, T the target of the pressure tensor P.
Differentiating that gives

    [[H, G], [Gᵀ, S]] (u, e) = -(C, D) δΘ,    G = ∂²U/∂X∂e,   D = ∂²U/∂e∂Θ,   S = ∂²(U + TV)/∂e²,

where H and C are those of the fixed cell. X is eliminated with Z = H⁻¹G, one solve a strain, kept and used again.

Strains are upper triangular, so that LAMMPS' cell vectors keep their orientation; a shear ε_xy is the engineering one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.errors import LammpsImplicitError, NotAMinimumError
from lammps_implicit.evaluator import Evaluator
from lammps_implicit.operators import MixedDerivative, StrainedDerivative
from lammps_implicit.voigt import COMPONENTS, PLACES, components, tensor

FloatArray = NDArray[np.float64]

STRAIN_STEP = 5e-5
"""Of central differences under strain: truncation and round-off leave about 1e-6 of G and S, from few to a million
atoms."""

PUSH = 1e-3
"""Strain along a direction of negative stiffness."""

AT_TARGET = 2e-5
"""Largest strain that would bring the cell to its target for it to count as being there."""


class Response(NamedTuple):
    """How positions and cell answer to a change of the parameters.

    Attributes
    ----------
    displacement : (n, 3) float array
        Å; Cartesian, the part that follows the cell included.
    strain : (k,) float array
        Components of the strain asked for.
    """

    displacement: FloatArray
    strain: FloatArray


@dataclass(frozen=True)
class CellFreedom:
    """Which strains the cell may take, and the pressure tensor it is held at.

    Attributes
    ----------
    names : tuple of str
        One for each degree of freedom: a component, or ``iso``.
    basis : (6, k) float array
        Components (xx, yy, zz, yz, xz, xy) of the strain for each degree of freedom.
    target : (3, 3) float array
        Pressure tensor, energy per volume; positive when compressed.
    """

    names: tuple[str, ...]
    basis: FloatArray
    target: FloatArray

    @property
    def key(self) -> bytes:
        """What tells this freedom from others."""
        return self.basis.tobytes() + self.target.tobytes()

    @property
    def hydrostatic(self) -> bool:
        """Whether the target is the same pressure in all directions: then an enthalpy exists."""
        return bool(np.array_equal(self.target, self.target[0, 0] * np.eye(3)))

    def tensors(self) -> FloatArray:
        """The basis as upper triangular matrices, (k, 3, 3)."""
        return np.stack([tensor(column) for column in self.basis.T])


def strains(cell: str) -> tuple[tuple[str, ...], FloatArray]:
    """Names of the strains that a cell may take, (k,), and their components, (6, k); see `cell_freedom`.

    Raises
    ------
    LammpsImplicitError
        If a name is none of these.
    """
    if cell == "iso":
        return ("iso",), np.array([[1.0], [1.0], [1.0], [0.0], [0.0], [0.0]])
    names = {"ortho": COMPONENTS[:3], "full": COMPONENTS}.get(cell, tuple(part.strip() for part in cell.split(",")))
    if any(name not in COMPONENTS for name in names) or len(set(names)) < len(names):
        raise LammpsImplicitError(
            f"cell '{cell}' is not one of none, iso, ortho, full, or components such as 'zz' or 'xx,yy' out of "
            f"{', '.join(COMPONENTS)}"
        )
    return names, np.eye(6)[:, [COMPONENTS.index(name) for name in names]]


def cell_freedom(cell: str, target: FloatArray, engine: Evaluator) -> CellFreedom:
    """Read which strains a cell may take.

    Parameters
    ----------
    cell : str
        ``iso`` (one), ``ortho`` (xx, yy, zz), ``full`` (all six), or components separated by commas, as ``zz`` for a
        dislocation along z.
    target : (3, 3) float array
    engine : Evaluator

    Raises
    ------
    LammpsImplicitError
        If a name is none of these, a direction is not periodic, or forces from outside act.
    """
    names, basis = strains(cell)
    needed = {axis for place, row in zip(PLACES, basis, strict=True) if row.any() for axis in place}
    fixed = [axis for axis in sorted(needed) if not engine.periodic[axis]]
    if fixed:
        free = [name for name, place in zip(COMPONENTS, PLACES, strict=True) if all(engine.periodic[a] for a in place)]
        raise LammpsImplicitError(
            f"cell '{cell}' would strain the cell along {'xyz'[fixed[0]]}, where the deck's boundary is not periodic; "
            + (f"here the cell may take {', '.join(free)}" if free else "no direction is periodic")
        )
    if engine.deck.dimension == 2:
        raise LammpsImplicitError(f"cell '{cell}': cells of two-dimensional decks cannot answer")
    sheared = [PLACES[COMPONENTS.index(name)] for name in names if name in COMPONENTS[3:]]
    if any(engine.any(bool(np.any(~engine.free[:, a] & engine.free[:, b]))) for a, b in sheared):
        raise LammpsImplicitError(
            f"cell '{cell}': atoms are held along one direction and free along another, and a shear would mix them"
        )
    if engine.external:
        raise LammpsImplicitError(
            f"cell '{cell}': forces from outside act (a wall, an indenter, a field), and what they do when the cell is "
            "strained is not known"
        )
    return CellFreedom(names, basis, target)


def require_strainable(engine: Evaluator, strain: FloatArray) -> None:
    """Check that LAMMPS' cell can take a strain.

    Raises
    ------
    LammpsImplicitError
    """
    if np.any(np.tril(strain, -1)):
        raise LammpsImplicitError("strains are upper triangular, so that LAMMPS' cell keeps its orientation")
    for name, place in zip(COMPONENTS, PLACES, strict=True):
        if strain[place] and not all(engine.periodic[axis] for axis in place):
            raise LammpsImplicitError(f"a strain {name} along directions that are not periodic")
        if strain[place] and place[0] != place[1] and not engine.triclinic:
            raise LammpsImplicitError(f"a strain {name} tilts a cell that LAMMPS takes to be orthogonal")


def driving_force(volume: float, pressure: FloatArray, strain: FloatArray, target: FloatArray) -> FloatArray:
    """∂U/∂ε + T ∂V/∂ε at a strained state with this volume and pressure: V (T - P) F⁻ᵀ with F = 1 + ε, (6,)."""
    return components(volume * (target - pressure) @ np.linalg.inv(np.eye(3) + strain).T)


@dataclass(frozen=True)
class Coupling:
    """Derivatives under strain at a reference.

    Attributes
    ----------
    freedom : CellFreedom
    forces : (n, 3, k) float array
        G = ∂²U/∂X∂e, eV/Å, on free components.
    stiffness : (k, k) float array
        S = ∂²(U + TV)/∂e², eV.
    mixed : (k, P) float array
        D = ∂²U/∂e∂Θ, eV per unit of Θ; that of LAMMPS' pressure.
    energetic : (k, P) float array
        That of LAMMPS' energy, which differs along the potential's inconsistent directions.
    residual : (k,) float array
        ∂(U + TV)/∂e at the reference, eV.
    """

    freedom: CellFreedom
    forces: FloatArray
    stiffness: FloatArray
    mixed: FloatArray
    energetic: FloatArray
    residual: FloatArray


def measure_coupling(mixed: StrainedDerivative, freedom: CellFreedom) -> Coupling:
    """Difference forces, pressures and descriptors under small strains.

    Two force and two descriptor evaluations a strain, and one force evaluation to come back.
    """
    engine = mixed.engine
    forces, stiffness, changes = [], [], []
    for strain in freedom.tensors():
        pulls, drives, descriptors = [], [], []
        for step in (STRAIN_STEP, -STRAIN_STEP):
            # Forces in strained axes; where they vanish the difference does not matter, and they nearly do.
            pulls.append(engine.strained_forces(step * strain).copy())
            drives.append(driving_force(engine.volume, engine.pressure, step * strain, freedom.target))
            descriptors.append(mixed.collect())
        forces.append((pulls[1] - pulls[0]) / (2 * STRAIN_STEP))
        stiffness.append((drives[0] - drives[1]) / (2 * STRAIN_STEP))
        changes.append((descriptors[0] - descriptors[1]) / (2 * STRAIN_STEP))
    engine.unstrain()
    residual = freedom.basis.T @ driving_force(engine.volume, engine.pressure, np.zeros((3, 3)), freedom.target)
    derivative, energetic = mixed.under_strain(freedom.basis, changes)
    curvature = freedom.basis.T @ np.stack(stiffness, axis=1)
    return Coupling(freedom, np.stack(forces, axis=2), curvature, derivative, energetic, residual)


def second_derivative(energetic: FloatArray, effective: FloatArray, strain_jacobian: FloatArray) -> FloatArray:
    """GᵀJ + JᵀG + JᵀHJ of strains that answer, HJ = -D, (P, P), as `LinearResponse.second_derivative` of positions.

    Parameters
    ----------
    energetic, effective : (k, P) float arrays
        Mixed derivatives of the energy and of the pressure, G and D.
    strain_jacobian : (P, k) float array
        J.
    """
    half = (energetic - 0.5 * effective).T @ strain_jacobian.T
    return half + half.T


class CellSystem:
    """The coupled system with positions eliminated.

    Parameters
    ----------
    engine : Evaluator
    coupling : Coupling
    relaxed : (n, 3, k) float array
        Z = H⁻¹G: minus how positions follow each strain beyond the homogeneous part.
    mixed : MixedDerivative
    positions_follow : bool
        Whether they do; `relaxed` is zero else.

    Attributes
    ----------
    volume : float
    stiffness : (k, k) float array
        A = S - GᵀZ, eV: that of the cell when positions follow.
    effective : (k, P) float array
        D - ZᵀC: how the drive to strain depends on Θ when positions follow.
    strain_jacobian : (P, k) float array
        de/dΘ = -A⁻¹(D - ZᵀC).
    """

    def __init__(
        self,
        engine: Evaluator,
        coupling: Coupling,
        relaxed: FloatArray,
        mixed: MixedDerivative,
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
        patterns = np.moveaxis(relaxed, 2, 0)
        self.effective = coupling.mixed - np.stack([mixed.transposed_times(pattern) for pattern in patterns])
        # Of the energy itself, where LAMMPS' forces and pressures are not its derivatives.
        followed = [mixed.gradients_transposed_times(pattern) for pattern in patterns] if mixed.odd.size else []
        self._energetic = coupling.energetic - np.array(followed) if mixed.odd.size else self.effective
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

    def forward(self, displacement: FloatArray, dtheta: FloatArray) -> Response:
        """Complete the fixed cell's answer -H⁻¹C δΘ, (n, 3), to that of positions and cell."""
        strain = dtheta @ self.strain_jacobian
        return Response(displacement + np.tensordot(strain, self.patterns(), axes=1), strain)

    def backward(self, cotangent: FloatArray, strain_cotangent: FloatArray) -> FloatArray:
        """What the cell adds to the gradient of a loss with ∂L/∂X* and ∂L/∂e, (P,)."""
        felt = np.asarray(self.engine.sum(np.einsum("kna,na->k", self.patterns(), cotangent)))
        return self.strain_jacobian @ (strain_cotangent + felt)

    def homogeneous(self) -> FloatArray:
        """How positions follow a unit of each strain at fixed fractional coordinates, (k, n, 3)."""
        return np.stack([self._offset @ strain.T for strain in self.freedom.tensors()])
