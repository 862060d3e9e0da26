"""Which strains a cell may take, what it is held at, and the derivatives under them.

Strains are upper triangular, so that LAMMPS' cell vectors keep their orientation; a shear ε_xy is the engineering one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.voigt import COMPONENTS, PLACES, components, tensor
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator


class CellResponse(NamedTuple):
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


@dataclass(frozen=True, eq=False)
class StrainFreedom:
    """Which strains the cell may take, and the pressure tensor it is held at. Make one with `StationaryPoint.strain`.

    Attributes
    ----------
    label : str
        As it was asked for: ``none``, ``iso``, ``ortho``, ``full``, or components such as ``xx,yy``.
    names : tuple of str
        One for each degree of freedom: a component, or ``iso``.
    basis : (6, k) float array
        Components (xx, yy, zz, yz, xz, xy) of the strain for each degree of freedom.
    target : (3, 3) float array
        Pressure tensor, energy per volume; positive when compressed.
    """

    label: str
    names: tuple[str, ...]
    basis: FloatArray
    target: FloatArray

    @property
    def fixed(self) -> bool:
        """Whether the cell stays as it is."""
        return not self.names

    @property
    def without_strains(self) -> StrainFreedom:
        """The cell as it is."""
        return StrainFreedom("none", (), np.zeros((6, 0)), self.target)

    @property
    def key(self) -> bytes:
        """Cache key: the same for the same strains and target; empty for a fixed cell, whatever its pressure."""
        return b"" if self.fixed else self.basis.tobytes() + self.target.tobytes()

    @property
    def hydrostatic(self) -> bool:
        """Whether the target is the same pressure in all directions: then an enthalpy exists."""
        return bool(np.array_equal(self.target, self.target[0, 0] * np.eye(3)))

    def require_hydrostatic(self) -> None:
        """Check that an enthalpy exists.

        Raises
        ------
        LammpsImplicitError
        """
        if not (self.fixed or self.hydrostatic):
            raise LammpsImplicitError(
                "energies and enthalpies have second derivatives at a hydrostatic pressure only: under another stress "
                "what the cell does is not the gradient of any energy"
            )

    def tensors(self) -> FloatArray:
        """The basis as upper triangular matrices, (k, 3, 3)."""
        return np.array([tensor(column) for column in self.basis.T]).reshape(-1, 3, 3)


def strains(cell: str) -> tuple[tuple[str, ...], FloatArray]:
    """Names of the strains that a cell may take, (k,), and their components, (6, k); see `strain_freedom`.

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


def strain_freedom(cell: str, target: FloatArray, engine: Evaluator) -> StrainFreedom:
    """Read which strains a cell may take, and check that this one can.

    Parameters
    ----------
    cell : str
        ``none``, ``iso`` (one), ``ortho`` (xx, yy, zz), ``full`` (all six), or components separated by commas, as
        ``zz`` for a dislocation along z.
    target : (3, 3) float array
        Energy per volume.
    engine : Evaluator

    Raises
    ------
    LammpsImplicitError
        If a name is none of these, a direction is not periodic, or forces from outside act.
    """
    if cell == "none":
        return StrainFreedom("none", (), np.zeros((6, 0)), target)
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
    return StrainFreedom(cell, names, basis, target)


def require_tiltable(engine: Evaluator, freedom: StrainFreedom) -> None:
    """Check that no tilt is asked of a cell that LAMMPS takes to be orthogonal.

    Raises
    ------
    LammpsImplicitError
    """
    if np.any(freedom.basis[3:]) and not engine.triclinic:
        raise LammpsImplicitError(
            f"cell '{freedom.label}' tilts a cell that LAMMPS takes to be orthogonal: relax it first with "
            f"relax(cell='{freedom.label}')"
        )


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
    freedom : StrainFreedom
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

    freedom: StrainFreedom
    forces: FloatArray
    stiffness: FloatArray
    mixed: FloatArray
    energetic: FloatArray
    residual: FloatArray


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
