"""The strains a cell may take, its target pressure, and the derivatives with respect to these strains.

Strains are upper triangular, which keeps the cell vectors in LAMMPS' orientation; shears are engineering strains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lammps_implicit.arrays import FloatArray, read_only
from lammps_implicit.cell.voigt import COMPONENTS, PLACES, components, tensor
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator

WHOLE = ("iso", "ortho", "full")
"""Names for all strains of a kind; of these a cell that is not periodic everywhere takes those that it can."""


class CellResponse(NamedTuple):
    """First-order response of positions and cell to a change of the parameters.

    Attributes
    ----------
    displacement : (n, 3) float array
        Cartesian displacements, Å, including those due to the strain of the cell.
    strain : (k,) float array
        Strain along each degree of freedom of the cell.
    """

    displacement: FloatArray
    strain: FloatArray


@dataclass(frozen=True, eq=False)
class StrainFreedom:
    """The strains the cell may take, and its target pressure tensor. Created by `StationaryPoint.strain`.

    Attributes
    ----------
    label : str
        As given by the user: ``none``, ``iso``, ``ortho``, ``full``, or components such as ``xx,yy``.
    names : (k,) tuple of str
        Name of each degree of freedom: a component, or ``iso``.
    basis : (6, k) float array
        Strain components (xx, yy, zz, yz, xz, xy) of each degree of freedom.
    target : (3, 3) float array
        Target T of the pressure tensor, energy per volume; positive in compression.
    units : str
        LAMMPS' unit style of the target.
    """

    label: str
    names: tuple[str, ...]
    basis: FloatArray
    target: FloatArray
    units: str

    def __post_init__(self) -> None:
        # Shared with caches and results: nobody changes them in place.
        object.__setattr__(self, "basis", read_only(np.array(self.basis, float)))
        object.__setattr__(self, "target", read_only(np.array(self.target, float)))

    @property
    def fixed(self) -> bool:
        """Whether the cell is fixed."""
        return not self.names

    @property
    def without_strains(self) -> StrainFreedom:
        """The same target with a fixed cell."""
        return StrainFreedom("none", (), np.zeros((6, 0)), self.target, self.units)

    @property
    def key(self) -> bytes:
        """Cache key: equal for equal strains and targets; empty for a fixed cell, whatever its target."""
        return b"" if self.fixed else self.basis.tobytes() + self.target.tobytes()

    @property
    def hydrostatic(self) -> bool:
        """Whether the target is an isotropic pressure, so that an enthalpy exists."""
        return bool(np.array_equal(self.target, self.target[0, 0] * np.eye(3)))

    def require_hydrostatic(self) -> None:
        """Check that an enthalpy exists.

        Raises
        ------
        LammpsImplicitError
            If the cell is free and the target is not hydrostatic.
        """
        if not (self.fixed or self.hydrostatic):
            raise LammpsImplicitError(
                "second derivatives of the relaxed energy or enthalpy require a hydrostatic pressure: under any other "
                "stress the force on the cell is not the gradient of an energy. Give one number for the pressure, or "
                "keep the cell fixed"
            )

    def tensors(self) -> FloatArray:
        """Return the basis as upper triangular matrices, (k, 3, 3)."""
        return np.array([tensor(column) for column in self.basis.T]).reshape(-1, 3, 3)


def strains(cell: str) -> tuple[tuple[str, ...], FloatArray]:
    """Return the names and components of the strains that a cell may take.

    Parameters
    ----------
    cell : str
        See `strain_freedom`; not ``none``.

    Returns
    -------
    names : (k,) tuple of str
    basis : (6, k) float array
        Components (xx, yy, zz, yz, xz, xy) of each strain.

    Raises
    ------
    LammpsImplicitError
        If a name is unknown or given twice.
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
    """Parse which strains a cell may take, and check that the given cell can take them.

    Parameters
    ----------
    cell : str
        ``none``, ``iso`` (one isotropic strain), ``ortho`` (xx, yy, zz), ``full`` (all six components), or components
        separated by commas, for example ``zz`` for a dislocation along z. In slabs, wires and two-dimensional decks the
        first three leave out what the cell cannot take: see `Evaluator.strainable`.
    target : (3, 3) float array
        Target pressure tensor, energy per volume. Components that the cell cannot take do not matter.
    engine : Evaluator

    Raises
    ------
    LammpsImplicitError
        If a name is unknown, a component is given along a direction in which the cell cannot be strained, a shear mixes
        fixed and free components, external forces act, charges do not add up to zero, or a boundary follows the atoms
        of a cell under pressure.
    """
    if cell == "none":
        return StrainFreedom("none", (), np.zeros((6, 0)), target, engine.deck.units)
    names, basis = _possible(cell, engine)
    sheared = [PLACES[COMPONENTS.index(name)] for name in names if name in COMPONENTS[3:]]
    if any(engine.any(bool(np.any(~engine.free[:, a] & engine.free[:, b]))) for a, b in sheared):
        raise LammpsImplicitError(
            f"cell '{cell}': some atoms are fixed along one direction and free along another, and a shear would mix "
            "them; freeze these atoms completely, or leave out the shears"
        )
    if engine.external:
        raise LammpsImplicitError(
            f"cell '{cell}': external forces act (a wall, an indenter, a field), and how they change when the cell is "
            "strained is not known; keep the cell fixed"
        )
    if engine.charged:
        raise LammpsImplicitError(
            f"cell '{cell}': the charges do not add up to zero, and LAMMPS' pressure lacks that of the background "
            "which kspace_style adds: it is not the derivative of the energy; neutralise the cell, or keep it fixed"
        )
    if engine.follows_atoms and target.any():
        raise LammpsImplicitError(
            f"cell '{cell}' under pressure: a boundary of the cell follows its atoms, whose motion would do work "
            "against the pressure; write 'boundary ... f' with room for the atoms, or leave out the pressure"
        )
    return StrainFreedom(cell, names, basis, _applied(target, engine.strainable), engine.deck.units)


