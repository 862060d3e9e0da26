"""Fragments that nothing holds: clusters of atoms out of the reach of all others, and of their own images.

Their rigid motions cost no energy and no parameter pulls at them, so they belong to the null space of the Hessian,
beside the rigid motions that boundaries allow. Which they are is found by Hessian products: when every cluster moves by
a vector of its own, those that feel no force are held by nothing. When one rotates by ω, forces F that are left rotate
with it, H (ω × r) = -ω × F, and nothing else acts. The latter also holds for all atoms together if their images are far
away: molecules that hold each other, but nothing else does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lammps_implicit.arrays import BoolArray, FloatArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.operators.interface import Hessian
from lammps_implicit.solvers.clusters import Clusters
from lammps_implicit.solvers.nullspace import STIFF, NullSpace
from lammps_implicit.solvers.springs import random_vector

Turn = tuple[FloatArray, FloatArray]
"""Axis ω, (3,), and displacement ω × r of all atoms, (n, 3)."""

MOST = 100
"""Number of clusters beyond which none is looked at: a liquid of molecules, which hold each other, or a gas."""

FLAT = 1e-8
"""Curvature, relative to the typical stiffness, up to which a motion costs nothing: solvers cannot tell it from none.
Measured for rotations of molecules and pairs of them: 1e-13 to 3e-10, with forces of 1e-10 to 7e-9."""

_NOISE = 3.0
"""Number of times the difference of two products that their error may be."""

_THIN = 1e-3
"""Size of a rotation, relative to the largest of the same cluster, below which it counts as none: the cluster is
linear, and its bending would be taken for a rotation."""


def unheld_motions(
    engine: Evaluator, hessian: Hessian, known: NullSpace, widening: Sequence[Clusters], flat: float = FLAT
) -> list[FloatArray]:
    """Rigid motions of the clusters of atoms that nothing holds.

    Costs two Hessian products (four evaluations) at most for each choice of clusters, and for each one that is free,
    and up to twelve evaluations more where it can rotate about some axes only.

    Parameters
    ----------
    engine : Evaluator
        At its reference.
    hessian : Hessian
    known : NullSpace
        What is known to cost nothing.
    widening : sequence of Clusters
        Within longer and longer distances, see `widening_clusters`; those that hold each other may be free together.
    flat : float
        Force, relative to the typical stiffness, below which a cluster counts as moving freely.

    Returns
    -------
    list of (n, 3) float arrays
        Not normalised.
    """
    motions: list[FloatArray] = []
    done = np.zeros(len(engine.ids), bool)
    held = 0
    for clusters in widening:
        count = len(clusters.windings)
        members = [(clusters.labels == number) & ~done for number in range(count)] if count <= MOST else []
        left = [number for number, member in enumerate(members) if engine.any(bool(member.any()))]
        if len(left) == held:  # those of the distance before
            continue
        whole = count == 1 or (len(left) == 1 and bool(motions))
        free = left if whole else _apart(engine, hessian, members, flat)
        for number in free:
            member = members[number]
            if not whole:
                motions += [member[:, None] * axis for axis in np.eye(3)]
                done |= member
            motions += _rotations(engine, hessian, known, clusters, number, member)
        held = len(left) - len(free)
    return [motion for motion in motions if _possible(engine, motion)]


def can_turn(engine: Evaluator, clusters: Clusters) -> bool:
    """Whether there are clusters out of the reach of each other, or but one, and its images let it rotate."""
    count = len(clusters.windings)
    return 1 < count <= MOST or (count == 1 and any(engine.periodic) and len(clusters.axes(0)) > 0)


def _possible(engine: Evaluator, motion: FloatArray) -> bool:
    """Whether atoms can make a motion, (n, 3)."""
    return engine.max_abs(engine.constrain(motion) - motion) == 0


def _apart(engine: Evaluator, hessian: Hessian, members: list[BoolArray], flat: float) -> list[int]:
    """Numbers of the clusters that feel no force when each moves by a vector of its own: one product."""
    apart = np.zeros(engine.positions.shape)
    for member, shift in zip(members, random_vector(np.arange(1, len(members) + 1)), strict=True):
        apart[member] = shift
    force = np.abs(hessian.central(engine.constrain(apart)))
    largest = [engine.max(float(force[member].max(initial=-1.0))) for member in members]
    return [number for number, pull in enumerate(largest) if 0 <= pull <= flat * hessian.stiffness]


def _rotations(
    engine: Evaluator, hessian: Hessian, known: NullSpace, clusters: Clusters, number: int, member: BoolArray
) -> list[FloatArray]:
    """Rotations of a cluster, (n, 3) each, that cost nothing: all that are possible, or those about single axes."""
    turns = [
        (axis, turn)
        for axis, turn in _turns(engine, clusters, number, member)
        if engine.norm(known.project(turn)) > _THIN  # a boundary that is not periodic lets it rotate too
    ]
    if not turns:
        return []
    if _is_free(engine, hessian, member, *_combined(np.ones(len(turns)), turns)):
        return [turn for _, turn in turns]
    return [turn for axis, turn in _least_held(engine, hessian, turns) if _is_free(engine, hessian, member, axis, turn)]


def _least_held(engine: Evaluator, hessian: Hessian, turns: list[Turn]) -> list[Turn]:
    """Combinations of orthonormal rotations that hardly cause forces: about the direction of a field, for example."""
    if len(turns) == 1:
        return []
    forces = [hessian.central(turn) for _, turn in turns]
    gram = np.asarray(engine.sum(np.array([[float(np.vdot(a, b)) for a in forces] for b in forces])))
    squares, weights = engine.on_root(lambda: np.linalg.eigh(gram))
    few = weights.T[squares <= (STIFF * hessian.stiffness) ** 2]
    return [_combined(weight, turns) for weight in few]


def _combined(weights: FloatArray, turns: list[Turn]) -> Turn:
    axis, turn = (sum(w * part for w, part in zip(weights, parts, strict=True)) for parts in zip(*turns, strict=True))
    return np.asarray(axis), np.asarray(turn)


def _turns(engine: Evaluator, clusters: Clusters, number: int, member: BoolArray) -> Iterator[Turn]:
    """Rotations of a cluster about its centre, with orthonormal displacements."""
    inside = member[:, None]
    centre = np.asarray(engine.sum((inside * clusters.unwrapped).sum(axis=0))) / max(engine.sum(int(member.sum())), 1)
    arms = inside * (clusters.unwrapped - centre)
    axes = [axis for axis in clusters.axes(number) if _possible(engine, np.cross(axis, arms))]
    turns = [np.cross(axis, arms) for axis in axes]
    if not axes:
        return
    gram = np.asarray(engine.sum(np.array([[float(np.vdot(a, b)) for a in turns] for b in turns])))
    squares, weights = engine.on_root(lambda: np.linalg.eigh(gram))
    for square, weight in zip(squares, weights.T, strict=True):
        if square > _THIN**2 * squares[-1] and square > 0:
            axis = np.asarray(weight @ np.array(axes)) / np.sqrt(square)
            yield axis, np.cross(axis, arms)


def _is_free(engine: Evaluator, hessian: Hessian, member: BoolArray, axis: FloatArray, turn: FloatArray) -> bool:
    """Whether a rotation of a cluster costs nothing: H (ω × r) = -ω × F, as accurately as can be told.

    Where one product does not tell, another one with a different step shows how accurate both are. Motions that cost
    little, such as those of a molecule among images that it reaches, are not thrown away: what counts is the curvature,
    which is far more accurate than products are.
    """
    size = engine.norm(turn)
    allowed, little = FLAT * hessian.stiffness * size, STIFF * hessian.stiffness * size
    product = hessian.central(turn)
    force = product + np.cross(axis, hessian.reference_forces) * member[:, None]
    largest, along = engine.norm(force), abs(engine.dot(turn, force)) / size
    if engine.norm(product) > little or along > little:
        return False
    if largest <= allowed:
        return True
    differs = product - hessian.second(turn)
    noise, noise_along = _NOISE * engine.norm(differs), _NOISE * abs(engine.dot(turn, differs)) / size
    return largest <= max(allowed, noise) and along <= max(allowed, noise_along)
