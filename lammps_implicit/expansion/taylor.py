"""Taylor models of a minimum: structure, cell, energy and pressure at changed parameters.

With W = U + TV the enthalpy at the target pressure T, and z = (X, e) the unknowns that may answer,

    W*(Θ + δ) = W* + B·δ + ½ δᵀ(Cᵀ dz/dΘ)δ + O(δ³),    z*(Θ + δ) = z* + dz/dΘ δ + O(δ²),

and W re-evaluated at the structure of first order is right to third order (the 2n + 1 rule). What may answer makes a
variant: nothing, the cell alone (homogeneous strain, which much of the literature stops at), positions alone, or both.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import Coupling, StrainFreedom, driving_force, second_derivative
from lammps_implicit.cell.system import CellSystem
from lammps_implicit.cell.voigt import components, tensor
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.response.jacobian import Patterns
from lammps_implicit.stationary.point import StationaryPoint

VARIANTS = ("constant", "homogeneous", "fixed", "both")
"""What may answer: nothing, the cell alone, positions in the cell as it is, positions and cell."""

EXACT = 4
"""Changes up to which errors are evaluated one by one."""

TRUST_STEPS = 12
"""Evaluations of the error after which the search for a trust radius gives up."""

FIRST_CHANGE = 1e-3
"""Relative change of the parameters that the search for a trust radius starts from."""


@dataclass(frozen=True)
class Variant:
    """How a minimum answers when some of its unknowns may.

    Attributes
    ----------
    patterns : Patterns
        dX*/dΘ; none where positions are not relaxed.
    strain_jacobian : (P, 6) float array
        Components (xx, yy, zz, yz, xz, xy) of the strain.
    hessian : (P, P) float array
        d²W/dΘ².
    """

    patterns: Patterns
    strain_jacobian: FloatArray
    hessian: FloatArray


@dataclass(frozen=True)
class Missed:
    """What re-evaluating at a predicted structure tells of its errors.

    Attributes
    ----------
    enthalpy : float
        W(z* + dz, Θ + δ).
    decrement : float
        About how far that lies above the minimum: ½ gᵀK⁻¹g with the forces and stresses g left there.
    displacement : float
        About the largest distance of an atom from where it should be, Å.
    """

    enthalpy: float
    decrement: float
    displacement: float


class Expansion:
    """Predictions around one minimum; make it with `Minimum.expansion`.

    The minimum must stay where it is while the expansion is used for third orders, errors or pressures, which evaluate
    LAMMPS; everything else is algebra.

    Attributes
    ----------
    order : int
        Of energies: 1, 2 or 3.
    variants : dict of str to Variant
        ``constant`` and ``fixed``; with a cell that answers also ``homogeneous`` and ``both``.
    default : str
        The most complete of them.
    """

    def __init__(
        self,
        minimum: StationaryPoint,
        order: int,
        variants: dict[str, Variant],
        target: FloatArray,
        system: CellSystem | None,
    ) -> None:
        self.minimum = minimum
        self.order = order
        self.variants = variants
        self.default = "both" if system is not None else "fixed"
        self.target = target
        self.system = system
        self.energy, self.gradient = minimum.energy, minimum.energy_gradient()
        self.cell, self.volume = minimum.engine.cell, minimum.engine.volume
        self.positions, self.pressure, self.state = minimum.positions, minimum.pressure, minimum.state
        self.enthalpy = self.energy + self._pressure * self.volume
        self._coupling: Coupling | None = None

    @property
    def _pressure(self) -> float:
        return float(np.trace(self.target)) / 3

    def predict(self, dtheta: ArrayLike, variant: str | None = None, errors: bool = True) -> Prediction:
        """Predict what Θ + δΘ leads to.

        Parameters
        ----------
        dtheta : (P,) or (..., P) array_like
            One change of the parameters or many; everything predicted has the same leading axes.
        variant : str, optional
            What may be relaxed: one of `variants`, default the most complete.
        errors : bool
            Whether to estimate errors, where positions are relaxed: about four force evaluations per change, and for
            more than `EXACT` changes at those of them that change the energy most, scaled to the others by the powers
            that the terms grow with.

        At order 3 U is evaluated at every predicted structure, about four force evaluations per change, which gives
        the errors too; otherwise, and without errors, nothing is evaluated.
        """
        variant = self.default if variant is None else variant
        if variant not in self.variants:
            raise LammpsImplicitError(f"variant '{variant}' is not one of {', '.join(self.variants)}")
        changes = np.asarray(dtheta, float)
        if changes.shape[-1:] != self.gradient.shape or not np.isfinite(changes).all():
            raise LammpsImplicitError(
                f"dtheta of shape {changes.shape}: its last axis holds {len(self.gradient)} finite numbers"
            )
        chosen, responds = self.variants[variant], variant in ("fixed", "both")
        second = 0.5 * np.einsum("...p,pq,...q->...", changes, chosen.hessian, changes)
        terms = [np.full(changes.shape[:-1], self.enthalpy), changes @ self.gradient, second][: self.order + 1]
        flat, sizes = changes.reshape(-1, changes.shape[-1]), np.abs(second).reshape(-1)
        evaluated = np.arange(0)
        if self.order == 3 or (errors and responds):
            every = self.order == 3 or len(flat) <= EXACT
            evaluated = np.arange(len(flat)) if every else np.argsort(sizes)[-EXACT:]
        missed = [missed_at(self, flat[index], chosen) for index in evaluated]
        upto = sum(terms).reshape(-1)
        if self.order == 3:
            terms.append((np.array([m.enthalpy for m in missed]) - upto).reshape(second.shape))
        error = distance = None
        if errors and responds:
            estimate = partial(_scaled, sizes, evaluated)
            found = sizes
            if self.order == 2:
                found = estimate(np.array([m.enthalpy for m in missed]) - upto[evaluated], 1.5)
            elif self.order == 3:
                found = estimate(np.array([m.decrement for m in missed]), 2.0)
            error = found.reshape(second.shape)
            distance = estimate(np.array([m.displacement for m in missed]), 1.0).reshape(second.shape)
        stacked = np.stack(np.broadcast_arrays(*terms), axis=-1)
        return Prediction(self, variant, changes, stacked, error, distance)

    def trust_radius(
        self, direction: ArrayLike, energy: float = 1e-3, displacement: float = 0.02, variant: str | None = None
    ) -> float:
        """|δΘ| along a direction at which an estimated error passes its limit.

        Parameters
        ----------
        direction : (P,) array_like
            Its length does not matter.
        energy : float
            Limit of the enthalpy's error, eV.
        displacement : float
            Limit of any atom's error, Å.
        variant : str, optional

        Raises
        ------
        LammpsImplicitError
            If nothing answers to this direction.
        """
        direction = np.asarray(direction, float)
        length = float(np.linalg.norm(direction))
        theta = self.minimum.potential.theta
        if not (np.isfinite(length) and length > 0):
            raise LammpsImplicitError("a trust radius needs a direction of finite length that is not zero")
        energy *= self.minimum.units.force_factor  # lengths are Å in all units but lj
        unit = direction / length
        size = FIRST_CHANGE * float(np.linalg.norm(theta)) or FIRST_CHANGE
        low, high = 0.0, np.inf
        for _ in range(TRUST_STEPS):
            predicted = self.predict(size * unit, variant)
            share = max(float(predicted.energy_error) / energy, float(predicted.displacement_error) / displacement)
            if share == 0:
                raise LammpsImplicitError("nothing answers to this direction of the parameters: no radius limits it")
            if 0.9 < share < 1.1:
                break
            low, high = (size, high) if share < 1 else (low, size)
            # Errors grow with the second power of the change at least, and with the fourth at most.
            guess = size * float(np.clip(share ** (-1 / 2 if share > 1 else -1 / 3), 0.05, 20.0))
            size = guess if low < guess < high else float(np.sqrt(max(low, 0.05 * high) * high))
        else:
            raise LammpsImplicitError(f"no radius was found in {TRUST_STEPS} steps: the energy may not be smooth here")
        return size

    def require_unmoved(self) -> None:
        """Check that the minimum still stands where the expansion was made.

        Raises
        ------
        LammpsImplicitError
        """
        if self.minimum.state != self.state:
            raise LammpsImplicitError(
                "the minimum has been relaxed or moved since this expansion was made: make another"
            )

    def _natural_coupling(self) -> Coupling:
        """Derivatives under all strains that LAMMPS' cell allows, around the pressure that it has."""
        if self._coupling is None:
            self._coupling = self.minimum.natural_coupling()
        return self._coupling

    def pressure_gradient(self, variant: str) -> FloatArray:
        """dP/dΘ, (P, 6): components (xx, yy, zz, yz, xz, xy); not a number where the cell cannot be strained."""
        self.require_unmoved()
        coupling, answer, engine = self._natural_coupling(), self.variants[variant], self.minimum.engine
        drive = coupling.mixed.T  # (P, c)
        if answer.patterns.rank:
            felt = np.asarray(engine.sum(np.einsum("rna,nac->rc", answer.patterns.left, coupling.forces)))
            drive = drive + answer.patterns.right @ felt
        if np.any(answer.strain_jacobian):
            # Patterns hold the homogeneous motion, which S, taken at fixed fractional coordinates, has already.
            offset = engine.positions - engine.origin
            carried = np.stack([(offset @ tensor(unit).T) for unit in np.eye(6)])
            doubly = np.asarray(engine.sum(np.einsum("sna,nac->sc", carried, coupling.forces)))
            strains = coupling.freedom.basis.T  # (c, 6): the natural strains are components themselves
            drive = drive + answer.strain_jacobian @ (strains.T @ coupling.stiffness.T - doubly)
        gradient = np.full((len(drive), 6), np.nan)
        gradient[:, np.argmax(coupling.freedom.basis, axis=0)] = -drive / self.volume
        return gradient


