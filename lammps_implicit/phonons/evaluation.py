"""Forces, and their derivatives with respect to the parameters, where atoms of a supercell are displaced."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.mpi.id_order import IdOrder
from lammps_implicit.phonons.supercell import engine_of
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.stationary.point import StationaryPoint

Displaced = Sequence[tuple[int, FloatArray]]
"""LAMMPS' id of the atom that is displaced, and its displacement, (3,), Å; one for each evaluation."""


def forces_at(point: StationaryPoint, displaced: Displaced, tick: Progress = no_progress) -> FloatArray | None:
    """Forces at the reference and with each displacement; collective.

    Parameters
    ----------
    point : StationaryPoint
    displaced : sequence of (int, (3,) float array)
    tick : callable
        Called with (done, total).

    Returns
    -------
    (1 + D, N, 3) float array or None
        In id order, on rank 0; None on the others.
    """
    engine = engine_of(point)
    order = IdOrder(engine.comm, engine.ids)
    rows = [order.gather(engine.forces())]
    for done, (id_, vector) in enumerate(displaced):
        rows.append(order.gather(engine.forces(_one(engine.ids == id_, vector))))
        tick(done + 1, len(displaced))
    return None if rows[0] is None else np.array(rows)


def step_error(point: StationaryPoint, displaced: tuple[int, FloatArray]) -> float:
    """Estimated relative error of force constants by the length of displacements; collective.

    Central differences are compared with those of displacements that are twice as long, of which a third is left. It is
    large where forces have kinks (a pair near a cutoff, tables) or noise.
    """
    engine = engine_of(point)
    id_, vector = displaced
    changes = [
        engine.forces(_one(engine.ids == id_, factor * vector))
        - engine.forces(_one(engine.ids == id_, -factor * vector))
        for factor in (1.0, 2.0)
    ]
    size = engine.max_abs(changes[0])
    return engine.max_abs(changes[1] / 2 - changes[0]) / (3 * size) if size > 0 else 0.0


def derivatives_at(point: StationaryPoint, displaced: Displaced, tick: Progress = no_progress) -> FloatArray | None:
    """Derivatives -C = ∂F/∂Θ at the reference and with each displacement, at fixed positions; collective.

    Parameters
    ----------
    point, displaced, tick
        As for `forces_at`.

    Returns
    -------
    (1 + D, N, 3, P) float array or None
        In id order, on rank 0; None on the others.
    """
    with without_idle():
        rows = [IdOrder(point.engine.comm, point.ids).gather(-point.mixed.to_array())]
    unchanged = np.zeros(len(point.potential.theta))
    for done, (id_, vector) in enumerate(displaced):
        with point.excursion(unchanged, _one(point.ids == id_, vector)), without_idle():
            rows.append(IdOrder(point.engine.comm, point.ids).gather(-point.mixed.to_array()))
        tick(done + 1, len(displaced))
    return None if rows[0] is None else np.array(rows)


@contextmanager
def without_idle() -> Iterator[None]:
    """Without the warning of parameters that have no effect: in a perfect crystal many have none on forces."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* ha(s|ve) no effect")
        yield


def _one(chosen: FloatArray, vector: FloatArray) -> FloatArray:
    """Displacements of this rank's atoms, of which at most one moves."""
    return np.asarray(chosen[:, None] * vector)
