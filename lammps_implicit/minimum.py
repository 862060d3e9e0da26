"""`Minimum`: a relaxed structure and its derivatives with respect to the potential's parameters."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import (
    CellFreedom,
    Coupling,
    Response,
    cell_freedom,
    driving_force,
    require_strainable,
)
from lammps_implicit.cell.system import AT_TARGET, CellSystem
from lammps_implicit.cell.voigt import COMPONENTS
from lammps_implicit.continuation.follow import Path, follow
from lammps_implicit.errors import ConvergenceError, LammpsImplicitError, NotAMinimumError
from lammps_implicit.evaluators.deck import deck_path
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.expansion.directions import leading_directions
from lammps_implicit.expansion.taylor import Expansion, expand
from lammps_implicit.expansion.third_derivative import third_derivative
from lammps_implicit.files import sha256
from lammps_implicit.mpi.id_order import IdOrder
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.operators.hessian import hessian_of
from lammps_implicit.operators.interface import Hessian, MixedDerivative
from lammps_implicit.potentials import of_deck
from lammps_implicit.potentials.interface import Parameters, Potential
from lammps_implicit.progress import Progress, in_two_parts, no_progress
from lammps_implicit.relaxation.lbfgs import relax
from lammps_implicit.relaxation.newton import newton
from lammps_implicit.response.cubic import LeadingDirections, ThirdDerivative
from lammps_implicit.response.jacobian import Jacobian
from lammps_implicit.response.linear_response import JACOBIAN_MARGIN, LinearResponse
from lammps_implicit.response.statistics import Statistics
from lammps_implicit.solvers.nullspace import NullSpace
from lammps_implicit.solvers.preconditioner import Preconditioner, backend
from lammps_implicit.solvers.softest import Mode, softest_mode
from lammps_implicit.units import Units, units_of

if TYPE_CHECKING:
    from lammps_implicit.ensembles.propagation import Propagation


FAR_FROM_MINIMUM = 50.0
"""Largest force, eV/Å, from which the preconditioned relaxation starts."""

NEIGHBOURHOOD = 0.1
"""Å that atoms may move from where the deck ends for its minimum to be the one that was meant."""

CELL_CONVERGED = 1e-10
"""Strain by which a relaxed cell may be off its target."""

CELL_NOISE = 1e-8
"""Strain that may be left where further steps do not make it smaller."""

CELL_STEP = 0.02
"""Largest strain of the cell in one step of its relaxation."""

CELL_STEPS = 60
"""Steps after which the relaxation of a cell gives up."""

PUSH_OFF = 0.05
"""Å that the atom which moves most is pushed off a saddle."""

SADDLES = 3
"""Saddles left one after the other."""


_states = itertools.count()


class State(NamedTuple):
    """What LAMMPS says of a structure.

    Attributes
    ----------
    energy : float
    forces : (n, 3) float array
    pressure : (3, 3) float array
        Energy per volume.
    volume : float
    gradient : (P,) float array or None
        ∂U/∂Θ, if asked for.
    """

    energy: float
    forces: FloatArray
    pressure: FloatArray
    volume: float
    gradient: FloatArray | None = None


@dataclass
class Excursion:
    """A visit to other parameters.

    Attributes
    ----------
    stay : bool
        Whether not to come back.
    """

    stay: bool = False


class Relaxed(NamedTuple):
    """What relaxing again led to.

    Attributes
    ----------
    displacement : (n, 3) float array
        Å.
    energy : float
    cell : (3, 3) float array
        Cell vectors as rows, Å.
    """

    displacement: FloatArray
    energy: float
    cell: FloatArray


class Minimum:
    """A minimum X*(Θ) of a potential's energy, differentiated implicitly: H dX*/dΘ = -C.

    Make one with `from_deck` or `from_ase`. Use it as a context manager, or call `close`, to end LAMMPS.

    Attributes
    ----------
    potential : Potential
        ``potential.theta`` (P,) and ``potential.names``: the parameters that derivatives are taken for.
    energy : float
        eV in ``units metal``.
    pressure : (3, 3) float array
        Pressure tensor, eV/Å³; times ``units.pressures`` in LAMMPS' unit.
    max_force : float
        Largest force component on a free degree of freedom, eV/Å.
    cell : str
        What the cell was relaxed over last, ``none`` if it was not.
    target : (3, 3) float array
        Pressure tensor that it is held at.
    statistics : Statistics
        Of the last product.
    recipe : dict
        Arguments of `from_deck` that make it again.
    third : ThirdDerivative or None
        What `third_derivative` measured here.
    state : int
        A number of its own for each set of positions, cell and parameters that it has stood at.
    setup : Evaluations
        Spent on taking over from the deck, the relaxation to `ftol` included.
    """

    def __init__(
        self,
        engine: Evaluator,
        potential: Potential,
        ftol: float,
        force_limit: float,
        saddle: bool = False,
        progress: Progress = no_progress,
        cell: str = "none",
        pressure: float | str | ArrayLike | None = None,
    ) -> None:
        self.engine = engine
        self.potential = potential
        self.deck_name = ""
        self.deck_sha256 = ""
        self.recipe: dict[str, Any] = {}
        self.units: Units = units_of(engine.deck.units)
        self.preconditioner = Preconditioner(engine, lambda forces, v: hessian_of(engine, forces).one_sided(v))
        self.saddle = saddle
        self._gradient: FloatArray | None = None
        self._jacobians: dict[tuple[float, bytes], Jacobian] = {}
        self._hessians: dict[tuple[float, bytes], FloatArray] = {}
        self._jacobian_statistics: dict[tuple[float, bytes], Statistics] = {}
        self._cells: dict[bytes, tuple[CellSystem, float]] = {}
        self.third: ThirdDerivative | None = None
        self.cell: str = "none"
        self.target = self.units.pressure_tensor(engine.deck.pressure)
        self.statistics = Statistics("iterative", 0.0)
        self._take(engine.settle())
        self.initial_force, self.initial_volume = self.max_force, engine.volume
        limit = force_limit * self.units.force
        if self.max_force > limit:
            raise NotAMinimumError(
                f"the deck does not end in a minimum: its largest force component is {self.max_force:.3g} "
                f"{self.units.force_name}, the limit {limit:.3g}; let it minimise further "
                "(for example 'minimize 0 1e-8 10000 100000')"
            )
        within = NEIGHBOURHOOD if np.isfinite(force_limit) else np.inf
        self.relax(ftol, within, progress, cell=cell, pressure=pressure)
        self.setup = engine.evaluations.copy()

    # -- making one --------------------------------------------------------------------------------------------------

    @classmethod
    def from_deck(
        cls,
        path: str | os.PathLike[str],
        comm: Any = None,
        parameters: str | Sequence[str] | None = None,
        *,
        variables: Mapping[str, str] | None = None,
        ftol: float = 1e-8,
        force_limit: float = 1e-2,
        saddle: bool = False,
        progress: Progress = no_progress,
        cell: str = "none",
        pressure: float | str | ArrayLike | None = None,
    ) -> Minimum:
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
            further by Newton's method.
        force_limit : float
            Largest force component, eV/Å, at which the deck's end still counts as relaxed.
        saddle : bool
            Accept a stationary point that is not a minimum, such as the transition state of a migration: it is followed
            as it is, solved for by MINRES, and relaxed to by Newton's method.
        progress : callable, optional
            Of the relaxation to `ftol`: called with the steps done and expected in all.
        cell, pressure
            The cell is relaxed too, as `relax` does.

        Raises
        ------
        DeckError, PotentialError, NotAMinimumError, ConvergenceError
        """
        deck = deck_path(path)
        engine = Engine.start(comm, variables)
        try:
            backend(engine.comm)  # what is missing is missed before a long deck runs
            engine.run_deck(deck)
            potential = of_deck.from_engine(engine, parameters)
            engine.take_over()
            potential.define(engine)
            minimum = cls(engine, potential, ftol, force_limit, saddle, progress, cell, pressure)
        except BaseException:
            engine.close()
            raise
        minimum.deck_name, minimum.deck_sha256 = deck.name, sha256(deck)
        minimum.recipe = {
            "path": str(deck),
            "parameters": parameters if parameters is None or isinstance(parameters, str) else list(parameters),
            "variables": {name: str(value) for name, value in (variables or {}).items()},
            "ftol": float(ftol),
            "force_limit": float(force_limit),
            "saddle": bool(saddle),
            "cell": cell,
            "pressure": pressure if pressure is None or isinstance(pressure, str) else np.asarray(pressure).tolist(),
        }
        return minimum

    @classmethod
    def from_ase(
        cls,
        atoms: Any,
        potential: str | os.PathLike[str] | Sequence[str],
        comm: Any = None,
        parameters: str | Sequence[str] | None = None,
        **options: Any,
    ) -> Minimum:
        """Relax an ASE structure in LAMMPS at fixed cell and take over.

        Parameters
        ----------
        atoms : ase.Atoms
            ``FixAtoms`` constraints are kept; the cell must be in LAMMPS' orientation (a along x, b in the xy plane).
        potential : path or sequence of str
            A LAMMPS include file with ``pair_style`` and ``pair_coeff`` lines (as ``W_2940_2017_2.snap``), or those
            lines. Atom types count the elements in the order in which they first appear in `atoms`.
        comm, parameters, ftol, force_limit, saddle
            As for `from_deck`.
        """
        from lammps_implicit.evaluators.ase_deck import temporary_deck

        with temporary_deck(atoms, potential) as deck:
            minimum = cls.from_deck(deck, comm, parameters, **options)
        minimum.recipe = {}  # its deck is gone
        return minimum

    def close(self) -> None:
        """End LAMMPS; arrays already taken stay valid."""
        self.engine.close()

    def __enter__(self) -> Minimum:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- state -------------------------------------------------------------------------------------------------------

    @property
    def ids(self) -> NDArray[np.int64]:
        """Ids of the atoms this rank owns, (n,)."""
        return self.engine.ids

    @property
    def positions(self) -> FloatArray:
        """Relaxed positions of this rank's atoms, (n, 3), Å."""
        return self.engine.positions

    @property
    def parameters(self) -> Parameters:
        """Names and values of the parameters, with the file that they stand in."""
        return Parameters(self.potential.names, self.potential.theta, self.potential.text)

    @property
    def hessian(self) -> Hessian:
        """H at the reference."""
        return self.response.hessian

    @property
    def mixed(self) -> MixedDerivative:
        """C at the reference."""
        return self.response.mixed

    @property
    def null_space(self) -> NullSpace:
        """Rigid motions that cost no energy; displacements are orthogonal to them."""
        return self.response.prepared().system.null_space

    def gather(self, array: ArrayLike) -> NDArray[Any] | None:
        """Collect a per-atom array (n, …) from all ranks in id order on rank 0; None on the others."""
        return IdOrder(self.engine.comm, self.ids).gather(np.asarray(array))

    # -- derivatives -------------------------------------------------------------------------------------------------

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
        cell: str,
        pressure: float | str | ArrayLike | None = ...,
    ) -> Response: ...

    def jvp(
        self,
        dtheta: ArrayLike,
        tol: float = 1e-6,
        progress: Progress = no_progress,
        *,
        cell: str = "none",
        pressure: float | str | ArrayLike | None = None,
    ) -> FloatArray | Response:
        """How the structure moves along δΘ: δX = dX*/dΘ δΘ, from one solve H δX = -C δΘ.

        Parameters
        ----------
        dtheta : (P,) array_like
        tol : float
            Relative residual of the solve.
        progress : callable, optional
            Called with the iterations done and expected in all.
        cell : str
            ``none``: the cell stays as it is. ``iso``, ``ortho``, ``full`` or components as ``"zz"``: it answers too,
            held at a pressure; the first such product takes one more solve and five evaluations a strain.
        pressure : float, str or array_like, optional
            See `Units.pressure_tensor`; default `target`.

        Returns
        -------
        (n, 3) float array, or Response
            Å per unit length of δΘ. Rigid motions that cost no energy are left out. With a cell that answers, positions
            and strain: new positions are X + displacement in the new cell, whose vectors are h(1 + ε)ᵀ. Displacements
            that follow the cell are those of the periodic image that `positions` holds.

        Raises
        ------
        NotAMinimumError
            If the cell is not relaxed to the pressure.
        """
        _check_tolerance(tol)
        direction = _vector(self.engine, dtheta, (len(self.potential.theta),), "dtheta")
        with self._measured("iterative", tol):
            system = self._cell_system(cell, pressure, tol)
            displacement = self.response.solve(-self.mixed.times(direction), tol, progress=progress)
            return displacement if system is None else system.forward(displacement, direction)

    def vjp(
        self,
        cotangent: ArrayLike,
        tol: float = 1e-6,
        progress: Progress = no_progress,
        *,
        strain_cotangent: ArrayLike | None = None,
        cell: str = "none",
        pressure: float | str | ArrayLike | None = None,
    ) -> FloatArray:
        """Gradient of a scalar loss: dL/dΘ = -Cᵀ H⁻¹ g with g = ∂L/∂X*, from one solve whatever P.

        Parameters
        ----------
        cotangent : (n, 3) array_like
            g on this rank's atoms; components along rigid motions and on frozen components have no effect.
        tol : float
            Relative residual of the solve.
        progress : callable, optional
            Called with the iterations done and expected in all.
        strain_cotangent : (k,) array_like, optional
            ∂L/∂ε of a loss that depends on the cell itself, besides through the positions.
        cell, pressure
            As for `jvp`. Frozen atoms follow the cell, and losses may depend on them.

        Returns
        -------
        (P,) float array
        """
        _check_tolerance(tol)
        g = _vector(self.engine, cotangent, self.positions.shape, "cotangent")
        with self._measured("iterative", tol):
            system = self._cell_system(cell, pressure, tol)
            sweeping, progress = in_two_parts(progress)
            self.mixed.prepare(sweeping)
            gradient = -self.mixed.transposed_times(self.response.solve(g * self.engine.free, tol, progress=progress))
            if system is None:
                if strain_cotangent is not None:
                    raise LammpsImplicitError("strain_cotangent needs a cell that answers: give cell too")
                return gradient
            strains = len(system.freedom.names)
            felt = np.zeros(strains) if strain_cotangent is None else strain_cotangent
            return gradient + system.backward(g, _vector(self.engine, felt, (strains,), "strain_cotangent"))

    def jacobian(
        self,
        tol: float = 1e-5,
        method: str = "auto",
        progress: Progress = no_progress,
        *,
        cell: str = "none",
        pressure: float | str | ArrayLike | None = None,
    ) -> Jacobian:
        """All of dX*/dΘ.

        Parameters
        ----------
        tol : float
            Relative tolerance of each column.
        method : {"auto", "iterative", "dense"}
            ``auto`` takes the one predicted to need fewer force evaluations; `statistics` says which.
        progress : callable, optional
            Called with the Hessian products done and expected in all.
        cell, pressure
            As for `jvp`. The result then has ``strain_jacobian`` and ``volume_gradient``.
        """
        if method not in ("auto", "iterative", "dense"):
            raise LammpsImplicitError(f"method '{method}' is not one of auto, iterative, dense")
        _check_tolerance(tol)
        key = self._key(tol, cell, pressure)
        if key in self._jacobians and method in ("auto", self._jacobian_statistics[key].method):
            return self._jacobians[key]
        with self._measured("iterative", tol):
            fixed = self._key(tol, "none", None)
            if key != fixed and fixed in self._jacobians and method == "auto":
                jacobian, hessian = self._jacobians[fixed], self._hessians[fixed]
                known = self._jacobian_statistics[fixed]
                self.statistics.method, self.statistics.residual = known.method, known.residual
            else:
                jacobian = self.response.jacobian(tol, method, progress)
                hessian = self.response.second_derivative(jacobian)
            system = self._cell_system(cell, pressure, JACOBIAN_MARGIN * tol)
            if system is not None:
                jacobian = jacobian.with_cell(system.patterns(), system.strain_jacobian, system.volume_gradient)
                hessian = hessian + system.enthalpy_hessian if system.freedom.hydrostatic else hessian
            self._jacobians[key], self._hessians[key] = jacobian, hessian
            self._jacobian_statistics[key] = self.statistics
        return jacobian

    def jacobian_statistics(
        self, tol: float = 1e-5, *, cell: str = "none", pressure: float | str | ArrayLike | None = None
    ) -> Statistics:
        """Cost and quality of ``jacobian(tol)``."""
        self.jacobian(tol, cell=cell, pressure=pressure)
        return self._jacobian_statistics[self._key(tol, cell, pressure)]

    def strain_jacobian(
        self, tol: float = 1e-6, *, cell: str = "iso", pressure: float | str | ArrayLike | None = None
    ) -> FloatArray:
        """dε/dΘ, (P, k), of the cell held at a pressure: from one solve a strain, whatever P."""
        _check_tolerance(tol)
        with self._measured("iterative", tol):
            return self._required_cell(cell, pressure, tol).strain_jacobian

    def volume_gradient(
        self, tol: float = 1e-6, *, cell: str = "iso", pressure: float | str | ArrayLike | None = None
    ) -> FloatArray:
        """dV/dΘ, (P,), of the cell held at a pressure: from one solve a strain, whatever P."""
        _check_tolerance(tol)
        with self._measured("iterative", tol):
            return self._required_cell(cell, pressure, tol).volume_gradient

    def energy_gradient(self) -> FloatArray:
        """dE/dΘ = B(X*), (P,): descriptor sums, numbers of atoms at the constant terms. eV per unit of Θ.

        That of the enthalpy where the cell is relaxed too.
        """
        if self._gradient is None:
            self._gradient = self.mixed.energy_gradient()
        return self._gradient

    def energy_hessian(
        self, tol: float = 1e-5, *, cell: str = "none", pressure: float | str | ArrayLike | None = None
    ) -> FloatArray:
        """d²E/dΘ² = Cᵀ dX*/dΘ, (P, P), of the relaxed energy; symmetric, negative semidefinite.

        That of the enthalpy where the cell is relaxed too.

        Raises
        ------
        LammpsImplicitError
            If the cell is held at a stress that is not hydrostatic.
        """
        freedom = self._freedom(cell, pressure)
        if freedom is not None and not freedom.hydrostatic:
            raise LammpsImplicitError(
                "energies and enthalpies have second derivatives at a hydrostatic pressure only: under another stress "
                "the cell's answer is not that of any energy"
            )
        return self.relaxation_hessian(tol, cell=cell, pressure=pressure) + self.mixed.bare_second_derivative()

    def relaxation_hessian(
        self, tol: float = 1e-5, *, cell: str = "none", pressure: float | str | ArrayLike | None = None
    ) -> FloatArray:
        """What relaxation adds to ∂²U/∂Θ² in `energy_hessian`, (P, P): minus the energy that it gains."""
        self.jacobian(tol, cell=cell, pressure=pressure)
        return self._hessians[self._key(tol, cell, pressure)]

    def third_derivative(self, directions: LeadingDirections, tol: float = 1e-5) -> ThirdDerivative:
        """Third derivatives of the relaxed energy or enthalpy, and second ones of the volume; kept as `third`.

        Four force evaluations and one of descriptors for each of (k + 1)(k + 2) structures, k(k + 1) where the cell was
        not relaxed.

        Parameters
        ----------
        directions : LeadingDirections
            k of them; see `third_derivative.leading_directions`.
        tol : float
            Of the Jacobian.
        """
        self.third = third_derivative(self, directions, tol, self.cell)
        return self.third

    def propagate(
        self,
        ensemble: Any,
        distances: Sequence[tuple[int, int]] = (),
        order: int = 3,
        tol: float = 1e-5,
        limit: float = 0.1,
    ) -> Propagation:
        """Distribution of energy, volume and distances over an ensemble of parameters, from derivatives alone.

        Parameters
        ----------
        ensemble : Ensemble, (S, P) array_like, fitted regression, or path
            See `ensembles.ensemble.as_ensemble`.
        distances : sequence of (int, int)
            Ids of two atoms each.
        order : int
            Of energies: 2, or 3, which measures `third_derivative` along the ensemble's directions, and brings volumes
            to second order.
        tol : float
            Of the Jacobian.
        limit : float
            Share of a change, or of the spread, that an estimated error may be before a sample is flagged.
        """
        from lammps_implicit.ensembles.ensemble import as_ensemble
        from lammps_implicit.ensembles.propagation import propagate
        from lammps_implicit.observables.cells import enthalpy, volume
        from lammps_implicit.observables.distances import distance_from_jacobian
        from lammps_implicit.observables.observable import stability

        if order not in (2, 3):
            raise LammpsImplicitError(f"order {order} is not 2 or 3")
        known = self.engine.on_root(lambda: as_ensemble(ensemble, self.parameters))
        self.third = None  # that of another ensemble is of no use
        if order == 3:
            hessians, changes = [self.relaxation_hessian(tol, cell=self.cell)], known.changes(self.potential.theta)
            # On one rank, so that all go along the same directions to the last digit.
            self.third_derivative(self.engine.on_root(lambda: leading_directions(changes, hessians)), tol)
        found = {"energy" if self.cell == "none" else "enthalpy": enthalpy(self, tol)}
        if self.cell != "none":
            found["volume"] = volume(self, tol)
        if self.third is not None:
            found["stability"] = stability(self.third.softening)
        found |= {f"distance {a}-{b}": distance_from_jacobian(self, (a, b), tol) for a, b in distances}
        metric = self.third.directions.response_metric if self.third is not None else None
        return propagate(found, self.potential.theta, known, limit, metric)

    def expansion(
        self,
        order: int = 2,
        cell: str = "none",
        pressure: float | str | ArrayLike | None = None,
        tol: float = 1e-5,
    ) -> Expansion:
        """Taylor model of structure, cell, energy and pressure at changed parameters, from one Jacobian.

        Parameters
        ----------
        order : int
            Of energies: 1, 2, or 3, which re-evaluates U at each predicted structure. Structures are of first order.
        cell, pressure
            As for `jvp`.
        tol : float
            Of the Jacobian.
        """
        return expand(self, order, cell, pressure, tol)

    # -- relaxing ----------------------------------------------------------------------------------------------------

    def relax(
        self,
        ftol: float = 1e-8,
        within: float = np.inf,
        progress: Progress = no_progress,
        *,
        cell: str = "none",
        pressure: float | str | ArrayLike | None = None,
    ) -> None:
        """Relax until no force component on a free degree of freedom exceeds `ftol` eV/Å.

        L-BFGS preconditioned by the learned springs, with LAMMPS' conjugate gradients where it is far from a minimum or
        finds no way down. A cell takes Newton steps between. Derivatives taken before are void if atoms move; arrays
        too, as atoms may change owner.

        Parameters
        ----------
        ftol : float
        within : float
            Å; how far any atom may move in the cell as it is.
        progress : callable, optional
            Called with the steps done and expected in all.
        cell, pressure
            Strains that the cell may take, and what it is held at, as for `jvp`; they become `cell` and `target`.

        Raises
        ------
        ConvergenceError
            If forces stop falling, or the minimum is further away than `within`. The state that is kept is never higher
            in energy than the first.
        """
        if not ftol > 0:
            raise LammpsImplicitError(f"force tolerance {ftol:g} is not positive")
        freedom = self._freedom(cell, pressure)
        with self._measured("relaxation", ftol * self.units.force):
            self._relax_atoms(ftol * self.units.force, within, progress)
            if freedom is None:
                return
            if np.any(freedom.basis[3:]) and not self.engine.triclinic:
                self.engine.allow_tilt()
                self._take(self.engine.settle())
            start = self.engine.reference()
            try:
                self._relax_cell(freedom, ftol * self.units.force, progress)
            except (ConvergenceError, NotAMinimumError):
                self.engine.set_reference(start)
                self._take(self.engine.forces())
                raise
            self.cell, self.target = cell, freedom.target

    def _relax_atoms(self, ftol: float, within: float, progress: Progress) -> None:
        """Relax positions in the cell as it is, forces in LAMMPS' unit."""
        engine = self.engine
        if self.max_force <= ftol:
            return
        forces = self.hessian.reference_forces
        try:
            if self.saddle:
                forces = newton(engine, forces, partial(self.response.solve, probe=False), ftol, self._moved)
            else:
                far = FAR_FROM_MINIMUM * self.units.force
                forces = relax(engine, forces, self.preconditioner.near, ftol, far, within, progress)
        except ConvergenceError:
            self._take(engine.settle())  # wherever it stopped is where it stands now
            raise
        self._take(forces)
        self.settle()

    def _relax_cell(self, freedom: CellFreedom, ftol: float, progress: Progress) -> None:
        """Bring a cell with relaxed positions to its target: Newton steps with positions eliminated.

        The derivatives of one step serve the next ones while they bring the target ten times closer each.
        """
        engine, steps = self.engine, 0
        system: CellSystem | None = None
        size = np.inf
        start = engine.volume
        while steps < CELL_STEPS and 0.5 < engine.volume / start < 2.0:
            fresh = system is None
            if system is None:
                system = self._system_on_the_way(freedom, size)
            drive = driving_force(engine.volume, self.pressure, np.zeros((3, 3)), freedom.target)
            strain = system.step(freedom.basis.T @ drive)
            last, size = size, float(np.abs(strain).max())
            # Where the cell is soft, round-off of the pressure leaves more.
            if size <= CELL_CONVERGED or (fresh and size <= CELL_NOISE and size > 0.5 * last):
                if not system.positions_follow:  # a saddle here would stay one
                    system = self.response.cell_system(freedom, 1e-3)
                system.require_minimum()
                return
            if size > 0.1 * last and not fresh:
                system = None
                continue
            steps += 1
            ids, strain = engine.ids, strain * min(1.0, CELL_STEP / size)
            engine.shift(-system.relaxed @ strain)
            self._take(engine.strain_reference(np.tensordot(strain, freedom.tensors(), axes=1)))
            if not engine.owns_still(ids):
                system = None
            self._relax_atoms(ftol, np.inf, progress)
        raise ConvergenceError(
            f"the cell did not reach its pressure in {steps} steps, from a volume of {start:.6g} to "
            f"{engine.volume:.6g} (a strain of {size:.1e} is missing): there may be no minimum of the enthalpy near"
        )

    def _system_on_the_way(self, freedom: CellFreedom, missing: float) -> CellSystem:
        """Coupled system of a cell that is not yet at its target, where positions may still be at a saddle.

        Such positions may be stable in the cell they are on the way to: the cell then goes on alone, and they follow.

        Raises
        ------
        NotAMinimumError
            If all but nothing is missing.
        """
        try:
            return self.response.cell_system(freedom, 1e-3)
        except NotAMinimumError:
            if missing <= AT_TARGET:
                raise
            return self.response.cell_system(freedom, 1e-3, follow=False)

    def _moved(self, forces: FloatArray) -> None:
        self.hessian.reference_forces = forces

    def follow(
        self,
        theta: ArrayLike,
        *,
        ftol: float = 1e-8,
        cell: str = "none",
        pressure: float | str | ArrayLike | None = None,
        missed: float = 0.02,
        stop_at_new_neighbours: bool = True,
        progress: Progress = no_progress,
    ) -> Path:
        """Follow the minimum to other parameters, however far: predictions from the derivative, relaxed one by one.

        Parameters
        ----------
        theta : (P,) array_like
        ftol : float
            eV/Å, of every relaxation.
        cell, pressure
            As for `relax`.
        missed : float
            Å; how far atoms may be from where they were predicted: what steps are as long as.
        stop_at_new_neighbours : bool
            Whether to end where atoms get other neighbours.
        progress : callable, optional
            Called with thousandths of the way.

        Returns
        -------
        Path
            Its steps, and why it ended. The minimum stands at the last one: the parameters asked for where ``reached``,
            else the last good minimum on the way, where it disappears or changes its topology.
        """
        with self._measured("relaxation", ftol):
            return follow(self, theta, ftol, cell, pressure, missed, stop_at_new_neighbours, progress)

    @overload
    def relaxed_at(  # type: ignore[overload-overlap]
        self, dtheta: ArrayLike, ftol: float = ..., *, cell: Literal["none"] = ...
    ) -> tuple[FloatArray, float]: ...

    @overload
    def relaxed_at(
        self, dtheta: ArrayLike, ftol: float = ..., *, cell: str, pressure: float | str | ArrayLike | None = ...
    ) -> Relaxed: ...

    def relaxed_at(
        self,
        dtheta: ArrayLike,
        ftol: float = 1e-8,
        *,
        cell: str = "none",
        pressure: float | str | ArrayLike | None = None,
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
            Its cell vectors, where the cell answers.

        Raises
        ------
        NotAMinimumError, ConvergenceError
            If there is no minimum near.
        """
        start, ids = self.positions, self.ids
        with self.excursion(dtheta):
            self._relax_within(ftol, cell, pressure)
            relaxed = fetch(self.engine.comm, self.ids, self.positions, ids)
            displacement = self.engine.nearest_image(relaxed - start)
            if cell == "none":
                return displacement, self.energy
            return Relaxed(displacement, self.energy, self.engine.cell)

    def state_at(
        self, dtheta: ArrayLike, displacement: ArrayLike, strain: FloatArray | None = None, gradient: bool = False
    ) -> State:
        """Energy, forces and pressure at X* + δX in a strained cell with Θ + δΘ, unrelaxed.

        Parameters
        ----------
        dtheta : (P,) array_like
        displacement : (n, 3) array_like
            Å; Cartesian, the part that follows the cell included.
        strain : (3, 3) float array, optional
            Upper triangular.
        gradient : bool
            Whether to evaluate ∂U/∂Θ too.
        """
        moved, ids = _vector(self.engine, displacement, self.positions.shape, "displacement"), self.ids
        with self.excursion(dtheta, moved, strain):
            forces = fetch(self.engine.comm, self.ids, self.hessian.reference_forces, ids)
            slope = self.energy_gradient() if gradient else None
            return State(self.energy, forces, self.pressure, self.engine.volume, slope)

    def answer(
        self, dtheta: FloatArray, tol: float, cell: str, pressure: float | str | ArrayLike | None
    ) -> tuple[FloatArray, FloatArray]:
        """Displacement, (n, 3), and strain tensor, (3, 3), along δΘ, whatever the cell may do."""
        if cell == "none":
            return self.jvp(dtheta, tol), np.zeros((3, 3))
        response = self.jvp(dtheta, tol, cell=cell, pressure=pressure)
        return response.displacement, np.tensordot(
            response.strain, self.cell_system(tol, cell, pressure).freedom.tensors(), 1
        )

    def relax_away(
        self,
        ftol: float,
        cell: str = "none",
        pressure: float | str | ArrayLike | None = None,
        leave_saddles: bool = False,
    ) -> float:
        """Relax as `relax` does, during an excursion; return the largest distance that an atom moved, Å.

        With `leave_saddles` positions that symmetry keeps on a saddle are pushed off it, along their softest mode.
        """
        start, ids = self.positions, self.ids
        for left in range(SADDLES if leave_saddles else 0, -1, -1):
            try:
                self._relax_within(ftol, cell, pressure)
                break
            except NotAMinimumError:
                if not left:
                    raise
                mode = self.softest_mode()
                if mode.curvature >= 0:
                    raise
                self.engine.shift(PUSH_OFF / self.engine.max_abs(mode.vector) * mode.vector)
                self._take(self.engine.settle())
        moved = self.engine.nearest_image(self.positions - fetch(self.engine.comm, ids, start, self.ids))
        return self.engine.max(float(np.linalg.norm(moved, axis=1).max(initial=0.0)))

    def _relax_within(self, ftol: float, cell: str, pressure: float | str | ArrayLike | None) -> None:
        freedom = self._freedom(cell, pressure)
        self._relax_atoms(ftol * self.units.force, np.inf, no_progress)
        if freedom is not None:
            self._require_tilt(freedom, cell)
            self._relax_cell(freedom, ftol * self.units.force, no_progress)
            self.cell, self.target = cell, freedom.target

    def settle(self) -> None:
        """Let ranks own the atoms that have come near them, and bring those that have left the cell back into it.

        A potential can be installed only where ranks own what is near them, and a displacement that follows the cell is
        that of the periodic image where an atom is. One force evaluation; rows may change on several ranks.
        """
        if self.engine.drift > 0:
            self._take(self.engine.settle())

    def forget(self) -> None:
        """Forget all derivatives, so that the next ones are computed anew; springs that still hold are kept."""
        self._take(self.engine.forces())

    def softest_mode(self, start: ArrayLike | None = None) -> Mode:
        """The mode that resists least, measured against the springs: see `solvers.softest`.

        Parameters
        ----------
        start : (n, 3) array_like, optional
            Its ``pull`` from an earlier call, as guess; default random.
        """
        solver = self.response.prepared()
        guess = solver.probe if start is None else np.asarray(start, float)
        return softest_mode(replace(solver.system, saddle=True), guess)

    def preconditioned(self, vector: FloatArray) -> FloatArray:
        """K⁻¹v with the learned springs, (n, 3): about H⁻¹v, without a force evaluation once they are fitted."""
        return self.response.prepared().system.preconditioned(vector * self.engine.free)

    def cell_system(
        self, tol: float = 1e-6, cell: str = "iso", pressure: float | str | ArrayLike | None = None
    ) -> CellSystem:
        """The cell's part of the coupled system: its stiffness, and how positions follow each strain."""
        return self._required_cell(cell, pressure, tol)

    def natural_coupling(self) -> Coupling:
        """Derivatives under all strains that LAMMPS' cell allows, around the pressure that it has."""
        return self.mixed.coupling(self._natural_freedom())

    def free_cell_system(self, tol: float = 1e-6) -> CellSystem:
        """As `cell_system`, under all strains that LAMMPS' cell allows and around the pressure that it has.

        Its stiffness is -V dP/dε, positions following, whether or not the cell was relaxed.
        """
        _check_tolerance(tol)
        return self.response.cell_system(self._natural_freedom(), tol)

    def _natural_freedom(self) -> CellFreedom:
        engine = self.engine
        names = [name for name in COMPONENTS if all(engine.periodic["xyz".index(axis)] for axis in name)]
        allowed = [name for name in names if engine.triclinic or name[0] == name[1]]
        if not allowed:
            raise LammpsImplicitError("no direction is periodic: the cell cannot be strained, and has no pressure")
        return cell_freedom(",".join(allowed), self.pressure, engine)

    def energy_at(self, dtheta: ArrayLike, displacement: ArrayLike) -> float:
        """U(X* + δX, Θ + δΘ), unrelaxed. With δX = jvp(δΘ) it equals the relaxed energy to third order in δΘ."""
        with self.excursion(dtheta, _vector(self.engine, displacement, self.positions.shape, "displacement")):
            return self.energy

    @contextmanager
    def excursion(
        self, dtheta: ArrayLike, displacement: FloatArray | None = None, strain: FloatArray | None = None
    ) -> Iterator[Excursion]:
        """Stand at other parameters, positions and cell; everything known of this minimum is restored on leaving.

        Parameters
        ----------
        dtheta : (P,) array_like
        displacement : (n, 3) float array, optional
            Å; Cartesian, the part that follows the cell included.
        strain : (3, 3) float array, optional
            Upper triangular.

        Yields
        ------
        Excursion
            Set its ``stay`` to make where it stands then, with Θ + δΘ, the minimum.
        """
        dtheta = _vector(self.engine, dtheta, (len(self.potential.theta),), "dtheta")
        engine, trip = self.engine, Excursion()
        strain = np.zeros((3, 3)) if strain is None else strain
        require_strainable(engine, strain)
        known, reference, springs = dict(self.__dict__), engine.reference(), self.preconditioner.fitted
        try:
            self.potential = self.potential.changed(dtheta)
            forces = self.potential.install(engine, np.zeros_like(dtheta))
            if displacement is not None:
                # What is left of it in the cell before it is strained.
                beyond = displacement - (self.positions - engine.origin) @ strain.T
                engine.shift(np.asarray(np.linalg.solve(np.eye(3) + strain, beyond.T).T, np.float64))
            if strain.any():
                forces = engine.strain_reference(strain)
            elif engine.drift > engine.skin / 4:
                forces = engine.settle()
            elif engine.drift > 0:
                forces = engine.forces()
            self._take(forces)
            yield trip
        except BaseException:
            trip.stay = False
            raise
        finally:
            if not trip.stay:
                engine.set_reference(reference)
                self.__dict__.update(known)
                self.potential.install(engine, np.zeros_like(dtheta))
                self.preconditioner.fitted = springs

    # -- inside ------------------------------------------------------------------------------------------------------

    def _take(self, forces: FloatArray) -> None:
        """Take the engine's reference, with these forces, as the minimum; forget what was known of another state."""
        self.response = LinearResponse(
            self.engine, self.potential, forces, self.preconditioner, self.saddle, self.statistics
        )
        self.state = next(_states)
        self.energy, self.pressure = self.engine.energy, self.engine.pressure
        self.max_force = self.engine.max_abs(forces)
        self._gradient = None
        self._jacobians, self._hessians, self._jacobian_statistics, self._cells = {}, {}, {}, {}
        self.third = None

    def _freedom(self, cell: str, pressure: float | str | ArrayLike | None) -> CellFreedom | None:
        """What the cell may do; None if it stays as it is."""
        if cell == "none":
            if pressure is not None:
                raise LammpsImplicitError("a pressure needs a cell that answers to it: give cell too")
            return None
        target = self.target if pressure is None else self.units.pressure_tensor(pressure)
        return cell_freedom(cell, target, self.engine)

    def _key(self, tol: float, cell: str, pressure: float | str | ArrayLike | None) -> tuple[float, bytes]:
        freedom = self._freedom(cell, pressure)
        return tol, b"" if freedom is None else freedom.key

    def _cell_system(self, cell: str, pressure: float | str | ArrayLike | None, tol: float) -> CellSystem | None:
        """The cell's part of a coupled system, its solves to a tolerance; None if the cell stays as it is."""
        freedom = self._freedom(cell, pressure)
        if freedom is None:
            return None
        key = freedom.key
        if key not in self._cells or self._cells[key][1] > tol:
            self._require_tilt(freedom, cell)
            system = self.response.cell_system(freedom, tol)
            missing = float(np.abs(system.step(system.coupling.residual)).max())
            if missing > AT_TARGET:
                held = np.trace(freedom.target) / 3 * self.units.pressures
                now = np.trace(self.pressure) / 3 * self.units.pressures
                raise NotAMinimumError(
                    f"the cell is not relaxed: it is at a pressure of {now:.6g} {self.units.pressure}, held at "
                    f"{held:.6g}, and would strain by {missing:.1e}; relax it first with relax(cell='{cell}', "
                    "pressure=...), or say at which pressure it is"
                )
            system.require_minimum()
            self._cells[key] = system, tol
        return self._cells[key][0]

    def _require_tilt(self, freedom: CellFreedom, cell: str) -> None:
        if np.any(freedom.basis[3:]) and not self.engine.triclinic:
            raise LammpsImplicitError(
                f"cell '{cell}' tilts a cell that LAMMPS takes to be orthogonal: relax it first with "
                f"relax(cell='{cell}')"
            )

    def _required_cell(self, cell: str, pressure: float | str | ArrayLike | None, tol: float) -> CellSystem:
        system = self._cell_system(cell, pressure, tol)
        if system is None:
            raise LammpsImplicitError("cell 'none' does not strain: name one of iso, ortho, full, or components")
        return system

    @contextmanager
    def _measured(self, method: str, tol: float) -> Iterator[None]:
        """Count what a product costs into fresh `statistics`."""
        counted = Statistics(method, tol)
        self.statistics = self.response.statistics = counted
        evaluations, inside, start = self.engine.evaluations.copy(), self.engine.seconds, time.perf_counter()
        yield
        counted.evaluations = self.engine.evaluations.since(evaluations)
        counted.seconds_in_lammps = self.engine.seconds - inside
        counted.seconds = time.perf_counter() - start
        self.statistics = self.response.statistics = counted


def _check_tolerance(tol: float) -> None:
    if not 1e-10 <= tol < 1:
        raise LammpsImplicitError(f"tolerance {tol:g} is not between 1e-10, what differences of forces allow, and 1")


def _vector(engine: Evaluator, values: ArrayLike, shape: tuple[int, ...], name: str) -> FloatArray:
    """Return a finite float array of the shape asked for; raise on all ranks if one was given another."""
    array = np.asarray(values, dtype=float)
    if engine.any(array.shape != shape):
        raise LammpsImplicitError(f"{name} has shape {array.shape}, expected {shape}")
    if engine.any(not np.isfinite(array).all()):
        raise LammpsImplicitError(f"{name} holds values that are not finite")
    return array
