"""Taylor models of a minimum: structure, cell, energy and pressure at changed parameters.

With W = U + TV the enthalpy at the target pressure T, and z = (X, e) the positions and strains that are relaxed,

    W*(Θ + δ) = W* + B·δ + ½ δᵀ(Cᵀ dz/dΘ)δ + O(δ³),    z*(Θ + δ) = z* + dz/dΘ δ + O(δ²),

and W evaluated at the first-order structure is correct to third order (the 2n + 1 rule). Variants differ in what is
relaxed: nothing, the cell alone (homogeneous strain, where much of the literature stops), positions alone, or both.
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
"""What is relaxed: nothing, the cell alone, positions at fixed cell, positions and cell."""

EXACT = 4
"""Largest number of parameter changes whose errors are each evaluated. Chosen: four force evaluations per change."""

TRUST_STEPS = 12
"""Error estimates after which the search for a trust radius gives up. Chosen as a limit."""

FIRST_CHANGE = 1e-3
"""Relative change of the parameters with which the search for a trust radius starts. Chosen: the search adapts it."""


@dataclass(frozen=True)
class Variant:
    """First and second derivatives of a minimum of which positions, the cell, both, or nothing is relaxed.

    Attributes
    ----------
    patterns : Patterns
        dX*/dΘ, without any pattern if neither positions nor cell are relaxed.
    strain_jacobian : (P, 6) float array
        dε/dΘ, components (xx, yy, zz, yz, xz, xy).
    hessian : (P, P) float array
        d²W/dΘ², eV per unit of each of the two parameters.
    """

    patterns: Patterns
    strain_jacobian: FloatArray
    hessian: FloatArray


@dataclass(frozen=True)
class Evaluated:
    """A predicted structure, evaluated, and its estimated errors.

    Attributes
    ----------
    enthalpy : float
        W(z* + dz, Θ + δ), eV.
    decrement : float
        Estimate of its height above the minimum, eV: ½ gᵀK⁻¹g with the residual forces and stresses g.
    displacement : float
        Estimate of the largest distance of an atom from its relaxed position, Å.
    """

    enthalpy: float
    decrement: float
    displacement: float


class Expansion:
    """Taylor model around one minimum; create it with `Minimum.expansion`.

    Third orders, errors and pressures are evaluated in LAMMPS, so the minimum must not be moved while they are used.
    Everything else is algebra.

    Parameters
    ----------
    minimum : StationaryPoint
    order : int
        Order of the energies: 1, 2 or 3.
    variants : dict of str to Variant
        ``constant`` and ``fixed``; if the cell is relaxed too, also ``homogeneous`` and ``both``.
    target : (3, 3) float array
        Pressure tensor at which the cell is held, energy per volume.
    system : CellSystem or None
        Coupled system of cell and positions; None if the cell is fixed.

    Attributes
    ----------
    order, variants, target, system
        As given.
    default : str
        The most complete variant.
    energy, enthalpy : float
        eV, at the minimum.
    gradient : (P,) float array
        dE/dΘ, eV per unit of each parameter.
    cell : (3, 3) float array
        Cell vectors as rows, Å.
    volume : float
        Å³.
    positions : (n, 3) float array
        Å, of this rank's atoms.
    pressure : (3, 3) float array
        Pressure tensor, energy per volume.
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
        """Predict structure, cell and energy at Θ + δΘ.

        Parameters
        ----------
        dtheta : (P,) or (..., P) array_like
            One change of the parameters or many; all predictions have the same leading axes.
        variant : str, optional
            What is relaxed: one of `variants`. Default: the most complete.
        errors : bool
            Whether to estimate errors, in variants that relax positions. Costs about four force evaluations per change;
            of more than `EXACT` changes only the `EXACT` with the largest second-order energy are evaluated, and scaled
            to the others by the power with which the error grows.

        Returns
        -------
        Prediction

        Raises
        ------
        LammpsImplicitError
            If the shape of `dtheta` or the variant is wrong, or the minimum has moved since.

        Notes
        -----
        At order 3, U is evaluated at every predicted structure, which gives the errors too: about four force
        evaluations per change. At lower orders without errors nothing is evaluated.
        """
        variant = self.default if variant is None else variant
        if variant not in self.variants:
            raise LammpsImplicitError(f"variant '{variant}' is not one of {', '.join(self.variants)}")
        changes = np.asarray(dtheta, float)
        if changes.shape[-1:] != self.gradient.shape or not np.isfinite(changes).all():
            raise LammpsImplicitError(
                f"dtheta has shape {changes.shape}: its last axis must hold {len(self.gradient)} finite numbers"
            )
        chosen, relaxes = self.variants[variant], variant in ("fixed", "both")
        second = 0.5 * np.einsum("...p,pq,...q->...", changes, chosen.hessian, changes)
        terms = [np.full(changes.shape[:-1], self.enthalpy), changes @ self.gradient, second][: self.order + 1]
        flat, sizes = changes.reshape(-1, changes.shape[-1]), np.abs(second).reshape(-1)
        evaluated = np.arange(0)
        if self.order == 3 or (errors and relaxes):
            every = self.order == 3 or len(flat) <= EXACT
            evaluated = np.arange(len(flat)) if every else np.argsort(sizes)[-EXACT:]
        at = [_evaluate(self, flat[index], chosen) for index in evaluated]
        upto = sum(terms).reshape(-1)
        if self.order == 3:
            terms.append((np.array([e.enthalpy for e in at]) - upto).reshape(second.shape))
        error = distance = None
        if errors and relaxes:
            estimate = partial(_scaled, sizes, evaluated)
            found = sizes
            if self.order == 2:
                found = estimate(np.array([e.enthalpy for e in at]) - upto[evaluated], 1.5)
            elif self.order == 3:
                found = estimate(np.array([e.decrement for e in at]), 2.0)
            error = found.reshape(second.shape)
            distance = estimate(np.array([e.displacement for e in at]), 1.0).reshape(second.shape)
        stacked = np.stack(np.broadcast_arrays(*terms), axis=-1)
        return Prediction(self, variant, changes, stacked, error, distance)

    def trust_radius(
        self, direction: ArrayLike, energy: float = 1e-3, displacement: float = 0.02, variant: str | None = None
    ) -> float:
        """|δΘ| along a direction at which an estimated error reaches its limit.

        Parameters
        ----------
        direction : (P,) array_like
            Its length does not matter.
        energy : float
            Limit of the error of the enthalpy, eV.
        displacement : float
            Limit of the displacement error of any atom, Å.
        variant : str, optional
            As for `predict`.

        Returns
        -------
        float
            Unit of Θ; accurate to about 10 % of the error.

        Raises
        ------
        LammpsImplicitError
            If the minimum does not respond to this direction, or no radius is found.
        """
        direction = np.asarray(direction, float)
        length = float(np.linalg.norm(direction))
        theta = self.minimum.potential.theta
        if not (np.isfinite(length) and length > 0):
            raise LammpsImplicitError("a trust radius needs a direction of finite length that is not zero")
        energy *= self.minimum.units.force_factor  # from eV, as lengths are in Å in all unit styles but lj
        unit = direction / length
        size = FIRST_CHANGE * float(np.linalg.norm(theta)) or FIRST_CHANGE
        low, high = 0.0, np.inf
        for _ in range(TRUST_STEPS):
            predicted = self.predict(size * unit, variant)
            share = max(float(predicted.energy_error) / energy, float(predicted.displacement_error) / displacement)
            if share == 0:
                raise LammpsImplicitError(
                    "the minimum does not respond to this direction of the parameters: no radius limits it"
                )
            if 0.9 < share < 1.1:
                break
            low, high = (size, high) if share < 1 else (low, size)
            # Errors grow with the second to the fourth power of the change.
            guess = size * float(np.clip(share ** (-1 / 2 if share > 1 else -1 / 3), 0.05, 20.0))
            size = guess if low < guess < high else float(np.sqrt(max(low, 0.05 * high) * high))
        else:
            raise LammpsImplicitError(
                f"no trust radius was found in {TRUST_STEPS} steps: the energy may not be smooth along this direction"
            )
        return size

    def require_unmoved(self) -> None:
        """Check that the minimum has not moved since the expansion was made.

        Raises
        ------
        LammpsImplicitError
            If it has.
        """
        if self.minimum.state != self.state:
            raise LammpsImplicitError(
                "the minimum has been relaxed or moved since this expansion was made: make a new one"
            )

    def _natural_coupling(self) -> Coupling:
        """`StationaryPoint.natural_coupling`, measured once."""
        if self._coupling is None:
            self._coupling = self.minimum.natural_coupling()
        return self._coupling

    def pressure_gradient(self, variant: str) -> FloatArray:
        """Derivative of the pressure tensor with respect to Θ.

        Parameters
        ----------
        variant : str
            What is relaxed: one of `variants`.

        Returns
        -------
        (P, 6) float array
            Components (xx, yy, zz, yz, xz, xy), energy per volume and unit of each parameter; not a number where the
            cell cannot be strained.
        """
        self.require_unmoved()
        coupling, chosen, engine = self._natural_coupling(), self.variants[variant], self.minimum.engine
        drive = coupling.mixed.T  # (P, c)
        if chosen.patterns.rank:
            work = np.asarray(engine.sum(np.einsum("rna,nac->rc", chosen.patterns.left, coupling.forces)))
            drive = drive + chosen.patterns.right @ work
        if np.any(chosen.strain_jacobian):
            # The patterns include the homogeneous deformation, which is part of S, taken at fixed fractional
            # coordinates, already.
            offset = engine.positions - engine.origin
            carried = np.stack([(offset @ tensor(unit).T) for unit in np.eye(6)])
            twice = np.asarray(engine.sum(np.einsum("sna,nac->sc", carried, coupling.forces)))
            strains = coupling.freedom.basis.T  # (c, 6): each natural strain is a component itself
            drive = drive + chosen.strain_jacobian @ (strains.T @ coupling.stiffness.T - twice)
        gradient = np.full((len(drive), 6), np.nan)
        gradient[:, np.argmax(coupling.freedom.basis, axis=0)] = -drive / self.volume
        return gradient