@dataclass(frozen=True)
class Prediction:
    """What an expansion says of Θ + δΘ. Leading axes are those of `dtheta`; nothing here costs an evaluation.

    Attributes
    ----------
    expansion : Expansion
    variant : str
    dtheta : (..., P) float array
    enthalpy_terms : (..., order + 1) float array
        W*, and its terms of each order up to the expansion's, eV; the third from U at the predicted structure.
    estimated_energy_error, estimated_displacement_error : (...) float arrays or None
        `energy_error` and `displacement_error`, where they were asked for.
    """

    expansion: Expansion
    variant: str
    dtheta: FloatArray
    enthalpy_terms: FloatArray
    estimated_energy_error: FloatArray | None
    estimated_displacement_error: FloatArray | None

    @property
    def _variant(self) -> Variant:
        return self.expansion.variants[self.variant]

    @property
    def enthalpy(self) -> FloatArray:
        """Sum of `enthalpy_terms`, (...), eV; U + pV at the target pressure p."""
        return self.enthalpy_terms.sum(axis=-1)

    @property
    def energy(self) -> FloatArray:
        """U alone, (...), eV. Under pressure its error is of second order, through that of the volume."""
        model = self.expansion
        return self.enthalpy - model._pressure * self.volume

    @property
    def strain(self) -> FloatArray:
        """ε, (..., 3, 3), upper triangular."""
        return np.apply_along_axis(tensor, -1, self.dtheta @ self._variant.strain_jacobian)

    @property
    def cell(self) -> FloatArray:
        """Cell vectors as rows, (..., 3, 3), Å."""
        deformed: FloatArray = self.expansion.cell @ np.swapaxes(np.eye(3) + self.strain, -1, -2)
        return deformed

    @property
    def volume(self) -> FloatArray:
        """(...), Å³: that of the predicted cell."""
        return np.linalg.det(self.cell)

    @property
    def displacement(self) -> FloatArray:
        """Of this rank's atoms, (..., n, 3), Å; first order, Cartesian, the part that follows the cell included."""
        patterns = self._variant.patterns
        return np.tensordot(self.dtheta @ patterns.right, patterns.left, axes=1)

    @property
    def positions(self) -> FloatArray:
        """Of this rank's atoms, (..., n, 3), Å."""
        return self.expansion.positions + self.displacement

    @property
    def energy_error(self) -> FloatArray:
        """Estimated error of the enthalpy, (...), eV: the size of the next order's term.

        Raises
        ------
        LammpsImplicitError
            If positions are not relaxed in this variant, or `Expansion.predict` was asked for no errors.
        """
        return self._estimated(self.estimated_energy_error)

    @property
    def displacement_error(self) -> FloatArray:
        """Estimated largest distance of an atom from where it should be, (...), Å; see `energy_error`."""
        return self._estimated(self.estimated_displacement_error)

    def pressure(self) -> FloatArray:
        """Pressure tensor, (..., 3, 3), eV/Å³, first order; not a number where the cell cannot be strained.

        The first call measures the derivatives under strain, `Expansion.pressure_gradient`.
        """
        now = components(self.expansion.pressure)
        xx, yy, zz, yz, xz, xy = np.moveaxis(now + self.dtheta @ self.expansion.pressure_gradient(self.variant), -1, 0)
        rows = [np.stack(row, axis=-1) for row in ((xx, xy, xz), (xy, yy, yz), (xz, yz, zz))]
        return np.stack(rows, axis=-2)

    def _estimated(self, error: FloatArray | None) -> FloatArray:
        if self.variant in ("constant", "homogeneous"):
            raise LammpsImplicitError(
                f"errors are not estimated for the variant '{self.variant}': what is not relaxed is missing in first "
                "order already"
            )
        if error is None:
            raise LammpsImplicitError("errors were not asked for: predict with errors=True")
        return error


