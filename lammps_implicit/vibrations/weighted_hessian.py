"""The dynamical matrix as an operator, with the springs of the preconditioner as an approximation of its inverse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.response.linear_response import LinearResponse
from lammps_implicit.solvers.eigenproblem import EigenProblem
from lammps_implicit.solvers.nullspace import NullSpace
from lammps_implicit.solvers.springs import random_vector
from lammps_implicit.vibrations.masses import atom_masses

_ABOVE = 4.0
"""Eigenvalue of what is projected out, in units of the spread: above all others, or at least far from the softest."""

_SEEDS = 10_007
"""Number of different random vectors."""


class MassWeightedHessian:
    """D = M⁻¹ᐟ² H M⁻¹ᐟ² on distributed (n, 3) arrays, outside rigid motions and held components, with D⁻¹ of springs.

    Of components that move as one the mass is their mean: M commutes with `Evaluator.constrain` then.

    Attributes
    ----------
    null_space : NullSpace
        Mass-weighted rigid motions, and held components.
    spread : float
        Root mean square of the eigenvalues of D, estimated with a random vector.
    """

    def __init__(self, response: LinearResponse) -> None:
        engine = self.engine = response.engine
        known = response.prepared()
        self._system, self._hessian = known.system, response.hessian
        masses = engine.constrain(np.repeat(atom_masses(engine)[:, None], 3, axis=1))
        self._roots = np.sqrt(np.where(masses > 0, masses, 1.0))
        self.null_space = NullSpace(engine, [self._roots * v for v in known.system.null_space.vectors])
        size = engine.norm(self._roots * known.probe)
        self.spread = engine.norm(known.probe_product / self._roots) / size if size > 0 else 0.0

    def product(self, v: FloatArray, accuracy: float = 0.0) -> FloatArray:
        """D v, (n, 3), for v outside rigid motions, to a relative accuracy; zero for the best."""
        v = self.null_space.project(v)
        return self.null_space.project(self._hessian.product(v / self._roots, accuracy) / self._roots)

    def preconditioned(self, r: FloatArray) -> FloatArray:
        """M¹ᐟ² K⁻¹ M¹ᐟ² r, (n, 3)."""
        r = self.null_space.project(r)
        return self.null_space.project(self._roots * self._system.preconditioned(self._roots * r))

    def start(self, count: int, first: int = 0) -> list[FloatArray]:
        """Soft random vectors, numbered from `first` on, that are the same on any number of ranks."""
        numbers = [number % _SEEDS for number in range(first, first + count)]
        return [self.preconditioned(self.spread * random_vector(self.engine.ids, 1 + seed)) for seed in numbers]

    def problem(self, accuracy: float, known: Sequence[FloatArray] = ()) -> EigenProblem:
        """Problem of the softest modes: what is projected out has an eigenvalue above them.

        Parameters
        ----------
        accuracy : float
            Relative error of products.
        known : sequence of (n, 3) float arrays, optional
            Modes that are projected out too.
        """
        above = _ABOVE * self.spread
        project = NullSpace(self.engine, [*self.null_space.vectors, *known]).project

        def product(v: FloatArray) -> FloatArray:
            inside = project(v)
            return project(self.product(inside, accuracy)) + above * (v - inside)

        def precondition(r: FloatArray) -> FloatArray:
            inside = project(r)
            return project(self.preconditioned(inside)) + (r - inside) / above

        return EigenProblem(self.engine, product, precondition)
