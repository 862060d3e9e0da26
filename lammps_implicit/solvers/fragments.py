"""Fragments that nothing holds: groups of atoms, or single ones, out of the reach of all others.

Their rigid motions cost no energy and no parameter pulls at them, so they belong to the null space of the Hessian,
beside the rigid motions of the whole. Which groups they are is found by one Hessian product: when every group moves by
a vector of its own, those that feel no force are held by nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lammps_implicit.arrays import BoolArray, FloatArray, IntArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.solvers.nullspace import STIFF
from lammps_implicit.solvers.springs import find_bonds, random_vector

_REACH = 2.0
"""Distance, in units of the mean nearest-neighbour distance, within which atoms belong to one group. Chosen: beyond
second neighbours; groups that interact over more are found to do so by the product."""

MOST = 100
"""Number of groups beyond which none is looked at: a liquid of molecules, which hold each other, or a gas."""


def unheld_motions(
    engine: Evaluator, product: Callable[[FloatArray], FloatArray], stiffness: float
) -> list[FloatArray]:
    """Rigid motions of the groups of atoms that nothing holds.

    Costs one Hessian product, and one for each rotation of a group that is held by nothing.

    Parameters
    ----------
    engine : Evaluator
        At its reference.
    product : callable
        Maps v to H v, (n, 3) arrays.
    stiffness : float
        Typical stiffness ‖Hw‖/‖w‖ for a random w, eV/Å².

    Returns
    -------
    list of (n, 3) float arrays
        Not normalised; empty if there is one group only, or more than `MOST`.
    """
    labels = _groups(engine)
    groups = np.unique(np.concatenate(engine.comm.allgather(np.unique(labels))))
    if not 1 < len(groups) <= MOST:
        return []
    members = [labels == group for group in groups]
    free = [engine.free & member[:, None] for member in members]
    apart = sum(
        (mask * shift for mask, shift in zip(free, random_vector(groups), strict=True)), np.zeros(engine.free.shape)
    )
    force = np.abs(product(engine.constrain(apart)))
    motions = []
    for member, mask, group in zip(members, free, groups, strict=True):
        if engine.max(float(force[member].max(initial=0.0))) > STIFF * stiffness:
            continue
        movable = [not engine.any(bool((member & ~engine.free[:, axis]).any())) for axis in range(3)]
        motions += [mask * np.eye(3)[axis] for axis in range(3) if movable[axis]]
        if all(movable) and engine.sum(int(member.sum())) > 1:
            turns = _rotations(engine, member, group)
            motions += [m for m in turns if engine.norm(product(m)) < STIFF * stiffness * engine.norm(m)]
    return [motion for motion in motions if engine.max_abs(engine.constrain(motion) - motion) == 0]


def _groups(engine: Evaluator) -> IntArray:
    """For each atom of this rank the least id of the atoms connected with it, (n,)."""
    around = engine.neighbourhood()
    bonds, _ = find_bonds(engine, around, _REACH)
    count, owned = len(around.ids), len(engine.ids)
    graph = coo_matrix((np.ones(len(bonds.start)), (bonds.start, bonds.end)), shape=(count, count))
    number, component = connected_components(graph, directed=False)
    labels = around.ids.copy()
    while True:
        least = np.full(number, np.iinfo(np.int64).max)
        np.minimum.at(least, component, labels)
        spread = least[component]
        # Ghosts take what their owners know; owners learn what their ghosts elsewhere know through their neighbours.
        known = fetch(engine.comm, engine.ids, spread[:owned], around.ids).astype(np.int64)
        new = np.minimum(spread, known)
        if not engine.any(bool((new != labels).any())):
            return labels[:owned]
        labels = new


def _rotations(engine: Evaluator, member: BoolArray, group: int) -> list[FloatArray]:
    """Rotations of a group about its atom of the least id, (n, 3) each."""
    at = np.asarray(engine.sum(np.where((engine.ids == group)[:, None], engine.positions, 0.0).sum(axis=0)))
    arms = engine.nearest_image(engine.positions - at) * member[:, None]
    return [np.cross(axis, arms) for axis in np.eye(3)]
