"""How a reference state answers to first order: solves with its Hessian, for one right-hand side or all parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import CellFreedom
from lammps_implicit.cell.system import CellSystem
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.operators.hessian import hessian_of
from lammps_implicit.potentials.interface import Potential
from lammps_implicit.progress import Progress, in_two_parts, no_progress
from lammps_implicit.response.jacobian import Jacobian, singular_directions, solve_directions
from lammps_implicit.response.statistics import Statistics
from lammps_implicit.solvers.conjugate_directions import ConjugateDirections
from lammps_implicit.solvers.dense import dense_inverse
from lammps_implicit.solvers.interface import (
    PRODUCT_SHARE,
    LinearSystem,
    Solution,
    iterations_expected,
    require_every_atom_held,
)
from lammps_implicit.solvers.nullspace import NullSpace, find_null_space, rigid_motions
from lammps_implicit.solvers.preconditioner import Preconditioner
from lammps_implicit.solvers.springs import random_vector

PROBE = 100.0
"""Size, relative to the tolerance, of what the probe for saddles puts into the residual along a typical mode."""


JACOBIAN_MARGIN = 0.1
"""Residuals of a Jacobian's solves relative to its tolerance."""


NO_COUPLING = 1e-6
"""Forces under strain, relative to the typical stiffness times 1 Å, that are noise: atoms at centres of symmetry."""


RECYCLING_MEMORY = 512 * 2**20
"""Bytes spent on the search directions that the solves of a Jacobian share."""


@dataclass
class _Solver:
    """What solves share at one reference state: the system, and a vector with known product."""

    system: LinearSystem
    probe: FloatArray
    probe_product: FloatArray
    probed: bool = False


