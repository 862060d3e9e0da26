"""`StationaryPoint`: a structure at which forces vanish, and its derivatives with respect to the parameters."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike
from typing_extensions import Self

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import CellResponse, Coupling, StrainFreedom, strain_freedom
from lammps_implicit.cell.system import CellSystem
from lammps_implicit.cell.voigt import COMPONENTS
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.ase_deck import temporary_deck
from lammps_implicit.evaluators.deck import deck_path
from lammps_implicit.evaluators.registry import EVALUATORS
from lammps_implicit.files import sha256
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.operators.interface import Hessian, MixedDerivative
from lammps_implicit.progress import Progress, in_two_parts, no_progress
from lammps_implicit.response.jacobian import Jacobian
from lammps_implicit.response.linear_response import METHODS
from lammps_implicit.solvers.backend import backend
from lammps_implicit.solvers.nullspace import NullSpace
from lammps_implicit.stationary.checks import check_tolerance, checked_vector
from lammps_implicit.stationary.standing import CellRequest, Standing
from lammps_implicit.stationary.states import Relaxed
from lammps_implicit.units import Pressure


class StationaryPoint(Standing):
    """A structure X*(Θ) at which forces vanish, differentiated implicitly: H dX*/dΘ = -C.

    `Minimum` adds what is built on top of these products. Make one with `from_deck` or `from_ase`.
    """

    # -- making one --------------------------------------------------------------------------------------------------

    @classmethod
    def from_deck(
        cls,
        path: str | os.PathLike[str],
        comm: MPI.Comm | None = None,
        parameters: str | Sequence[str] | None = None,
        *,
        variables: Mapping[str, str] | None = None,
        ftol: float = 1e-8,
        force_limit: float = 1e-2,
        saddle: bool = False,
        progress: Progress = no_progress,
        cell: str = "none",
        pressure: Pressure = None,
        evaluator: str = "lammps",
        petsc_options: Mapping[str, Any] | None = None,
    ) -> Self:
        """Run a LAMMPS input deck as it is and take over at the state it ends in.

        Parameters
        ----------
        path : path-like
            The deck; it runs in its own folder.
        comm : mpi4py communicator, optional
            Default ``MPI.COMM_WORLD``.
        parameters : str or sequence of str, optional
            Shell patterns of parameter labels, such as ``"Be:*"``. Default: all.
        variables : mapping of str to str, optional
            Index variables of the deck to set, as ``lmp -var name value`` does.
        ftol : float
            Largest force component, eV/Å, that derivatives are taken at; a deck that stops short of it is relaxed
            further.
        force_limit : float
            Largest force component, eV/Å, at which the deck's end still counts as relaxed.
        saddle : bool
            Accept a stationary point that is not a minimum, such as the transition state of a migration: it is followed
            as it is, solved for by MINRES, and relaxed to by Newton's method.
        progress : callable, optional
            Of the relaxation to `ftol`: called with (steps done, expected in all).
        cell, pressure
            The cell is relaxed too, as `relax` does.
        evaluator : str
            What evaluates energies: ``lammps``, ``jax`` (the deck's pair style in JAX), or one that another package
            registers under ``lammps_implicit.evaluators``.
        petsc_options : mapping, optional
            Options of PETSc without prefix: ``{"ksp_monitor": None, "pc_type": "jacobi"}``; several ranks only.

        Raises
        ------
        DeckError, PotentialError, NotAMinimumError, ConvergenceError
        """
        deck = deck_path(path)
        comm = MPI.COMM_WORLD if comm is None else comm
        backend(comm)  # what is missing is missed before a long deck runs
        settings = {"ftol": ftol, "force_limit": force_limit, "saddle": saddle}
        engine, potential = EVALUATORS.load(evaluator)(deck, comm, parameters, variables or {}, **settings)
        try:
            point = cls(engine, potential, ftol, force_limit, saddle, progress, cell, pressure, petsc_options)
        except BaseException:
            engine.close()
            raise
        point.deck_name, point.deck_sha256 = deck.name, sha256(deck)
        point.recipe = {
            "path": str(deck),
            "parameters": parameters if parameters is None or isinstance(parameters, str) else list(parameters),
            "variables": {name: str(value) for name, value in (variables or {}).items()},
            "ftol": float(ftol),
            "force_limit": float(force_limit),
            "saddle": bool(saddle),
            "cell": cell,
            "pressure": pressure if pressure is None or isinstance(pressure, str) else np.asarray(pressure).tolist(),
            "evaluator": evaluator,
        }
        return point

    @classmethod
    def from_ase(
        cls,
        atoms: Any,
        potential: str | os.PathLike[str] | Sequence[str],
        comm: MPI.Comm | None = None,
        parameters: str | Sequence[str] | None = None,
        **options: Any,
    ) -> Self:
        """Relax an ASE structure in LAMMPS at fixed cell and take over.

        Parameters
        ----------
        atoms : ase.Atoms
            That of rank 0 of the communicator counts. ``FixAtoms`` constraints are kept; the cell must be in LAMMPS'
            orientation (a along x, b in the xy plane).
        potential : path or sequence of str
            A LAMMPS include file with ``pair_style`` and ``pair_coeff`` lines (as ``W_2940_2017_2.snap``), or those
            lines. Atom types count the elements in the order in which they first appear in `atoms`.
        comm, parameters, **options
            As for `from_deck`.
        """
        comm = MPI.COMM_WORLD if comm is None else comm
        with temporary_deck(atoms, potential, comm) as deck:
            point = cls.from_deck(deck, comm, parameters, **options)
        point.recipe = {}  # its deck is gone
        return point

    # -- derivatives -------------------------------------------------------------------------------------------------

    @property
    def hessian(self) -> Hessian:
        """H at the reference."""
        return self.response.hessian

    @property
    def mixed(self) -> MixedDerivative:
        """C at the reference."""
        return self.response.mixed

    def null_space(self) -> NullSpace:
        """Rigid motions that cost no energy; displacements are orthogonal to them."""
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
        """How the structure moves along δΘ: δX = dX*/dΘ δΘ, from one solve H δX = -C δΘ.

        Parameters
        ----------
        dtheta : (P,) array_like
        tol : float
            Relative residual of the solve.
        progress : callable, optional
            Called with (iterations done, expected in all).
        cell : str or StrainFreedom
            ``none``: the cell stays as it is. ``iso``, ``ortho``, ``full`` or components as ``"zz"``: it is relaxed
            too, held at a pressure; the first such product takes one more solve and five evaluations per strain.
        pressure : float, str or array_like, optional
            See `Units.pressure_tensor`; default `target`.

        Returns
        -------
        (n, 3) float array, or CellResponse
            Å per unit length of δΘ. Rigid motions that cost no energy are left out. With a cell that is relaxed too,
            positions and strain: new positions are X + displacement in the new cell, whose vectors are h(1 + ε)ᵀ.
            Displacements that follow the cell are those of the periodic image that `positions` holds.

        Raises
        ------
        NotAMinimumError
            If the cell is not relaxed to the pressure.

        Examples
        --------
        >>> moved = minimum.jvp(0.01 * minimum.potential.theta)
        >>> moved.shape == minimum.positions.shape
        True
        """
        check_tolerance(tol)
        direction = checked_vector(self.engine, dtheta, (len(self.potential.theta),), "dtheta")
        freedom, response = self.strain(cell, pressure), self.response
        with self._meter.measured("iterative", tol):
            system = None if freedom.fixed else response.held_cell_system(freedom, tol)
            displacement = response.solve(-response.mixed.times(direction), tol, progress=progress)
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
        """Gradient of a scalar loss: dL/dΘ = -Cᵀ H⁻¹ g with g = ∂L/∂X*, from one solve whatever P.

        Parameters
        ----------
        cotangent : (n, 3) array_like
            g on this rank's atoms; components along rigid motions and on frozen components have no effect.
        tol : float
            Relative residual of the solve.
        progress : callable, optional
            Called with (iterations done, expected in all).
        strain_cotangent : (k,) array_like, optional
            ∂L/∂ε of a loss that depends on the cell itself, besides through the positions.
        cell, pressure
            As for `jvp`. Frozen atoms follow the cell, and losses may depend on them.

        Returns
        -------
        (P,) float array

        Examples
        --------
        >>> gradient = minimum.vjp(np.ones_like(minimum.positions))
        >>> gradient.shape == minimum.potential.theta.shape
        True
        """
        check_tolerance(tol)
        g = checked_vector(self.engine, cotangent, self.positions.shape, "cotangent")
        freedom, response = self.strain(cell, pressure), self.response
        if freedom.fixed and strain_cotangent is not None:
            raise LammpsImplicitError("strain_cotangent needs a cell that is relaxed too: give cell")
        strains = len(freedom.names)
        by_strain = np.zeros(strains) if strain_cotangent is None else strain_cotangent
        by_strain = checked_vector(self.engine, by_strain, (strains,), "strain_cotangent")
        with self._meter.measured("iterative", tol):
            system = None if freedom.fixed else response.held_cell_system(freedom, tol)
            sweeping, progress = in_two_parts(progress)
            response.mixed.prepare(sweeping)
            adjoint = response.solve(g * self.engine.free, tol, progress=progress)
            gradient = -response.mixed.transposed_times(adjoint)
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
        """All of dX*/dΘ, factored, with its cost and the energy's derivatives; kept until the structure moves.

        Parameters
        ----------
        tol : float
            Relative tolerance of each column.
        method : {"auto", "iterative", "dense"}
            ``auto`` takes the one predicted to need fewer force evaluations; ``statistics.method`` says which.
        progress : callable, optional
            Called with (Hessian products done, expected in all).
        cell, pressure
            As for `jvp`. The result then has ``strain_jacobian`` and ``volume_gradient``.

        Examples
        --------
        >>> jacobian = minimum.jacobian(tol=1e-3)
        >>> jacobian.to_array().shape == (len(minimum.potential.theta), *minimum.positions.shape)
        True
        """
        if method not in METHODS:
            raise LammpsImplicitError(f"method '{method}' is not one of {', '.join(METHODS)}")
        check_tolerance(tol)
        return self.response.jacobian(tol, self.strain(cell, pressure), method, progress)

    def strain_jacobian(self, tol: float = 1e-6, *, cell: CellRequest = "iso", pressure: Pressure = None) -> FloatArray:
        """dε/dΘ, (P, k), of the cell held at a pressure: from one solve per strain, whatever P."""
        return self.cell_system(tol, cell, pressure).strain_jacobian

    def volume_gradient(self, tol: float = 1e-6, *, cell: CellRequest = "iso", pressure: Pressure = None) -> FloatArray:
        """dV/dΘ, (P,), Å³ per unit of each parameter, of the cell held at a pressure: from one solve per strain."""
        return self.cell_system(tol, cell, pressure).volume_gradient

    def energy_gradient(self) -> FloatArray:
        """dE/dΘ = B(X*), (P,): descriptor sums, numbers of atoms at the constant terms. eV per unit of Θ.

        That of the enthalpy where the cell is relaxed too.

        Examples
        --------
        >>> change = 1e-4 * minimum.potential.theta
        >>> bool(np.isfinite(minimum.energy + minimum.energy_gradient() @ change))
        True
        """
        return self.response.energy_gradient()

    def energy_hessian(self, tol: float = 1e-5, *, cell: CellRequest = "none", pressure: Pressure = None) -> FloatArray:
        """d²E/dΘ² = Cᵀ dX*/dΘ, (P, P), of the relaxed energy; symmetric, negative semidefinite.

        That of the enthalpy where the cell is relaxed too.

        Raises
        ------
        LammpsImplicitError
            If the cell is held at a stress that is not hydrostatic.
        """
        return self.relaxation_hessian(tol, cell=cell, pressure=pressure) + self.mixed.bare_second_derivative()

    def relaxation_hessian(
        self, tol: float = 1e-5, *, cell: CellRequest = "none", pressure: Pressure = None
    ) -> FloatArray:
        """What relaxation adds to ∂²U/∂Θ² in `energy_hessian`, (P, P): minus the energy that it gains."""
        freedom = self.strain(cell, pressure)
        freedom.require_hydrostatic()
        hessian = self.jacobian(tol, cell=freedom).relaxation_hessian
        assert hessian is not None
        return hessian

    def cell_system(self, tol: float = 1e-6, cell: CellRequest = "iso", pressure: Pressure = None) -> CellSystem:
        """The cell's part of the coupled system: its stiffness, and how positions follow each strain.

        Raises
        ------
        NotAMinimumError
            If the cell is not relaxed to the pressure.
        """
        check_tolerance(tol)
        freedom = self.strain(cell, pressure)
        if freedom.fixed:
            raise LammpsImplicitError("cell 'none' does not strain: name one of iso, ortho, full, or components")
        with self._meter.measured("iterative", tol):
            return self.response.held_cell_system(freedom, tol)

    def natural_coupling(self) -> Coupling:
        """Derivatives under all strains that LAMMPS' cell allows, around the pressure that it has."""
        return self.mixed.coupling(self._natural_freedom())

    def free_cell_system(self, tol: float = 1e-6) -> CellSystem:
        """As `cell_system`, under all strains that LAMMPS' cell allows and around the pressure that it has.

        Its stiffness is -V dP/dε, positions following, whether or not the cell was relaxed.
        """
        check_tolerance(tol)
        return self.response.cell_system(self._natural_freedom(), tol)

    def _natural_freedom(self) -> StrainFreedom:
        engine = self.engine
        names = [name for name in COMPONENTS if all(engine.periodic["xyz".index(axis)] for axis in name)]
        allowed = [name for name in names if engine.triclinic or name[0] == name[1]]
        if not allowed:
            raise LammpsImplicitError("no direction is periodic: the cell cannot be strained, and has no pressure")
        return strain_freedom(",".join(allowed), self.pressure, engine)

    def preconditioned(self, vector: FloatArray) -> FloatArray:
        """K⁻¹v with the learned springs, (n, 3): about H⁻¹v, without a force evaluation once they are fitted."""
        return self.response.prepared().system.preconditioned(vector * self.engine.free)

    def predicted_at(
        self, dtheta: FloatArray, tol: float, cell: CellRequest, pressure: Pressure = None
    ) -> tuple[FloatArray, FloatArray]:
        """Displacement, (n, 3), and strain tensor, (3, 3), of first order along δΘ, whatever the cell may do."""
        freedom = self.strain(cell, pressure)
        if freedom.fixed:
            return self.jvp(dtheta, tol), np.zeros((3, 3))
        response = self.jvp(dtheta, tol, cell=freedom)
        return response.displacement, np.tensordot(response.strain, freedom.tensors(), 1)

    @overload
    def relaxed_at(  # type: ignore[overload-overlap]
        self, dtheta: ArrayLike, ftol: float = ..., *, cell: Literal["none"] = ...
    ) -> tuple[FloatArray, float]: ...

    @overload
    def relaxed_at(
        self, dtheta: ArrayLike, ftol: float = ..., *, cell: CellRequest, pressure: Pressure = ...
    ) -> Relaxed: ...

    def relaxed_at(
        self, dtheta: ArrayLike, ftol: float = 1e-8, *, cell: CellRequest = "none", pressure: Pressure = None
    ) -> tuple[FloatArray, float] | Relaxed:
        """Relax again with Θ + δΘ, by brute force, and come back to Θ: the way to check a prediction.

        Parameters
        ----------
        dtheta : (P,) array_like
        ftol : float
            eV/Å.
        cell, pressure
            As for `relax`.

        Returns
        -------
        displacement : (n, 3) float array
            From X*(Θ) to X*(Θ + δΘ), nearest images, Å.
        energy : float
            Of the structure relaxed with Θ + δΘ.
        cell : (3, 3) float array
            Its cell vectors, where the cell is relaxed too.

        Raises
        ------
        NotAMinimumError, ConvergenceError
            If there is no minimum near.

        Examples
        --------
        >>> moved, energy = minimum.relaxed_at(1e-3 * minimum.potential.theta)
        >>> bool(np.isfinite(energy))
        True
        """
        start, ids, freedom = self.positions, self.ids, self.strain(cell, pressure)
        with self.excursion(dtheta):
            self._relax_within(ftol, freedom)
            relaxed = fetch(self.engine.comm, self.ids, self.positions, ids)
            displacement = self.engine.nearest_image(relaxed - start)
            if freedom.fixed:
                return displacement, self.energy
            return Relaxed(displacement, self.energy, self.engine.cell)