def _scaled(sizes: FloatArray, evaluated: NDArray[np.int64], found: FloatArray, power: float) -> FloatArray:
    """|found| of every change, (S,): as evaluated, or scaled with a power of the sizes from those evaluated."""
    if len(evaluated) == len(sizes):
        return np.abs(found)
    powers = sizes**power
    return np.max(np.abs(found) / np.maximum(powers[evaluated], np.finfo(float).tiny)) * powers


def missed_at(model: Expansion, dtheta: FloatArray, answer: Variant) -> Missed:
    """Evaluate U, forces and pressure at the structure predicted for one change: about four force evaluations."""
    minimum = model.minimum
    model.require_unmoved()
    strain = tensor(dtheta @ answer.strain_jacobian)
    state = minimum.state_at(dtheta, answer.patterns.dot(dtheta), strain)
    work = model._pressure * state.volume
    pulled = -state.forces
    moved = minimum.preconditioned(pulled)
    decrement = 0.5 * minimum.engine.dot(pulled, moved)
    if model.system is not None and answer.strain_jacobian.any():
        drive = driving_force(state.volume, state.pressure, strain, model.target)
        left = model.system.freedom.basis.T @ drive - np.asarray(
            minimum.engine.sum(np.einsum("nak,na->k", model.system.relaxed, pulled))
        )
        stretch = np.linalg.solve(model.system.stiffness, left)
        decrement += 0.5 * float(left @ stretch)
        moved = moved + np.tensordot(stretch, model.system.patterns(), axes=1)
    distance = minimum.engine.max(float(np.linalg.norm(moved, axis=1).max(initial=0.0)))
    return Missed(state.energy + work, decrement, distance)