class LinearResponse:
    """Hessian H and mixed derivative C at the engine's reference, and solves with H.

    Parameters
    ----------
    engine : Evaluator
    potential : Potential
    forces : (n, 3) float array
        At the reference.
    preconditioner : Preconditioner
        Springs fitted near are used again.
    saddle : bool
        Whether the reference may be a stationary point that is not a minimum.
    statistics : Statistics
        Solves count into it.
    """

    def __init__(
        self,
        engine: Evaluator,
        potential: Potential,
        forces: FloatArray,
        preconditioner: Preconditioner,
        saddle: bool,
        statistics: Statistics,
    ) -> None:
        self.engine = engine
        self.potential = potential
        self.hessian = hessian_of(engine, forces)
        self.mixed = potential.mixed_derivative(engine, self.hessian)
        self.preconditioner = preconditioner
        self.saddle = saddle
        self.statistics = statistics
        self._solver: _Solver | None = None
        self._inverse: tuple[Callable[[FloatArray], FloatArray], float] | None = None  # H⁻¹ and its accuracy

    def prepared(self) -> _Solver:
        """Fit the springs and find the null space, once for each reference state."""
        if self._solver is None:
            engine, hessian = self.engine, self.hessian
            if not self.free_count:
                raise LammpsImplicitError("every atom is frozen: nothing can move, and no derivative is left to take")
            rigid = NullSpace(engine, [] if engine.external else rigid_motions(engine))
            if len(rigid.vectors) == self.free_count:  # one atom a cell: nothing can move but all together
                still = np.zeros_like(self.engine.positions)
                self._solver = _Solver(LinearSystem(engine, hessian.product, np.copy, rigid, 1.0), still, still)
                return self._solver
            around = None if self.preconditioner.holds else engine.neighbourhood()
            probe = random_vector(self.engine.ids) * engine.free
            product = hessian.calibrate(probe)
            require_every_atom_held(engine, product, hessian.stiffness)
            if around is not None:
                self.preconditioner.fit(around, product)
            apply = self.preconditioner.apply
            null_space = find_null_space(engine, hessian.one_sided, hessian.stiffness, engine.external)
            system = LinearSystem(engine, hessian.product, apply, null_space, hessian.stiffness, self.saddle)
            self._solver = _Solver(system, probe, product)
        return self._solver

    def solve(
        self,
        right: FloatArray,
        tol: float,
        scale: float | None = None,
        method: Callable[..., Solution] | None = None,
        probe: bool = True,
        progress: Progress = no_progress,
    ) -> FloatArray:
        """Solve H x = b to ‖b - H x‖ ≤ tol·scale (default ‖b‖), counting into `statistics`.

        `method` takes (right, tol, scale); default the dense inverse, where known well enough, else conjugate
        gradients. `probe` looks for saddles.
        """
        solver = self.prepared()
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
            weight = min(1.0, PROBE * tol * self.free_count**0.5) * scale / self.engine.norm(solver.probe_product)
            start, right = weight * project(solver.probe), right - weight * project(solver.probe_product)
        # Directions that serve many solves are as accurate as the tightest needs, single solves by their own rule.
        share = PRODUCT_SHARE if method is None else 1.0
        if method is None:
            system = solver.system.reporting(iterations_expected(tol), progress)
            method = partial(self.preconditioner.solvers.solve, system)
        size = self.engine.norm(right)
        self.hessian.excess = 0.0
        if size > tol * scale:
            solution = method(right, tol, scale)
        else:
            solution = Solution(np.zeros_like(right), 0, size / scale if scale > 0 else 0.0, ())
        # Only a tight solve proves that there is no unstable mode: in a loose one it may hide below the tolerance.
        solver.probed |= probe and scale > 0 and PROBE * tol * self.free_count**0.5 <= 1.0
        missed = share * tol * self.hessian.excess
        self.statistics.differencing_error = max(self.statistics.differencing_error, missed)
        self.statistics.iterations += solution.iterations
        self.statistics.solves += 1
        self.statistics.residual = max(self.statistics.residual, solution.residual)
        return start + solution.x

    def jacobian(self, tol: float, method: str, progress: Progress) -> Jacobian:
        """dX*/dΘ in the cell as it is."""
        # Residuals are held below the tolerance by a margin, so that soft modes too stay within it.
        inner = JACOBIAN_MARGIN * tol
        sweeping, progress = in_two_parts(progress)
        self.mixed.prepare(sweeping)
        mixed = self.mixed.to_array()
        # On one rank, so that all solve for the same directions to the last digit.
        gram = self.mixed.gram()
        directions = self.engine.on_root(lambda: singular_directions(gram, inner))
        expected = directions.iterations_expected(inner)
        if method == "auto":
            dense_pays = self.free_count < expected and self.engine.comm.size == 1
            method = "dense" if dense_pays else "iterative"
        if method == "dense" and self.engine.comm.size > 1:
            raise LammpsImplicitError(
                "the dense method runs on one rank: use method 'iterative', or start without mpirun"
            )
        self.statistics.method = method
        solver = self.prepared()
        if method == "dense":
            inverse = dense_inverse(solver.system, inner, progress)
            self._inverse = inverse, inner
            jacobian = solve_directions(directions, mixed, lambda right, *_: inverse(right), inner)
        elif self.saddle:
            jacobian = solve_directions(directions, mixed, partial(self.solve, progress=progress), inner)
        else:
            room = RECYCLING_MEMORY // max(16 * self.engine.positions.size, 1)
            system = solver.system.reporting(expected, progress)
            krylov = ConjugateDirections(system, capacity=min(room, int(4 * expected) + 50))
            solve = partial(self.solve, method=krylov.solve)
            jacobian = solve_directions(directions, mixed, solve, inner)
        self.statistics.residual = self._jacobian_residual(jacobian)
        return jacobian

    def cell_system(self, freedom: CellFreedom, tol: float, follow: bool = True) -> CellSystem:
        """Measure the derivatives under strain at the reference, and let positions follow each strain if asked to."""
        coupling = self.mixed.coupling(freedom)
        relaxed = np.zeros_like(coupling.forces)
        noise = NO_COUPLING * self.prepared().system.stiffness * self.free_count**0.5
        for index in range(relaxed.shape[2]):
            if follow and self.engine.norm(coupling.forces[:, :, index]) > noise:
                relaxed[:, :, index] = self.solve(coupling.forces[:, :, index], tol)
        patterns, mixed = np.moveaxis(relaxed, 2, 0), self.mixed
        effective = coupling.mixed - np.stack([mixed.transposed_times(pattern) for pattern in patterns])
        energetic = effective
        if mixed.odd.size:
            energetic = coupling.energetic - np.stack([mixed.gradients_transposed_times(z) for z in patterns])
        return CellSystem(self.engine, coupling, relaxed, effective, energetic, follow)

    def second_derivative(self, jacobian: Jacobian) -> FloatArray:
        """d²E/dΘ² = GᵀJ + JᵀG + JᵀHJ with G = ∂B/∂X and HJ = -C, (P, P); it is CᵀJ where C = G."""
        n_parameters = len(self.potential.theta)
        left = jacobian.left.reshape(jacobian.rank, self.engine.positions.size)
        gradients, mixed = (
            np.asarray(self.engine.sum(left @ array.reshape(self.engine.positions.size, n_parameters))).T
            @ jacobian.right.T
            for array in (self.mixed.gradients_array(), self.mixed.to_array())
        )
        hessian = gradients - 0.5 * mixed
        return hessian + hessian.T

    def _jacobian_residual(self, jacobian: Jacobian) -> float:
        """‖H J δ + C δ‖ / ‖C δ‖ for one random δ, each parameter weighted by its size: one Hessian product."""
        theta = self.potential.theta
        dtheta = np.random.default_rng(0).standard_normal(len(theta)) * np.where(theta == 0, 1.0, np.abs(theta))
        expected = self.mixed.times(dtheta)
        size = self.engine.norm(expected)
        if size == 0:
            return 0.0
        product = self.hessian.product(jacobian.dot(dtheta), self.statistics.tolerance)
        return self.engine.norm(self.prepared().system.null_space.project(product + expected)) / size

    @property
    def free_count(self) -> int:
        """Number of free components on all ranks."""
        return int(self.engine.sum(np.count_nonzero(self.engine.free)))
