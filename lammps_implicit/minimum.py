"""`Minimum`: a relaxed structure and its derivatives with respect to the potential's parameters."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lammps_implicit import potentials
from lammps_implicit.deck import deck_path, sha256
from lammps_implicit.engine import Engine, Evaluations, Neighbourhood
from lammps_implicit.errors import ConvergenceError, LammpsImplicitError, NotAMinimumError
from lammps_implicit.jacobian import Jacobian, principal_directions, solve_directions
from lammps_implicit.nullspace import NullSpace, find_null_space, rigid_motions
from lammps_implicit.operators import Hessian, MixedDerivative
from lammps_implicit.parallel import IdOrder
from lammps_implicit.potentials import Potential
from lammps_implicit.relaxation import newton, relax
from lammps_implicit.solvers import (
    PRODUCT_SHARE,
    LinearSystem,
    Solution,
    embedded,
    iterations_expected,
    require_every_atom_held,
)
from lammps_implicit.solvers.conjugate_directions import ConjugateDirections
from lammps_implicit.solvers.dense import dense_inverse
from lammps_implicit.springs import fit_springs, random_vector
from lammps_implicit.units import Units, units_of

FloatArray = NDArray[np.float64]
Progress = Callable[[int, int], None]

PROBE = 100.0
"""Size, relative to the tolerance, of what the probe for saddles puts into the residual along a typical mode."""

JACOBIAN_MARGIN = 0.1
"""Residuals of a Jacobian's solves relative to its tolerance."""

FAR_FROM_MINIMUM = 50.0
"""Largest force, eV/Å, from which the preconditioned relaxation starts."""

NEIGHBOURHOOD = 0.1
"""Å that atoms may move from where the deck ends for its minimum to be the one that was meant."""

SPRINGS_HOLD = 0.3
"""Å that atoms may move from where springs were fitted before others are fitted."""

RECYCLING_MEMORY = 512 * 2**20
"""Bytes spent on the search directions that the solves of a Jacobian share."""


def _no_progress(done: int, total: int) -> None:
    pass


@dataclass
class Statistics:
    """Cost and quality of one product.

    Attributes
    ----------
    method : str
        ``"iterative"``, ``"dense"`` or ``"relaxation"``.
    tolerance : float
        Relative tolerance asked for; force tolerance of a relaxation.
    evaluations : Evaluations
        LAMMPS evaluations spent, preparation of the preconditioner included when this product needed it.
    iterations : int
        Hessian products of the linear solves.
    solves : int
    residual : float
        Largest relative residual of its solves.
    differencing_error : float
        Estimate of what differences in place of exact Hessian products left in the residual of a solve, relative to the
        right-hand side. Beyond the tolerance where round-off of a large cell allows no better.
    seconds, seconds_in_lammps : float
    """

    method: str
    tolerance: float
    evaluations: Evaluations = field(default_factory=Evaluations)
    iterations: int = 0
    solves: int = 0
    residual: float = 0.0
    differencing_error: float = 0.0
    seconds: float = 0.0
    seconds_in_lammps: float = 0.0


@dataclass
class _Solver:
    """What solves share at one reference state: the system, and a vector with known product."""

    system: LinearSystem
    probe: FloatArray
    probe_product: FloatArray
    probed: bool = False


@dataclass(frozen=True)
class _FittedSprings:
    """K⁻¹ and where its springs were fitted."""

    precondition: Callable[[FloatArray], FloatArray]
    positions: FloatArray
    ids: NDArray[np.int64]

    def hold(self, engine: Engine) -> bool:
        """Whether the same atoms are still about where they were."""
        if not engine.owns_still(self.ids):
            return False
        return engine.max_abs(engine.nearest_image(engine.positions - self.positions)) < SPRINGS_HOLD