def expand(minimum: StationaryPoint, order: int, freedom: StrainFreedom, tol: float) -> Expansion:
    """Collect the derivatives that an expansion needs; see `Minimum.expansion`."""
    if order not in (1, 2, 3):
        raise LammpsImplicitError(f"order {order} is not 1, 2 or 3")
    freedom.require_hydrostatic()
    fixed = minimum.jacobian(tol)
    parameters = len(minimum.potential.theta)
    none, still = np.zeros((parameters, 6)), minimum.mixed.bare_second_derivative()
    nothing = Patterns(np.zeros((0, *minimum.positions.shape)), np.zeros((parameters, 0)))
    variants = {
        "constant": Variant(nothing, none, still),
        "fixed": Variant(fixed, none, minimum.energy_hessian(tol)),
    }
    if freedom.fixed:
        return Expansion(minimum, order, variants, np.zeros((3, 3)), None)
    system = minimum.cell_system(tol, freedom)
    coupling, basis = system.coupling, system.freedom.basis
    strain = np.asarray(-np.linalg.solve(coupling.stiffness, coupling.mixed).T, np.float64)
    carried = Patterns(system.homogeneous(), strain)
    curvature = second_derivative(coupling.energetic, coupling.mixed, strain)
    variants["homogeneous"] = Variant(carried, strain @ basis.T, curvature + still)
    both = minimum.jacobian(tol, cell=freedom)
    hessian = minimum.energy_hessian(tol, cell=freedom)
    variants["both"] = Variant(both, system.strain_jacobian @ basis.T, hessian)
    ordered = {name: variants[name] for name in VARIANTS}
    return Expansion(minimum, order, ordered, system.freedom.target, system)