def left_out(freedom: StrainFreedom) -> str:
    """Say which strains ``iso``, ``ortho`` or ``full`` leave out, as the cell cannot take them; empty if none."""
    if freedom.label not in WHOLE:
        return ""
    asked = strains(freedom.label)[1]
    missing = bool((asked.any(axis=1) & ~freedom.basis.any(axis=1)).any())
    taken = [name for name, row in zip(COMPONENTS, freedom.basis, strict=True) if row.any()]
    if not missing:
        return ""
    alike = ", equal," if freedom.label == "iso" and len(taken) > 1 else ""
    return f"cell '{freedom.label}' is {', '.join(taken)}{alike} here: along other directions the deck is not periodic"


def _possible(cell: str, engine: Evaluator) -> tuple[tuple[str, ...], FloatArray]:
    """Those of the strains asked for that the cell can take, as `strains` returns them."""
    names, basis = strains(cell)
    possible = np.array([all(engine.strainable[axis] for axis in place) for place in PLACES])
    if not basis[~possible].any():
        return names, basis
    free = [name for name, fits in zip(COMPONENTS, possible, strict=True) if fits]
    if cell in WHOLE and free:
        basis = basis * possible[:, None]
        kept = basis.any(axis=0)
        return tuple(np.array(names)[kept].tolist()), basis[:, kept]
    axis = next(
        a for place, row in zip(PLACES, basis, strict=True) if row.any() for a in place if not engine.strainable[a]
    )
    why = "which a two-dimensional deck lacks" if engine.periodic[axis] else "where the deck's boundary is not periodic"
    raise LammpsImplicitError(
        f"cell '{cell}' would strain the cell along {'xyz'[axis]}, {why}; "
        + (f"here the cell may take {', '.join(free)}" if free else "no direction is periodic: keep the cell fixed")
    )


def _applied(target: FloatArray, strainable: tuple[bool, bool, bool]) -> FloatArray:
    """The target without components along which the cell cannot be strained: a pressure where the rest is one."""
    inside = np.ix_(strainable, strainable)
    mean = float(np.trace(target[inside])) / max(sum(strainable), 1)
    applied = mean * np.eye(3)
    applied[inside] = target[inside]
    return applied


