"""Derivatives of a stationary point with respect to the parameters, and under strain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import (
    CellResponse,
    Coupling,
    StrainFreedom,
    strain_freedom,
)
from lammps_implicit.cell.system import CellSystem
from lammps_implicit.cell.voigt import COMPONENTS
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.operators.coupling import STRAIN_STEPS
from lammps_implicit.operators.interface import Hessian, MixedDerivative
from lammps_implicit.potentials.without_parameters import require_parameters
from lammps_implicit.progress import Progress, in_two_parts, no_progress
from lammps_implicit.response.jacobian import Jacobian
from lammps_implicit.response.linear_response import METHODS
from lammps_implicit.response.softest_modes import FINELY, ROUGHLY, softest_modes_of
from lammps_implicit.solvers.nullspace import NullSpace
from lammps_implicit.solvers.softest import EqualModes, Mode
from lammps_implicit.stationary.checks import check_tolerance, checked_vector
from lammps_implicit.stationary.relaxable import CellRequest, RelaxablePoint
from lammps_implicit.units import Pressure


class DifferentiablePoint(RelaxablePoint):
    """A stationary point X*(Θ), differentiated implicitly: H dX*/dΘ = -C. Base class of `StationaryPoint`."""

    @property
    def hessian(self) -> Hessian:
        """H = ∂²U/∂X² at the reference, as an operator."""
        return self.response.hessian

    @property
    def mixed(self) -> MixedDerivative:
        """C = ∂²U/∂X∂Θ at the reference, as an operator."""
        return self.response.mixed

    def null_space(self) -> NullSpace:
        """Rigid motions that cost no energy, to which displacements are orthogonal."""
        return self.response.prepared().system.null_space

    @overload
    def jvp(  # type: ignore[overload-overlap]
        self, dtheta: ArrayLike, tol: float = ..., progress: Progress = ..., *, cell: Literal["none"] = ...
    ) -> FloatArray: ...

    @overload
    def jvp(
        self,
        dtheta: ArrayLike,
        tol: float = ...,
        progress: Progress = ...,
        *,
        cell: CellRequest,
        pressure: Pressure = ...,
    ) -> CellResponse: ...

    def jvp(
        self,
        dtheta: ArrayLike,
        tol: float = 1e-6,
        progress: Progress = no_progress,
        *,
        cell: CellRequest = "none",
        pressure: Pressure = None,
    ) -> FloatArray | CellResponse:
        """Displacement of the structure along δΘ: δX = dX*/dΘ δΘ, from one solve of H δX = -C δΘ.

        Parameters
        ----------
        dtheta : (P,) array_like
            δΘ.
        tol : float
            Relative residual of the solve.
        progress : callable, optional
            Callback called with (iterations done, iterations expected).
        cell : str or StrainFreedom
            ``none``: the cell is fixed. ``iso``, ``ortho``, ``full`` or components such as ``"zz"``: it is relaxed too,
            held at a pressure; the first such product costs one more solve and four evaluations per strain, and four
            more. `Statistics.caution` says where a finite strain sees other derivatives.
        pressure : float, str or array_like, optional
            As for `Units.pressure_tensor`. Default: `target`.

        Returns
        -------
        (n, 3) float array, or CellResponse
            δX, Å, without rigid motions that cost no energy. If the cell is relaxed too, displacement and strain: the
            new positions are X + displacement, in a cell whose vectors are h(1 + ε)ᵀ. Displacements include the part
            that follows the cell, for the periodic image in `positions`.

        Raises
        ------
        NotAMinimumError
            If H is not positive definite, or the cell is not relaxed to the pressure.
        PotentialError
            If the potential has no parameters.

        Examples
        --------
        For the Ta vacancy of `from_deck`, with all coefficients 1% larger:

        >>> moved = minimum.jvp(0.01 * minimum.potential.theta)
        >>> moved.shape
        (53, 3)
        >>> print(f"largest component {abs(moved).max():.5f} Å")
        largest component 0.00151 Å
        """
        require_parameters(self.potential)
        check_tolerance(tol)
        direction = checked_vector(self.engine, dtheta, (len(self.potential.theta),), "dtheta")
        freedom, response = self.strain(cell, pressure), self.response
        with self._meter.measured("iterative", tol):
            system = None if freedom.fixed else response.held_cell_system(freedom, tol)
            displacement = response.checked_solve(-response.mixed.times(direction), tol, progress)
            return displacement if system is None else system.forward(displacement, direction)

    def vjp(
        self,
        cotangent: ArrayLike,
        tol: float = 1e-6,
        progress: Progress = no_progress,
        *,
        strain_cotangent: ArrayLike | None = None,
        cell: CellRequest = "none",
        pressure: Pressure = None,
    ) -> FloatArray:
        """Gradient of a scalar loss: dL/dΘ = -Cᵀ H⁻¹ g with g = ∂L/∂X*, from one solve for any number of parameters.

        Parameters
        ----------
        cotangent : (n, 3) array_like
            g of this rank's atoms, unit of L per Å; its components along rigid motions and on frozen degrees of freedom
            have no effect.
        tol : float
            Relative residual of the solve.
        progress : callable, optional
            Callback called with (done, total); the sweep over the parameters, if there is one, comes first.
        strain_cotangent : (k,) array_like, optional
            ∂L/∂ε at fixed positions, of a loss that depends on the cell explicitly.
        cell, pressure
            As for `jvp`. Frozen atoms follow the cell, and losses may depend on them.

        Returns
        -------
        (P,) float array
            Unit of L per unit of each parameter.

        Raises
        ------
        NotAMinimumError
            As for `jvp`.

        Examples
        --------
        For the Ta vacancy of `from_deck`: with g = 2 δX the derivative along δΘ is 2 |δX|²:

        >>> change = 0.01 * minimum.potential.theta
        >>> moved = minimum.jvp(change)
        >>> gradient = minimum.vjp(2 * moved)
        >>> gradient.shape
        (31,)
        >>> bool(np.isclose(gradient @ change, 2 * np.sum(moved**2), rtol=1e-4))
        True
        """
        require_parameters(self.potential)
        check_tolerance(tol)
        g = checked_vector(self.engine, cotangent, self.positions.shape, "cotangent")
        freedom, response = self.strain(cell, pressure), self.response
        if freedom.fixed and strain_cotangent is not None:
            raise LammpsImplicitError(
                "strain_cotangent needs a cell that is relaxed too: give cell, such as cell='iso'"
            )
        strains = len(freedom.names)
        by_strain = np.zeros(strains) if strain_cotangent is None else strain_cotangent
        by_strain = checked_vector(self.engine, by_strain, (strains,), "strain_cotangent")
        with self._meter.measured("iterative", tol):
            system = None if freedom.fixed else response.held_cell_system(freedom, tol)
            sweeping, progress = in_two_parts(progress)
            response.mixed.prepare(sweeping)
            adjoint = response.checked_solve(self.engine.constrain(g), tol, progress)
            gradient = -response.checked_transposed_times(adjoint, tol)
            return gradient if system is None else gradient + system.backward(g, by_strain)

    def jacobian(
        self,
        tol: float = 1e-5,
        method: str = "auto",
        progress: Progress = no_progress,
        *,
        cell: CellRequest = "none",
        pressure: Pressure = None,
    ) -> Jacobian:
        """The Jacobian dX*/dΘ, factored, with cost and energy derivatives; kept until the structure moves.

        Parameters
        ----------
        tol : float
            Relative tolerance of each column.
        method : {"auto", "iterative", "dense"}
            ``auto`` chooses the one predicted to need fewer force evaluations; ``statistics.method`` tells which it
            was.
        progress : callable, optional
            Callback called with (done, total), in Hessian products; the sweep over the parameters, if any, comes first.
        cell, pressure
            As for `jvp`. If the cell is relaxed too, the result has ``strain_jacobian`` and ``volume_gradient``.

        Returns
        -------
        Jacobian

        Raises
        ------
        NotAMinimumError
            As for `jvp`.

        Examples
        --------
        For the Ta vacancy of `from_deck`:

        >>> jacobian = minimum.jacobian(tol=1e-3)
        >>> jacobian.to_array().shape
        (31, 53, 3)
        >>> change = 0.01 * minimum.potential.theta
        >>> bool(np.allclose(jacobian.dot(change), minimum.jvp(change), atol=1e-5))
        True
        """
        require_parameters(self.potential)
        if method not in METHODS:
            raise LammpsImplicitError(f"method '{method}' is not one of {', '.join(METHODS)}")
        check_tolerance(tol)
        return self.response.jacobian(tol, self.strain(cell, pressure), method, progress)

    def strain_jacobian(self, tol: float = 1e-6, *, cell: CellRequest = "iso", pressure: Pressure = None) -> FloatArray:
        """dε/dΘ, (P, k), of a cell held at a pressure, from one solve per strain for any number of parameters."""
        require_parameters(self.potential)
        return self.cell_system(tol, cell, pressure).strain_jacobian

    def volume_gradient(self, tol: float = 1e-6, *, cell: CellRequest = "iso", pressure: Pressure = None) -> FloatArray:
        """dV/dΘ, (P,), Å³ per unit of each parameter, of a cell held at a pressure, from one solve per strain."""
        require_parameters(self.potential)
        return self.cell_system(tol, cell, pressure).volume_gradient

    def energy_gradient(self) -> FloatArray:
        """Gradient of the relaxed energy, dE/dΘ = ∂U/∂Θ at X*, as forces vanish; kept until the structure moves.

        If the cell is relaxed too, it is also the gradient of the enthalpy at fixed pressure.

        Returns
        -------
        (P,) float array
            eV per unit of each parameter in ``units metal``. For a SNAP: sums of descriptors over the atoms.

        Examples
        --------
        For the Ta vacancy of `from_deck`, whose energy is linear in Θ but for a fixed ZBL repulsion:

        >>> gradient = minimum.energy_gradient()
        >>> gradient.shape
        (31,)
        >>> change = 0.01 * minimum.potential.theta
        >>> print(f"{minimum.energy + gradient @ change:.3f} eV")
        -634.107 eV
        """
        require_parameters(self.potential)
        return self.response.energy_gradient()

    def energy_hessian(self, tol: float = 1e-5, *, cell: CellRequest = "none", pressure: Pressure = None) -> FloatArray:
        """Second derivative of the relaxed energy, d²E/dΘ² = ∂²U/∂Θ² + Cᵀ dX*/dΘ.

        If the cell is relaxed too, that of the enthalpy. For potentials linear in Θ it is negative semidefinite at a
        minimum: relaxation only lowers the energy.

        Parameters
        ----------
        tol : float
            Relative tolerance of each column of the Jacobian.
        cell, pressure
            As for `jvp`.

        Returns
        -------
        (P, P) float array
            Symmetric; eV per unit of each of the two parameters in ``units metal``.

        Raises
        ------
        LammpsImplicitError
            If the cell is held at a stress that is not hydrostatic.
        NotAMinimumError
            As for `jvp`.

        Examples
        --------
        For the Ta vacancy of `from_deck`, the energy gained by relaxation to second order:

        >>> hessian = minimum.energy_hessian()
        >>> hessian.shape
        (31, 31)
        >>> change = 0.01 * minimum.potential.theta
        >>> print(f"{0.5 * change @ hessian @ change:.2e} eV")
        -2.66e-04 eV
        """
        return self.relaxation_hessian(tol, cell=cell, pressure=pressure) + self.mixed.bare_second_derivative()

    def relaxation_hessian(
        self, tol: float = 1e-5, *, cell: CellRequest = "none", pressure: Pressure = None
    ) -> FloatArray:
        """Contribution Cᵀ dX*/dΘ of relaxation to `energy_hessian`, (P, P), with the same arguments."""
        freedom = self.strain(cell, pressure)
        freedom.require_hydrostatic()
        hessian = self.jacobian(tol, cell=freedom).relaxation_hessian
        assert hessian is not None
        return hessian

    def cell_system(self, tol: float = 1e-6, cell: CellRequest = "iso", pressure: Pressure = None) -> CellSystem:
        """Coupled system of cell and positions: stiffness of the cell, and response of positions to each strain.

        Parameters
        ----------
        tol : float
            Relative residual of one solve per strain.
        cell, pressure
            As for `jvp`; the cell must not be fixed.

        Raises
        ------
        LammpsImplicitError
            If the cell is fixed.
        NotAMinimumError
            If the cell is not relaxed to the pressure.
        """
        check_tolerance(tol)
        freedom = self.strain(cell, pressure)
        if freedom.fixed:
            raise LammpsImplicitError(
                "cell 'none' has no strains: give one of iso, ortho, full, or components such as 'zz'"
            )
        with self._meter.measured("iterative", tol):
            return self.response.held_cell_system(freedom, tol)

    def natural_coupling(self) -> Coupling:
        """Derivatives with respect to all strains that LAMMPS' cell allows, at its current pressure."""
        return self.mixed.coupling(self._natural_freedom())

    def free_cell_system(self, tol: float = 1e-6, steps: Sequence[float] = STRAIN_STEPS) -> CellSystem:
        """As `cell_system`, for all strains that LAMMPS' cell allows, at its current pressure.

        Its stiffness is -V dP/dε with relaxed positions, whether or not the cell is relaxed. `steps` are those of
        `measure_coupling`.
        """
        check_tolerance(tol)
        return self.response.cell_system(self._natural_freedom(), tol, steps=steps)

    def _natural_freedom(self) -> StrainFreedom:
        engine = self.engine
        names = [name for name in COMPONENTS if all(engine.strainable["xyz".index(axis)] for axis in name)]
        allowed = [name for name in names if engine.triclinic or name[0] == name[1]]
        if not allowed:
            raise LammpsImplicitError("no direction of the cell is periodic: it cannot be strained and has no pressure")
        return strain_freedom(",".join(allowed), self.pressure, engine)

    def preconditioned(self, vector: FloatArray) -> FloatArray:
        """K⁻¹v, (n, 3), with the fitted springs K: an estimate of H⁻¹v that costs no force evaluation."""
        return self.response.prepared().system.preconditioned(self.engine.constrain(vector))

    def softest_mode(self) -> Mode:
        """Softest mode of the Hessian, roughly: see `solvers.softest`."""
        return self.softest_modes(ROUGHLY)[0].modes[0]

    def softest_modes(self, tol: float = FINELY, count: int = 1) -> list[EqualModes]:
        """Softest modes of the Hessian, the same on any number of ranks: see `solvers.softest`.

        Parameters
        ----------
        tol : float
            Angle to which they are found, if `MOST_PRODUCTS` suffice.
        count : int
            Number of different stiffnesses.
        """
        return softest_modes_of(self.response, tol, count)