@dataclass(frozen=True)
class Prediction:
    """Prediction of an `Expansion` for Θ + δΘ. Leading axes are those of `dtheta`.

    No property costs an evaluation; `pressure` does at its first call.

    Attributes
    ----------
    expansion : Expansion
    variant : str
    dtheta : (..., P) float array
    enthalpy_terms : (..., order + 1) float array
        W*, and its change in each order up to that of the expansion, eV; the third from U at the predicted structure.
    estimated_energy_error, estimated_displacement_error : (...) float arrays or None
        `energy_error` and `displacement_error`, if they were estimated.
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
        """U + pV at the target pressure p, (...), eV: the sum of `enthalpy_terms`."""
        return self.enthalpy_terms.sum(axis=-1)

    @property
    def energy(self) -> FloatArray:
        """U, (...), eV. Under pressure its error is of second order, through that of the volume."""
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
        """Volume of the predicted cell, (...), Å³."""
        return np.linalg.det(self.cell)

    @property
    def displacement(self) -> FloatArray:
        """Displacements of this rank's atoms, (..., n, 3), Å, to first order; those that follow the cell included."""
        patterns = self._variant.patterns
        return np.tensordot(self.dtheta @ patterns.right, patterns.left, axes=1)

    @property
    def positions(self) -> FloatArray:
        """Positions of this rank's atoms, (..., n, 3), Å."""
        return self.expansion.positions + self.displacement

    @property
    def energy_error(self) -> FloatArray:
        """Estimated error of the enthalpy, (...), eV: the size of the term of the next order.

        Raises
        ------
        LammpsImplicitError
            If this variant does not relax positions, or the prediction was made with ``errors=False``.
        """
        return self._estimated(self.estimated_energy_error)

    @property
    def displacement_error(self) -> FloatArray:
        """Estimated largest distance of an atom from its relaxed position, (...), Å; raises as `energy_error`."""
        return self._estimated(self.estimated_displacement_error)

    def pressure(self) -> FloatArray:
        """Pressure tensor, (..., 3, 3), eV/Å³, to first order; not a number where the cell cannot be strained.

        The first call measures derivatives with respect to strain: see `Expansion.pressure_gradient`.
        """
        now = components(self.expansion.pressure)
        xx, yy, zz, yz, xz, xy = np.moveaxis(now + self.dtheta @ self.expansion.pressure_gradient(self.variant), -1, 0)
        rows = [np.stack(row, axis=-1) for row in ((xx, xy, xz), (xy, yy, yz), (xz, yz, zz))]
        return np.stack(rows, axis=-2)

    def _estimated(self, error: FloatArray | None) -> FloatArray:
        if self.variant in ("constant", "homogeneous"):
            raise LammpsImplicitError(
                f"errors are not estimated for the variant '{self.variant}', which does not relax positions: its "
                "error is of first order"
            )
        if error is None:
            raise LammpsImplicitError("errors were not estimated: predict with errors=True")
        return error