def require_tiltable(engine: Evaluator, freedom: StrainFreedom) -> None:
    """Check that an orthogonal LAMMPS cell need not be tilted.

    Raises
    ------
    LammpsImplicitError
        If the freedom contains shears and the cell is orthogonal.
    """
    if np.any(freedom.basis[3:]) and not engine.triclinic:
        raise LammpsImplicitError(
            f"cell '{freedom.label}' tilts a cell that is orthogonal in LAMMPS: make it triclinic by relaxing it "
            f"first, with relax(cell='{freedom.label}')"
        )


def require_strainable(engine: Evaluator, strain: FloatArray) -> None:
    """Check that LAMMPS' cell can take a strain, (3, 3).

    Raises
    ------
    LammpsImplicitError
        If the strain is not upper triangular, strains a non-periodic direction, or tilts an orthogonal cell.
    """
    if np.any(np.tril(strain, -1)):
        raise LammpsImplicitError(
            f"the strain {strain.tolist()} is not upper triangular, as LAMMPS' orientation of the cell requires: give "
            "the upper triangle"
        )
    for name, place in zip(COMPONENTS, PLACES, strict=True):
        if strain[place] and not all(engine.strainable[axis] for axis in place):
            raise LammpsImplicitError(
                f"strain component {name} is along a direction that is not periodic, or z of a two-dimensional deck: "
                "set it to zero"
            )
        if strain[place] and place[0] != place[1] and not engine.triclinic:
            raise LammpsImplicitError(
                f"strain component {name} tilts a cell that is orthogonal in LAMMPS: add 'change_box all triclinic' to "
                "the deck"
            )


def driving_force(volume: float, pressure: FloatArray, strain: FloatArray, target: FloatArray) -> FloatArray:
    """Return ∂U/∂ε + T ∂V/∂ε at a strained state, which is V (T - P) F⁻ᵀ with F = 1 + ε.

    Parameters
    ----------
    volume : float
        V of the strained cell.
    pressure, target : (3, 3) float array
        P and T of the strained cell, energy per volume.
    strain : (3, 3) float array
        ε, relative to the reference.

    Returns
    -------
    (6,) float array
        Components (xx, yy, zz, yz, xz, xy), energy.
    """
    return components(volume * (target - pressure) @ np.linalg.inv(np.eye(3) + strain).T)


@dataclass(frozen=True)
class Coupling:
    """Second derivatives that involve the strain e of the cell, at a reference.

    Attributes
    ----------
    freedom : StrainFreedom
    forces : (n, 3, k) float array
        G = ∂²U/∂X∂e, eV/Å, on free components.
    stiffness : (k, k) float array
        S = ∂²(U + TV)/∂e² at fixed fractional coordinates, eV.
    mixed : (k, P) float array
        D = ∂²U/∂e∂Θ, eV per unit of Θ, from derivatives of LAMMPS' pressure.
    energetic : (k, P) float array
        The same from LAMMPS' energy; it differs for parameters whose forces are not derivatives of the energy.
    residual : (k,) float array
        ∂(U + TV)/∂e at the reference, eV.
    error : float
        Relative error, from comparing two difference steps; NaN if they were not compared.
    """

    freedom: StrainFreedom
    forces: FloatArray
    stiffness: FloatArray
    mixed: FloatArray
    energetic: FloatArray
    residual: FloatArray
    error: float


def second_derivative(energetic: FloatArray, effective: FloatArray, strain_jacobian: FloatArray) -> FloatArray:
    """Return the strain's contribution to the second derivative of the relaxed energy, EᵀJ + JᵀE + JᵀAJ with AJ = -D.

    The counterpart for positions is `LinearResponse.second_derivative`.

    Parameters
    ----------
    energetic, effective : (k, P) float arrays
        Mixed derivatives E of the energy and D of the driving force on the strains, positions relaxed.
    strain_jacobian : (P, k) float array
        Jᵀ = de/dΘ.

    Returns
    -------
    (P, P) float array
        Energy per unit of Θ squared.
    """
    half = (energetic - 0.5 * effective).T @ strain_jacobian.T
    return half + half.T
