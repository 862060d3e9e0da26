"""Linear response of one reference state: Hessian and mixed derivative, solves with them, and all results, kept."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from lammps_implicit.arrays import FloatArray, read_only
from lammps_implicit.cell.freedom import StrainFreedom, require_tiltable
from lammps_implicit.cell.system import AT_TARGET, CellSystem
from lammps_implicit.errors import NotAMinimumError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.operators.coupling import FINITE_STRAIN, STRAIN_STEPS, finite_disagreement
from lammps_implicit.operators.hessian import hessian_of
from lammps_implicit.potentials.interface import Potential
from lammps_implicit.progress import Progress, in_two_parts, no_progress
from lammps_implicit.response.accuracy import Missed, corrected
from lammps_implicit.response.cubic import ThirdDerivative
from lammps_implicit.response.jacobian import Jacobian, Patterns, singular_directions, solve_directions
from lammps_implicit.response.prepared import Prepared, prepare, random_change
from lammps_implicit.response.statistics import GOOD, Meter, caution
from lammps_implicit.response.tolerances import (
    FINITE_DIFFERENCE,
    JACOBIAN_MARGIN,
    NO_COUPLING,
    PROBE,
    RECYCLING_MEMORY,
    STRAIN_TOLERANCE,
)
from lammps_implicit.solvers.backend import Backend
from lammps_implicit.solvers.conjugate_directions import ConjugateDirections
from lammps_implicit.solvers.dense import Dense
from lammps_implicit.solvers.interface import PRODUCT_SHARE, LinearSolver, Solution, Status, iterations_expected
from lammps_implicit.solvers.preconditioner import Preconditioner
from lammps_implicit.units import Units

METHODS = ("auto", "iterative", "dense")
"""Methods for a Jacobian: see `StationaryPoint.jacobian`."""

_TURNED_DENSE = "the residual falls so slowly (after {} iterations) that the whole Hessian is evaluated: {} products"

T = TypeVar("T")

_states = itertools.count()


class LinearResponse:
    """Hessian H and mixed derivative C at the engine's reference, solves with them, and all results, kept.

    A new object is made at each reference, so that no result of another can be left over.

    Parameters
    ----------
    engine : Evaluator
        At the reference, which it has just evaluated.
    potential : Potential
    forces : (n, 3) float array
        Forces at the reference, eV/Å.
    preconditioner : Preconditioner
        Its springs are used again if they were fitted nearby.
    backend : Backend
        Provides the solvers.
    saddle : bool
        Whether the reference may be a stationary point that is not a minimum.
    units : Units
        For messages.
    meter : Meter
        Counts the solves.

    Attributes
    ----------
    energy : float
        eV in ``units metal``.
    pressure : (3, 3) float array
        Pressure tensor, energy per volume.
    max_force : float
        Largest force component on a free degree of freedom.
    state : int
        Identifying number of this reference.
    solver : LinearSolver
        For single right-hand sides.
    third : ThirdDerivative or None
        Third derivatives measured here, along the directions of an ensemble.
    kept : dict
        What others found out about this reference, under keys of their own.
    """

    def __init__(
        self,
        engine: Evaluator,
        potential: Potential,
        forces: FloatArray,
        preconditioner: Preconditioner,
        backend: Backend,
        saddle: bool,
        units: Units,
        meter: Meter,
    ) -> None:
        self.engine = engine
        self.potential = potential
        self.energy, self.pressure = engine.energy, read_only(engine.pressure)
        self.max_force = engine.max_abs(forces)
        self.state = next(_states)
        self.hessian = hessian_of(engine, forces)
        self.mixed = potential.mixed_derivative(engine, self.hessian)
        self.preconditioner = preconditioner
        self.saddle = saddle
        self.solver = backend.at_saddle() if saddle else backend.at_minimum()
        self.third: ThirdDerivative | None = None
        self.kept: dict[Any, Any] = {}
        self._backend = backend
        self._units = units
        self._meter = meter
        self._prepared: Prepared | None = None
        self._dense: Dense | None = None
        self._gradient: FloatArray | None = None
        self._jacobians: dict[bytes, Jacobian] = {}
        self._cells: dict[bytes, tuple[CellSystem, float]] = {}

    def prepared(self) -> Prepared:
        """Fit the springs and find the null space, once: three force evaluations, one if earlier springs hold."""
        if self._prepared is None:
            self._prepared = prepare(self.engine, self.hessian, self.preconditioner, self.saddle)
        return self._prepared

    def forget_springs(self) -> None:
        """Forget the springs, which may have been fitted elsewhere: the next solve fits them here."""
        self.preconditioner.fitted, self._prepared = None, None

    def _prepare(
        self, solver: LinearSolver, expected: float = 0.0, progress: Progress = no_progress, may_be_dense: bool = True
    ) -> None:
        """Prepare a solver for the system as it is now known."""

        def work() -> None:
            system = self.prepared().system.reporting(expected, progress)
            solver.prepare(system if may_be_dense else replace(system, direct=np.inf))

        self._unless_unheld(work, work)

    def _prepare_dense(self, accuracy: float, progress: Progress) -> Dense:
        """Evaluate H whole; it serves later solves too."""
        solver = Dense(accuracy, progress)
        self._prepare(solver)
        self._dense = solver
        return solver

    def _unless_unheld(self, work: Callable[[], T], again: Callable[[], T]) -> T:
        """Do some work; where negative curvature is that of fragments that nothing holds, go on without their motions.

        Raises
        ------
        NotAMinimumError
            If the work does, and there are no such motions that are not known yet.
        """
        try:
            return work()
        except NotAMinimumError:
            if not self.prepared().release_unheld(self.engine, self.hessian):
                raise
            return again()

    def solve(
        self,
        right: FloatArray,
        tol: float,
        scale: float | None = None,
        solver: LinearSolver | None = None,
        probe: bool = True,
        progress: Progress = no_progress,
        may_be_dense: bool = True,
    ) -> FloatArray:
        """Solve H x = b to ‖b - H x‖ ≤ tol·scale; the meter counts it.

        Parameters
        ----------
        right : (n, 3) float array
            b, eV/Å.
        tol : float
            Tolerance relative to `scale`.
        scale : float, optional
            Default: ‖b‖.
        solver : LinearSolver, optional
            One prepared for many right-hand sides. Default: the dense inverse if it is known and accurate enough, else
            the attribute `solver`.
        probe : bool
            Whether to look for unstable modes to which b, by symmetry, may be orthogonal.
        progress : callable
            Callback called with (iterations done, iterations expected).
        may_be_dense : bool
            Whether H may be evaluated whole if iterations make no progress, on one process and in a small cell.

        Returns
        -------
        (n, 3) float array
            x, Å.

        Raises
        ------
        NotAMinimumError
            If H has negative curvature and the reference should be a minimum.
        ConvergenceError
            If the tolerance is not reached.
        """
        known = self.prepared()
        project = known.system.null_space.project
        right = project(right)
        scale = self.engine.norm(right) if scale is None else scale
        if self._dense is not None and self._dense.accuracy <= tol and (solver is None or may_be_dense):
            solver = self._dense
        probe = probe and not isinstance(solver, Dense)  # which sees negative eigenvalues itself
        start = np.zeros_like(right)
        resists = self.engine.norm(known.probe_product)  # nothing does in a cell of one atom
        if probe and not (known.probed or self.saddle) and scale > 0 and resists > 0:
            # Start the first solve away from its solution by a random displacement whose Hessian product is known. This
            # reveals saddle points whose unstable mode is orthogonal to b by symmetry: the iteration must resolve it.
            weight = min(1.0, PROBE * tol * self.engine.n_free**0.5) * scale / resists
            start, right = weight * project(known.probe), right - weight * project(known.probe_product)
        if solver is None:
            solver = self.solver
            self._prepare(solver, iterations_expected(tol), progress, may_be_dense)
        size = self.engine.norm(right)
        self.hessian.excess = 0.0
        if size > tol * scale:
            iterative = solver

            def without_unheld() -> Solution:
                self._prepare(iterative, may_be_dense=may_be_dense)
                return iterative.solve(known.system.null_space.project(right), tol, scale)

            solution = self._unless_unheld(lambda: iterative.solve(right, tol, scale), without_unheld)
            if solution.status is Status.SLOW and may_be_dense and np.isfinite(known.system.direct):
                if self.engine.comm.rank == 0:
                    warnings.warn(_TURNED_DENSE.format(solution.iterations, self.engine.n_free), stacklevel=2)
                solver = self._prepare_dense(tol, progress)
                solution = solver.solve(known.system.null_space.project(right), tol, scale)
            solution.require_converged(tol)
        else:
            solution = Solution(np.zeros_like(right), Status.CONVERGED, 0, size / scale if scale > 0 else 0.0)
        # Only a tight solve proves that no mode is unstable: in a loose one it may stay below the tolerance.
        known.probed |= probe and scale > 0 and PROBE * tol * self.engine.n_free**0.5 <= 1.0
        # Search directions shared by many solves are as accurate as the tightest of them needs; single solves have
        # their own rule.
        share = 1.0 if isinstance(solver, ConjugateDirections) else PRODUCT_SHARE
        missed = share * tol * self.hessian.excess
        counting = self._meter.counting
        if counting.method != "relaxation":
            counting.method = solver.name
        counting.differencing_error = max(counting.differencing_error, missed)
        counting.iterations += solution.iterations
        counting.solves += 1
        counting.residual = max(counting.residual, solution.residual)
        return known.system.null_space.project(start + solution.x)  # start may have motions found free since

    def checked_solve(self, right: FloatArray, tol: float, progress: Progress = no_progress) -> FloatArray:
        """`solve`, then check the solution with another difference step; the meter takes in what was found.

        Costs two force evaluations more. If the check contradicts the solution, steps are measured and the rest is
        solved for, once; an error that a small residual leaves is corrected: see `accuracy`.
        """
        largest = self.engine.max_abs(right)
        if largest > 0 and not 1e-100 < largest < 1e100:  # squares would not be numbers
            return largest * self.checked_solve(right / largest, tol, progress)
        x = self.solve(right, tol, progress=progress)
        size = self.engine.norm(self.prepared().system.null_space.project(right))
        if size == 0:
            return x
        rest = self._rest(x, right)
        if self.engine.norm(rest) > GOOD * tol * size:
            self.hessian.measure(self.prepared().probe)
            better = x + self.solve(rest, tol, size, probe=False)
            smaller = self._rest(better, right)
            if self.engine.norm(smaller) < self.engine.norm(rest):
                x, rest = better, smaller
        judge, rest_of = partial(self.prepared().missed, right=right), partial(self._rest, right=right)
        x, missed = corrected(x, rest, judge, rest_of, partial(self.solve, probe=False), tol)
        self._meter.counting.checked(missed.told(tol), tol, "the linear solve is")
        return self.prepared().system.null_space.project(x)  # a correction may have found more motions to be free

    def _rest(self, x: FloatArray, right: FloatArray) -> FloatArray:
        """b - H x, (n, 3), with a difference step other than that of the solve."""
        return self.prepared().system.null_space.project(right - self.hessian.second(x))

    def checked_transposed_times(self, vector: FloatArray, tol: float) -> FloatArray:
        """Cᵀ v, (P,), for v of shape (n, 3); if it is a difference along v, ⟨Cᵀv, δ⟩ = ⟨v, Cδ⟩ is checked.

        The check costs two force evaluations.
        """
        product = self.mixed.transposed_times(vector)
        if self.mixed.differenced:
            dtheta = random_change(self.potential.theta)
            size = float(np.linalg.norm(product * dtheta))
            missed = abs(product @ dtheta - self.engine.dot(vector, self.mixed.times(dtheta)))
            if size > 0:
                self._meter.counting.checked(float(missed) / size, max(tol, STRAIN_TOLERANCE), "products with Cᵀ are")
        return product

    def energy_gradient(self) -> FloatArray:
        """∂U/∂Θ, (P,), eV per unit of Θ; kept."""
        if self._gradient is None:
            self._gradient = read_only(self.mixed.energy_gradient())
        return self._gradient

    def jacobian(
        self, tol: float, freedom: StrainFreedom, method: str = "auto", progress: Progress = no_progress
    ) -> Jacobian:
        """dX*/dΘ; kept, and returned again for the same strains and the same or a looser tolerance.

        Parameters
        ----------
        tol : float
            Relative tolerance of each column.
        freedom : StrainFreedom
        method : {"auto", "iterative", "dense"}
            See `StationaryPoint.jacobian`.
        progress : callable
            Callback called with (Hessian products done, products expected).

        Returns
        -------
        Jacobian
        """
        known = self._jacobians.get(freedom.key)
        if known is not None and known.tol <= tol and method in ("auto", known.statistics.method):
            return known
        with self._meter.measured("iterative", tol):
            if freedom.fixed:
                found = self._fixed_jacobian(tol, freedom, method, progress)
            else:
                found = self._coupled_jacobian(tol, freedom, method, progress)
        if known is None or found.tol <= known.tol:  # a tighter one serves more
            self._jacobians[freedom.key] = found
        return found

    def _fixed_jacobian(self, tol: float, freedom: StrainFreedom, method: str, progress: Progress) -> Jacobian:
        """dX*/dΘ at fixed cell."""
        inner = JACOBIAN_MARGIN * tol
        sweeping, progress = in_two_parts(progress)
        self.mixed.prepare(sweeping)
        gradient = self.energy_gradient()  # cheapest while the engine is at the reference
        mixed = self.mixed.to_array()
        # On one rank, so that all use the same directions to the last digit.
        gram = self.mixed.gram()
        directions = self.engine.on_root(lambda: singular_directions(gram, inner))
        expected = directions.iterations_expected(inner)
        asked = method
        if method == "auto":
            method = "dense" if self.engine.n_free < expected and self.engine.comm.size == 1 else "iterative"
        solver: LinearSolver
        if method == "dense":
            solver = self._prepare_dense(inner, progress)
        elif self.saddle:
            solver = self.solver
            self._prepare(solver, expected, progress)
        else:
            room = RECYCLING_MEMORY // max(16 * self.engine.positions.size, 1)
            solver = self._backend.for_many(min(room, int(4 * expected) + 50))
            self._prepare(solver, expected, progress, asked != "iterative")
        solve = partial(self.solve, solver=solver, may_be_dense=asked != "iterative")
        patterns = solve_directions(directions, mixed, solve, self.prepared, inner)
        missed = self._jacobian_missed(patterns)
        if missed.told(tol) > GOOD * tol:  # once more, with steps that are measured, or to a smaller residual
            if missed.residual > GOOD * tol:
                self.hessian.measure(self.prepared().probe)
            inner *= missed.factor(tol)
            directions = self.engine.on_root(lambda: singular_directions(gram, inner))
            if self._dense is None or missed.residual > GOOD * tol:
                self._prepare(solver, expected, progress, asked != "iterative")
            solve = partial(solve, solver=self._dense or solver)
            new = solve_directions(directions, mixed, solve, self.prepared, inner)
            second = self._jacobian_missed(new)
            if second.told(tol) < missed.told(tol):
                patterns, missed = new, second
        statistics = self._meter.counting
        statistics.method = method if self._dense is None else "dense"
        statistics.residual = missed.residual
        statistics.checked(missed.told(tol), tol, "the Jacobian is")
        left, right, hessian = map(read_only, (patterns.left, patterns.right, self._second_derivative(patterns)))
        return Jacobian(left, right, tol, freedom, statistics, gradient, hessian)

    def _coupled_jacobian(self, tol: float, freedom: StrainFreedom, method: str, progress: Progress) -> Jacobian:
        """Jacobian of positions and cell together, from the one at fixed cell."""
        fixed = self.jacobian(tol, freedom.without_strains, method, progress)
        assert fixed.relaxation_hessian is not None
        system = self.held_cell_system(freedom, JACOBIAN_MARGIN * tol)
        statistics = self._meter.counting
        statistics.method, statistics.residual = fixed.statistics.method, fixed.statistics.residual
        return Jacobian(
            read_only(np.concatenate([fixed.left, system.patterns()])),
            read_only(np.hstack([fixed.right, system.strain_jacobian])),
            tol,
            freedom,
            statistics,
            fixed.energy_gradient,
            read_only(fixed.relaxation_hessian + system.enthalpy_hessian) if freedom.hydrostatic else None,
            system.strain_jacobian,
            None if self.engine.follows_atoms else read_only(system.volume_gradient),
        )

    def cell_system(
        self, freedom: StrainFreedom, tol: float, follow: bool = True, steps: Sequence[float] = STRAIN_STEPS
    ) -> CellSystem:
        """Measure strain derivatives at the reference and solve for the response of positions to each strain.

        Parameters
        ----------
        freedom : StrainFreedom
        tol : float
            Relative residual of the solves.
        follow : bool
            Whether positions respond to strain beyond the homogeneous deformation; if not, nothing is solved.
        steps : sequence of float
            Steps of strain, see `measure_coupling`; with a single one solves are not checked either.
        """
        coupling, checked = self.mixed.coupling(freedom, steps), len(steps) > 1
        solve = self.checked_solve if checked else self.solve
        relaxed = np.zeros_like(coupling.forces)
        noise = NO_COUPLING * self.prepared().system.stiffness * self.engine.n_free**0.5
        for index in range(relaxed.shape[2]):
            if follow and self.engine.norm(coupling.forces[:, :, index]) > noise:
                relaxed[:, :, index] = solve(coupling.forces[:, :, index], tol)
        patterns, mixed = np.moveaxis(relaxed, 2, 0), self.mixed
        if checked:
            self._meter.counting.checked(coupling.error, max(tol, STRAIN_TOLERANCE), "strain derivatives are")
        effective = coupling.mixed - np.stack([mixed.transposed_times(pattern) for pattern in patterns])
        energetic = effective
        if mixed.odd.size:
            energetic = coupling.energetic - np.stack([mixed.gradients_transposed_times(z) for z in patterns])
        return CellSystem(self.engine, coupling, relaxed, effective, energetic, follow)

    def held_cell_system(self, freedom: StrainFreedom, tol: float) -> CellSystem:
        """`cell_system` of a cell that is relaxed to its target pressure; kept.

        Raises
        ------
        NotAMinimumError
            If the cell is not relaxed to the pressure, or not at a minimum of the enthalpy.
        """
        known = self._cells.get(freedom.key)
        if known is not None and known[1] <= tol:
            self._meter.counting.caution = known[0].caution
            return known[0]
        require_tiltable(self.engine, freedom)
        system = self.cell_system(freedom, tol)
        missing = float(np.abs(system.step(system.coupling.residual)).max())
        if missing > AT_TARGET:
            units = self._units
            along = np.array(self.engine.strainable)
            held, now = (
                np.diag(tensor)[along].mean() * units.pressure_factor for tensor in (freedom.target, self.pressure)
            )
            raise NotAMinimumError(
                f"the cell is not relaxed: its pressure is {now:.6g} {units.pressure} where {held:.6g} is requested, "
                f"and it would strain by {missing:.1e}; relax it first with relax(cell='{freedom.label}', "
                "pressure=...), or give the pressure that it is at"
            )
        system.require_minimum()
        self._meter.counting.require_accurate()
        system.caution = self._meter.counting.caution = self._caution(system)
        self._cells[freedom.key] = system, tol
        return system

    def _caution(self, system: CellSystem) -> str:
        """What a finite strain sees, where it differs from the derivatives at the reference: three evaluations.

        The strain is along the response to a random change of the parameters.
        """
        amounts = random_change(self.potential.theta) @ system.strain_jacobian
        differs = finite_disagreement(self.engine, system.coupling, amounts)
        here = "derivatives are those at this very structure"
        return caution(here, f"strains of {FINITE_STRAIN:g}", differs) if differs > FINITE_DIFFERENCE else ""

    def _second_derivative(self, patterns: Patterns) -> FloatArray:
        """GᵀJ + JᵀG + JᵀHJ with G = ∂B/∂X and HJ = -C, (P, P), for J = dX*/dΘ; it equals CᵀJ where C = G."""
        size, n_parameters = self.engine.positions.size, len(self.potential.theta)
        left = patterns.left.reshape(patterns.rank, size)
        gradients, mixed = (
            np.asarray(self.engine.sum(left @ array.reshape(size, n_parameters))).T @ patterns.right.T
            for array in (self.mixed.gradients_array(), self.mixed.to_array())
        )
        hessian = gradients - 0.5 * mixed
        return hessian + hessian.T

    def _jacobian_missed(self, patterns: Patterns) -> Missed:
        """What J δ misses for a random δ, each parameter weighted by its size, with another difference step.

        Two force evaluations, none if the change causes no forces.
        """
        dtheta = random_change(self.potential.theta)
        expected, moved = self.mixed.times(dtheta), patterns.dot(dtheta)
        size = self.engine.norm(expected)
        return self.prepared().missed(moved, self._rest(moved, -expected), expected) if size > 0 else Missed(0.0, 0.0)