def _scaled(sizes: FloatArray, evaluated: NDArray[np.int64], found: FloatArray, power: float) -> FloatArray:
    """|found| for every change, (S,): as evaluated, or scaled from the evaluated ones with a power of the sizes."""
    if len(evaluated) == len(sizes):
        return np.abs(found)
    powers = sizes**power
    return np.max(np.abs(found) / np.maximum(powers[evaluated], np.finfo(float).tiny)) * powers


def _evaluate(model: Expansion, dtheta: FloatArray, variant: Variant) -> Evaluated:
    """Evaluate U, forces and pressure at the structure predicted for one change: about four force evaluations."""
    minimum = model.minimum
    model.require_unmoved()
    strain = tensor(dtheta @ variant.strain_jacobian)
    state = minimum.state_at(dtheta, variant.patterns.dot(dtheta), strain)
    work = model._pressure * state.volume
    gradient = -state.forces
    offset = minimum.preconditioned(gradient)
    decrement = 0.5 * minimum.engine.dot(gradient, offset)
    if model.system is not None and variant.strain_jacobian.any():
        drive = driving_force(state.volume, state.pressure, strain, model.target)
        by_strain = model.system.freedom.basis.T @ drive - np.asarray(
            minimum.engine.sum(np.einsum("nak,na->k", model.system.relaxed, gradient))
        )
        amounts = np.linalg.solve(model.system.stiffness, by_strain)
        decrement += 0.5 * float(by_strain @ amounts)
        offset = offset + np.tensordot(amounts, model.system.patterns(), axes=1)
    distance = minimum.engine.max(float(np.linalg.norm(offset, axis=1).max(initial=0.0)))
    return Evaluated(state.energy + work, decrement, distance)


def expand(minimum: StationaryPoint, order: int, freedom: StrainFreedom, tol: float) -> Expansion:
    """Collect the derivatives that an expansion needs: see `Minimum.expansion`.

    Parameters
    ----------
    minimum : StationaryPoint
    order : int
        Order of the energies: 1, 2 or 3.
    freedom : StrainFreedom
        Strains of the cell, and the pressure at which it is held.
    tol : float
        Relative tolerance of each column of the Jacobian.

    Raises
    ------
    LammpsImplicitError
        If the order is none of these, or the stress is not hydrostatic.
    """
    if order not in (1, 2, 3):
        raise LammpsImplicitError(f"order {order} is not 1, 2 or 3")
    freedom.require_hydrostatic()
    if not freedom.fixed:
        minimum.jacobian(tol, cell=freedom)  # measures the cell's response once, as tightly as is needed below
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
