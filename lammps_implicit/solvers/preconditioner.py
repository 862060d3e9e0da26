"""K⁻¹ with learned springs, kept while atoms stay about where the springs were fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator, Neighbourhood
from lammps_implicit.solvers.nullspace import NullSpace, rigid_motions
from lammps_implicit.solvers.springs import Springs, fit_springs, random_vector

Operator = Callable[[FloatArray], FloatArray]

SPRINGS_HOLD = 0.3
"""Å that atoms may move from where springs were fitted before others are fitted."""


@dataclass(frozen=True)
class Fitted:
    """K⁻¹ and where its springs were fitted."""

    apply: Operator
    positions: FloatArray
    ids: NDArray[np.int64]


class Preconditioner:
    """The springs fitted last, for all reference states of an engine.

    Parameters
    ----------
    engine : Evaluator
    product : callable
        (forces at the reference, v) to H v at the least cost, (n, 3) arrays.
    invert : callable
        (engine, springs) to v → K⁻¹v: see `backend`.

    Attributes
    ----------
    fitted : Fitted or None
    """

    def __init__(
        self,
        engine: Evaluator,
        product: Callable[[FloatArray, FloatArray], FloatArray],
        invert: Callable[[Evaluator, Springs], Operator],
    ) -> None:
        self.engine = engine
        self.product = product
        self._invert = invert
        self.fitted: Fitted | None = None

    @property
    def holds(self) -> bool:
        """Whether the same atoms are still about where springs were fitted."""
        if self.fitted is None or not self.engine.order_unchanged(self.fitted.ids):
            return False
        moved = self.engine.nearest_image(self.engine.positions - self.fitted.positions)
        return self.engine.max_abs(moved) < SPRINGS_HOLD

    @property
    def apply(self) -> Operator:
        """v → K⁻¹v with the springs fitted last."""
        assert self.fitted is not None
        return self.fitted.apply

    def fit(self, around: Neighbourhood, product: FloatArray) -> None:
        """Fit springs to H w at the reference, w random."""
        self.fitted = None  # multigrid is large: the old one goes before the new one comes
        self.keep(self._invert(self.engine, fit_springs(self.engine, around, product)))

    def keep(self, apply: Operator) -> None:
        """Take v → K⁻¹v as that of the reference."""
        self.fitted = Fitted(apply, self.engine.positions, self.engine.ids)

    def near(self, forces: FloatArray) -> Operator:
        """Return v → K⁻¹v for the engine's reference, where these are the forces, without rigid motions.

        One force evaluation, unless the springs fitted last still hold.
        """
        engine = self.engine
        if not self.holds:
            around = engine.neighbourhood()
            self.fit(around, self.product(forces, random_vector(engine.ids) * engine.free))
        apply = self.apply
        # What external forces hold in place is not known here, and forces have no part along motions that are free.
        project = NullSpace(engine, [] if engine.external else rigid_motions(engine)).project
        return lambda v: project(apply(project(v)))
