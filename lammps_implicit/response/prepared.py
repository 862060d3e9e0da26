"""What the solves at one reference share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.operators.interface import Hessian
from lammps_implicit.response.accuracy import Missed
from lammps_implicit.response.fragments import FLAT, can_turn, unheld_motions
from lammps_implicit.solvers.clusters import Clusters, widening_clusters
from lammps_implicit.solvers.interface import LinearSystem, every_atom_is_held
from lammps_implicit.solvers.nullspace import STIFF, NullSpace, find_null_space, rigid_motions, unresisted
from lammps_implicit.solvers.preconditioner import Preconditioner
from lammps_implicit.solvers.springs import random_vector

DENSE_LIMIT = 2_000
"""Free degrees of freedom up to which H is evaluated whole where iterations would take more products. Chosen: slow
solves that are left alone take as many."""


@dataclass
class Prepared:
    """What all solves at one reference state share.

    Attributes
    ----------
    system : LinearSystem
    probe, probe_product : (n, 3) float arrays
        A random displacement w, Å, and H w.
    probed : bool
        Whether a solve has shown that no mode is unstable.
    """

    system: LinearSystem
    probe: FloatArray
    probe_product: FloatArray
    probed: bool = False
    _scale: float = 0.0

    def release_unheld(self, engine: Evaluator, hessian: Hessian, clusters: Clusters | None = None) -> bool:
        """Whether there are motions of clusters of atoms that nothing holds; they are added to the null space.

        Parameters
        ----------
        engine : Evaluator
        hessian : Hessian
        clusters : Clusters, optional
            Those that may be free. Default: such as are found within any distance, and hardly anything may hold them.
        """
        known = self.system.null_space
        if clusters is None:
            widening, flat = list(widening_clusters(engine, engine.neighbourhood())), STIFF
        else:
            widening, flat = [clusters], FLAT
        null_space = NullSpace(engine, known.vectors + unheld_motions(engine, hessian, known, widening, flat))
        self.system = replace(self.system, null_space=null_space)
        return len(null_space.vectors) > len(known.vectors)

    def missed(self, x: FloatArray, rest: FloatArray, right: FloatArray) -> Missed:
        """What a solution x with the residual r of a right-hand side b misses; (n, 3) arrays.

        The error of x is estimated as ‖K⁻¹r‖/‖x‖, with K scaled so that it is right for a random displacement, or for x
        itself if it is softer: ‖K⁻¹b‖ = ‖x‖. Springs resist no rigid motion, which external forces may: it is left out.
        """
        engine = self.system.engine
        known = self.system.null_space
        project = (NullSpace(engine, known.vectors + rigid_motions(engine)) if engine.external else known).project
        if not self._scale:
            soft = engine.norm(self.system.preconditioned(project(self.probe_product)))
            self._scale = engine.norm(project(self.probe)) / soft if soft > 0 else 1.0
        moved, size = engine.norm(x), engine.norm(known.project(right))
        if size == 0:  # nothing but rigid motions was asked for
            return Missed(0.0, 0.0)
        moves = engine.norm(self.system.preconditioned(project(right)))
        softer = max(self._scale / moved, 1 / moves) if moved > 0 and moves > 0 else 0.0
        return Missed(engine.norm(rest) / size, softer * engine.norm(self.system.preconditioned(project(rest))))


def random_change(theta: FloatArray) -> FloatArray:
    """A random δΘ, (P,), in which each parameter is weighted by its size."""
    return np.random.default_rng(0).standard_normal(len(theta)) * np.where(theta == 0, 1.0, np.abs(theta))


def prepare(engine: Evaluator, hessian: Hessian, preconditioner: Preconditioner, saddle: bool) -> Prepared:
    """Fit the springs and find the null space: three force evaluations, one if earlier springs hold.

    A cluster of atoms that its images do not hold takes two or four more.

    Parameters
    ----------
    engine : Evaluator
        At its reference.
    hessian : Hessian
    preconditioner : Preconditioner
        Its springs are used again if they were fitted nearby.
    saddle : bool
        Whether the reference may be a stationary point that is not a minimum.

    Raises
    ------
    LammpsImplicitError
        If every atom is frozen.
    """
    free_count = engine.n_free
    if not free_count:
        raise LammpsImplicitError("every atom is frozen: nothing can move, and no derivative is left to take")
    rigid = unresisted(engine)
    if len(rigid.vectors) == free_count:  # one atom per cell: nothing can move but all atoms together
        still = np.zeros_like(engine.positions)
        return Prepared(LinearSystem(engine, hessian.product, np.copy, rigid, 1.0), still, still)
    around = None if preconditioner.serves(saddle) else engine.neighbourhood()
    probe = random_vector(engine.ids) * engine.alone
    product = hessian.calibrate(probe)
    if around is not None:
        preconditioner.fit(around, product, hessian.one_sided, saddle)
    null_space = find_null_space(engine, hessian.one_sided, hessian.stiffness, engine.external)
    system = LinearSystem(
        engine,
        hessian.product,
        preconditioner.apply,
        null_space,
        hessian.stiffness,
        saddle,
        hessian.measure,
        free_count if engine.comm.size == 1 and free_count <= DENSE_LIMIT else np.inf,
    )
    prepared = Prepared(system, probe, product)
    clusters = preconditioner.clusters
    if not every_atom_is_held(engine, product, hessian.stiffness):
        prepared.release_unheld(engine, hessian)
    elif clusters is not None and can_turn(engine, clusters):
        prepared.release_unheld(engine, hessian, clusters)
    return prepared