class Minimum:
    """A minimum X*(Θ) of a potential's energy, differentiated implicitly: H dX*/dΘ = -C.

    Make one with `from_deck` or `from_ase`. Use it as a context manager, or call `close`, to end LAMMPS.

    Attributes
    ----------
    potential : Potential
        ``potential.theta`` (P,) and ``potential.names``: the parameters that derivatives are taken for.
    energy : float
        eV in ``units metal``.
    max_force : float
        Largest force component on a free degree of freedom, eV/Å.
    statistics : Statistics
        Of the last product.
    setup : Evaluations
        Spent on taking over from the deck, the relaxation to `ftol` included.
    """

    def __init__(
        self,
        engine: Engine,
        potential: Potential,
        ftol: float,
        force_limit: float,
        saddle: bool = False,
        progress: Progress = _no_progress,
    ) -> None:
        self.engine = engine
        self.potential = potential
        self.deck_name = ""
        self.deck_sha256 = ""
        self.units: Units = units_of(engine.deck.units)
        self._backend: Any = _backend(engine.comm)
        self.saddle = saddle
        self._solver: _Solver | None = None
        self._springs: _FittedSprings | None = None
        self._inverse: tuple[Callable[[FloatArray], FloatArray], float] | None = None  # H⁻¹ and its accuracy
        self._gradient: FloatArray | None = None
        self._jacobians: dict[float, Jacobian] = {}
        self._hessians: dict[float, FloatArray] = {}
        self._jacobian_statistics: dict[float, Statistics] = {}
        self.statistics = Statistics("iterative", 0.0)
        self._take(engine.settle())
        self.initial_force = self.max_force
        limit = force_limit * self.units.force
        if self.max_force > limit:
            raise NotAMinimumError(
                f"the deck does not end in a minimum: its largest force component is {self.max_force:.3g} "
                f"{self.units.force_name}, the limit {limit:.3g}; let it minimise further "
                "(for example 'minimize 0 1e-8 10000 100000')"
            )
        self.relax(ftol, NEIGHBOURHOOD if np.isfinite(force_limit) else np.inf, progress)
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
        progress: Progress = _no_progress,
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

        Raises
        ------
        DeckError, PotentialError, NotAMinimumError, ConvergenceError
        """
        deck = deck_path(path)
        engine = Engine.start(comm, variables)
        try:
            _backend(engine.comm)  # what is missing is missed before a long deck runs
            engine.run_deck(deck)
            potential = potentials.from_engine(engine, parameters)
            engine.take_over()
            potential.define(engine)
            minimum = cls(engine, potential, ftol, force_limit, saddle, progress)
        except BaseException:
            engine.close()
            raise
        minimum.deck_name, minimum.deck_sha256 = deck.name, sha256(deck)
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
        from lammps_implicit.structures import temporary_deck

        with temporary_deck(atoms, potential) as deck:
            return cls.from_deck(deck, comm, parameters, **options)

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
    def null_space(self) -> NullSpace:
        """Rigid motions that cost no energy; displacements are orthogonal to them."""
        return self._prepared().system.null_space

    def gather(self, array: ArrayLike) -> NDArray[Any] | None:
        """Collect a per-atom array (n, …) from all ranks in id order on rank 0; None on the others."""
        return IdOrder(self.engine.comm, self.ids).gather(np.asarray(array))

    # -- derivatives -------------------------------------------------------------------------------------------------

    def jvp(self, dtheta: ArrayLike, tol: float = 1e-6, progress: Progress = _no_progress) -> FloatArray:
        """How the structure moves along δΘ: δX = dX*/dΘ δΘ, from one solve H δX = -C δΘ.

        Parameters
        ----------
        dtheta : (P,) array_like
        tol : float
            Relative residual of the solve.
        progress : callable, optional
            Called with the iterations done and expected in all.

        Returns
        -------
        (n, 3) float array
            Å per unit length of δΘ. Rigid motions that cost no energy are left out.
        """
        _check_tolerance(tol)
        direction = _vector(self.engine, dtheta, (len(self.potential.theta),), "dtheta")
        with self._measured("iterative", tol):
            return self._solve(-self.mixed.times(direction), tol, progress=progress)

    def vjp(self, cotangent: ArrayLike, tol: float = 1e-6, progress: Progress = _no_progress) -> FloatArray:
        """Gradient of a scalar loss: dL/dΘ = -Cᵀ H⁻¹ g with g = ∂L/∂X*, from one solve whatever P.

        Parameters
        ----------
        cotangent : (n, 3) array_like
            g on this rank's atoms; components along rigid motions and on frozen components have no effect.
        tol : float
            Relative residual of the solve.
        progress : callable, optional
            Called with the iterations done and expected in all.

        Returns
        -------
        (P,) float array
        """
        _check_tolerance(tol)
        g = _vector(self.engine, cotangent, self.positions.shape, "cotangent")
        with self._measured("iterative", tol):
            self.mixed.prepare()
            return -self.mixed.transposed_times(self._solve(g * self.engine.free, tol, progress=progress))

    def jacobian(self, tol: float = 1e-5, method: str = "auto", progress: Progress = _no_progress) -> Jacobian:
        """All of dX*/dΘ.

        Parameters
        ----------
        tol : float
            Relative tolerance of each column.
        method : {"auto", "iterative", "dense"}
            ``auto`` takes the one predicted to need fewer force evaluations; `statistics` says which.
        progress : callable, optional
            Called with the Hessian products done and expected in all.
        """
        if method not in ("auto", "iterative", "dense"):
            raise LammpsImplicitError(f"method '{method}' is not one of auto, iterative, dense")
        _check_tolerance(tol)
        if tol in self._jacobians and method in ("auto", self._jacobian_statistics[tol].method):
            return self._jacobians[tol]
        with self._measured("iterative", tol):
            # Residuals are held below the tolerance by a margin, so that soft modes too stay within it.
            inner = JACOBIAN_MARGIN * tol
            mixed = self.mixed.array
            # On one rank, so that all solve for the same directions to the last digit.
            gram = self.mixed.gram()
            directions = self.engine.on_root(lambda: principal_directions(gram, inner))
            expected = directions.iterations_expected(inner)
            if method == "auto":
                dense_pays = self._free_count() < expected and self.engine.comm.size == 1
                method = "dense" if dense_pays else "iterative"
            if method == "dense" and self.engine.comm.size > 1:
                raise LammpsImplicitError(
                    "the dense method runs on one rank: use method 'iterative', or start without mpirun"
                )
            self.statistics.method = method
            solver = self._prepared()
            if method == "dense":
                inverse = dense_inverse(solver.system, inner, progress)
                self._inverse = inverse, inner
                jacobian = solve_directions(directions, mixed, lambda right, *_: inverse(right), inner)
            elif self.saddle:
                jacobian = solve_directions(directions, mixed, partial(self._solve, progress=progress), inner)
            else:
                room = RECYCLING_MEMORY // max(16 * self.positions.size, 1)
                system = solver.system.reporting(expected, progress)
                krylov = ConjugateDirections(system, capacity=min(room, int(4 * expected) + 50))
                solve = partial(self._solve, method=krylov.solve)
                jacobian = solve_directions(directions, mixed, solve, inner)
            self.statistics.residual = self._jacobian_residual(jacobian)
            self._jacobians[tol], self._hessians[tol] = jacobian, self._second_derivative(jacobian)
            self._jacobian_statistics[tol] = self.statistics
        return jacobian

    def jacobian_statistics(self, tol: float = 1e-5) -> Statistics:
        """Cost and quality of ``jacobian(tol)``."""
        self.jacobian(tol)
        return self._jacobian_statistics[tol]

    def energy_gradient(self) -> FloatArray:
        """dE/dΘ = B(X*), (P,): descriptor sums, numbers of atoms at the constant terms. eV per unit of Θ."""
        if self._gradient is None:
            self.engine.return_to_reference()
            atoms = self.potential.atom_descriptors(self.engine)
            self._gradient = self.potential.sum_descriptors(self.engine, atoms) + self.potential.counts(self.engine)
        return self._gradient

    def energy_hessian(self, tol: float = 1e-5) -> FloatArray:
        """d²E/dΘ² = Cᵀ dX*/dΘ, (P, P), of the relaxed energy; symmetric, negative semidefinite."""
        if tol not in self._hessians:
            self.jacobian(tol)
        return self._hessians[tol]

    # -- relaxing ----------------------------------------------------------------------------------------------------

    def relax(self, ftol: float = 1e-8, within: float = np.inf, progress: Progress = _no_progress) -> None:
        """Relax until no force component on a free degree of freedom exceeds `ftol` eV/Å.

        L-BFGS preconditioned by the learned springs, with LAMMPS' conjugate gradients where it is far from a minimum or
        finds no way down. Derivatives taken before are void if atoms move; arrays too, as atoms may change owner.

        Parameters
        ----------
        ftol : float
        within : float
            Å; how far any atom may move.
        progress : callable, optional
            Called with the steps done and expected in all.

        Raises
        ------
        ConvergenceError
            If forces stop falling, or the minimum is further away than `within`. The state that is kept is never higher
            in energy than the first.
        """
        if not ftol > 0:
            raise LammpsImplicitError(f"force tolerance {ftol:g} is not positive")
        ftol *= self.units.force
        engine = self.engine
        with self._measured("relaxation", ftol):
            if self.max_force > ftol:
                try:
                    forces = self._relaxed_forces(ftol, within, False, progress)
                except ConvergenceError:
                    self._take(engine.settle())  # wherever it stopped is where it stands now
                    raise
                # Ranks own the atoms that were near them; a potential can be installed only where they still are.
                self._take(engine.settle() if engine.comm.size > 1 and engine.drift > 0 else forces)

    def _relaxed_forces(self, ftol: float, within: float, in_place: bool, progress: Progress) -> FloatArray:
        forces = self.hessian.reference_forces
        if self.saddle:
            return newton(self.engine, forces, partial(self._solve, probe=False), ftol, self._moved)
        far = FAR_FROM_MINIMUM * self.units.force
        return relax(self.engine, forces, self._springs_there, ftol, far, within, in_place, progress)

    def _moved(self, forces: FloatArray) -> None:
        self.hessian.reference_forces = forces

    def relaxed_at(self, dtheta: ArrayLike, ftol: float = 1e-8) -> tuple[FloatArray, float]:
        """Relax again with Θ + δΘ, by brute force, and come back to Θ: the way to check a prediction.

        Returns
        -------
        displacement : (n, 3) float array
            From X*(Θ) to X*(Θ + δΘ), nearest images, Å.
        energy : float
            Of the structure relaxed with Θ + δΘ.

        Raises
        ------
        NotAMinimumError, ConvergenceError
            If there is no minimum near.
        """
        start = self.positions
        with self._away(dtheta, np.zeros_like(start)):
            ftol *= self.units.force
            if self.max_force > ftol:
                self._take(self._relaxed_forces(ftol, np.inf, True, _no_progress))
            return self.engine.nearest_image(self.positions - start), self.energy

    def energy_at(self, dtheta: ArrayLike, displacement: ArrayLike) -> float:
        """U(X* + δX, Θ + δΘ), unrelaxed. With δX = jvp(δΘ) it equals the relaxed energy to third order in δΘ."""
        with self._away(dtheta, _vector(self.engine, displacement, self.positions.shape, "displacement")):
            return self.energy

    @contextmanager
    def _away(self, dtheta: ArrayLike, displacement: FloatArray) -> Iterator[None]:
        """Stand at other parameters and positions; everything known of this minimum is restored on leaving."""
        dtheta = _vector(self.engine, dtheta, (len(self.potential.theta),), "dtheta")
        known, reference = dict(self.__dict__), self.engine.reference()
        try:
            forces = self.potential.install(self.engine, dtheta)
            if displacement.any():
                self.engine.shift(displacement)
                forces = self.engine.forces()
            self._take(forces)
            yield
        finally:
            self.engine.set_reference(reference)
            self.potential.install(self.engine, np.zeros_like(dtheta))
            self.__dict__.update(known)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _take(self, forces: FloatArray) -> None:
        """Take the engine's reference, with these forces, as the minimum; forget what was known of another state."""
        self.hessian = Hessian(self.engine, forces)
        self.mixed = MixedDerivative(self.engine, self.potential, self.hessian)
        self.energy, self.max_force = self.engine.energy, self.engine.max_abs(forces)
        self._solver = self._inverse = self._gradient = None
        self._jacobians, self._hessians, self._jacobian_statistics = {}, {}, {}

    def _springs_there(self, forces: FloatArray) -> Callable[[FloatArray], FloatArray]:
        """v → K⁻¹v with springs fitted near the engine's reference, where these are the forces.

        One force evaluation, unless those fitted last still hold.
        """
        engine = self.engine
        self._solver = None
        if self._springs is None or not self._springs.hold(engine):
            around = engine.neighbourhood()
            self._fit_springs(around, Hessian(engine, forces).one_sided(random_vector(engine.ids) * engine.free))
        assert self._springs is not None
        apply = self._springs.precondition
        # What external forces hold in place is not known here, and forces have no part along motions that are free.
        project = NullSpace(engine, [] if engine.external else rigid_motions(engine)).project
        return lambda v: project(apply(project(v)))

    def _prepared(self) -> _Solver:
        """Fit the springs and find the null space, once for each reference state."""
        if self._solver is None:
            engine, hessian = self.engine, self.hessian
            if not self._free_count():
                raise LammpsImplicitError("every atom is frozen: nothing can move, and no derivative is left to take")
            known = self._springs is not None and self._springs.hold(engine)
            around = None if known else engine.neighbourhood()
            probe = random_vector(self.ids) * engine.free
            product = hessian.calibrate(probe)
            require_every_atom_held(engine, product, hessian.stiffness)
            if around is not None:
                self._fit_springs(around, product)
            assert self._springs is not None
            null_space = find_null_space(engine, hessian.one_sided, hessian.stiffness, engine.external)
            system = LinearSystem(
                engine, hessian.product, self._springs.precondition, null_space, hessian.stiffness, self.saddle
            )
            self._solver = _Solver(system, probe, product)
        return self._solver

    def _fit_springs(self, around: Neighbourhood, product: FloatArray) -> None:
        self._springs = None  # multigrid is large: the old one goes before the new one comes
        precondition = self._backend.preconditioner(self.engine, fit_springs(self.engine, around, product))
        self._springs = _FittedSprings(precondition, self.engine.positions, self.ids)

    def _solve(
        self,
        right: FloatArray,
        tol: float,
        scale: float | None = None,
        method: Callable[..., Solution] | None = None,
        probe: bool = True,
        progress: Progress = _no_progress,
    ) -> FloatArray:
        """Solve H x = b to ‖b - H x‖ ≤ tol·scale (default ‖b‖), counting into `statistics`.

        `method` takes (right, tol, scale); default the dense inverse, where known well enough, else conjugate
        gradients. `probe` looks for saddles.
        """
        solver = self._prepared()
        project = solver.system.null_space.project
        right = project(right)
        scale = self.engine.norm(right) if scale is None else scale
        if method is None and self._inverse is not None and self._inverse[1] <= tol:
            return self._inverse[0](right)
        start = np.zeros_like(right)
        if probe and not (solver.probed or self.saddle) and scale > 0:
            # Start the first solve off its answer by a random displacement whose product is known. A saddle that the
            # right-hand side is too symmetric to see is then seen: to converge, the iteration must resolve the
            # unstable mode, and meets its negative curvature on the way.
            weight = min(1.0, PROBE * tol * self._free_count() ** 0.5) * scale / self.engine.norm(solver.probe_product)
            start, right = weight * project(solver.probe), right - weight * project(solver.probe_product)
        # Directions that serve many solves are as accurate as the tightest needs, single solves by their own rule.
        share = PRODUCT_SHARE if method is None else 1.0
        if method is None:
            system = solver.system.reporting(iterations_expected(tol), progress)
            method = partial(self._backend.solve, system)
        size = self.engine.norm(right)
        self.hessian.excess = 0.0
        if size > tol * scale:
            solution = method(right, tol, scale)
        else:
            solution = Solution(np.zeros_like(right), 0, size / scale if scale > 0 else 0.0, ())
        # Only a tight solve proves that there is no unstable mode: in a loose one it may hide below the tolerance.
        solver.probed |= probe and scale > 0 and PROBE * tol * self._free_count() ** 0.5 <= 1.0
        missed = share * tol * self.hessian.excess
        self.statistics.differencing_error = max(self.statistics.differencing_error, missed)
        self.statistics.iterations += solution.iterations
        self.statistics.solves += 1
        self.statistics.residual = max(self.statistics.residual, solution.residual)
        return start + solution.x

    def _jacobian_residual(self, jacobian: Jacobian) -> float:
        """‖H J δ + C δ‖ / ‖C δ‖ for one random δ, each parameter weighted by its size: one Hessian product."""
        theta = self.potential.theta
        dtheta = np.random.default_rng(0).standard_normal(len(theta)) * np.where(theta == 0, 1.0, np.abs(theta))
        expected = self.mixed.times(dtheta)
        size = self.engine.norm(expected)
        if size == 0:
            return 0.0
        product = self.hessian.product(jacobian.dot(dtheta), self.statistics.tolerance)
        return self.engine.norm(self._prepared().system.null_space.project(product + expected)) / size

    def _second_derivative(self, jacobian: Jacobian) -> FloatArray:
        """d²E/dΘ² = GᵀJ + JᵀG + JᵀHJ with G = ∂B/∂X and HJ = -C, (P, P); it is CᵀJ where C = G."""
        n_parameters = len(self.potential.theta)
        left = jacobian.left.reshape(jacobian.rank, -1)
        gradients, mixed = (
            np.asarray(self.engine.sum(left @ array.reshape(-1, n_parameters))).T @ jacobian.right.T
            for array in (self.mixed.gradients, self.mixed.array)
        )
        hessian = gradients - 0.5 * mixed
        return hessian + hessian.T

    def _free_count(self) -> int:
        """Number of free components on all ranks."""
        return int(self.engine.sum(np.count_nonzero(self.engine.free)))

    @contextmanager
    def _measured(self, method: str, tol: float) -> Iterator[None]:
        """Count what a product costs into fresh `statistics`."""
        self.statistics = Statistics(method, tol)
        evaluations, inside, start = self.engine.evaluations.copy(), self.engine.seconds, time.perf_counter()
        yield
        self.statistics.evaluations = self.engine.evaluations.since(evaluations)
        self.statistics.seconds_in_lammps = self.engine.seconds - inside
        self.statistics.seconds = time.perf_counter() - start


def _backend(comm: Any) -> Any:
    """The solvers of one process or of many: modules with the same two functions.

    Raises
    ------
    LammpsImplicitError
        If several ranks run without petsc4py.
    """
    if comm.size == 1:
        return embedded
    from lammps_implicit.solvers import distributed

    return distributed


def _check_tolerance(tol: float) -> None:
    if not 1e-10 <= tol < 1:
        raise LammpsImplicitError(f"tolerance {tol:g} is not between 1e-10, what differences of forces allow, and 1")


def _vector(engine: Engine, values: ArrayLike, shape: tuple[int, ...], name: str) -> FloatArray:
    """Return a finite float array of the shape asked for; raise on all ranks if one was given another."""
    array = np.asarray(values, dtype=float)
    if engine.any(array.shape != shape):
        raise LammpsImplicitError(f"{name} has shape {array.shape}, expected {shape}")
    if engine.any(not np.isfinite(array).all()):
        raise LammpsImplicitError(f"{name} holds values that are not finite")
    return array
