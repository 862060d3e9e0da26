"""Structures that no material has, told: minimisations that explode may come to rest by chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from lammps_implicit.arrays import BoolArray, FloatArray, IntArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.units import Units

_OVERLAP = 0.5
"""Distance of two atoms, in units of the sum of their covalent radii, below which they overlap. Chosen: a metal at a
terapascal is above 0.55, bonds of molecules at 0.9 and more."""

_SHORTEST = 0.6
"""Å below which atoms of unknown elements overlap; the shortest bond there is, that of hydrogen, has 0.74."""

_SHORT = 0.3
"""Distance in units of the mean distance of nearest neighbours, below which atoms of unknown elements overlap. Chosen:
cores and their shells, which are nearly everyone's nearest neighbour, are not below it."""

_SHELL = 0.3
"""Å that a shell is from its core at most. Chosen: polarisation displaces it by a tenth of that."""

_LONE = 8.0
"""Å, or units of length of ``units lj``, without a neighbour that make an atom a lone one. Chosen: twice what is found
in crystals of noble gases."""

_REACH = 2.5
"""The same in units of the mean distance of nearest neighbours, beyond `_AWAY`. Chosen: beyond second neighbours."""

_AWAY = 5.0
"""Å, or units of length of ``units lj``, up to which atoms touch. Chosen: ions and noble gases among molecules."""

_HIGH = 20.0
"""Energy, eV per atom, above which a structure at rest is no material. Chosen: above all energies of formation."""

_VOLUME = 1.3
"""Factor by which a relaxed cell has grown or shrunk absurdly. Chosen."""

_FAR = 0.5
"""Distance, in units of the mean distance of nearest neighbours, that is far for an atom to relax. Chosen."""

_SHOWN = 5
"""Ids that a message lists at most."""


def absurdities(
    engine: Evaluator,
    energy: float,
    elements: Sequence[str | None],
    units: Units,
    volume: float,
    start: tuple[IntArray, FloatArray, FloatArray] | None = None,
) -> list[str]:
    """Say why a relaxed structure may be no material, or not the one meant, with numbers.

    At most one evaluation, if the evaluator is not at its reference.

    Parameters
    ----------
    engine : Evaluator
    energy : float
        Potential energy in the unit of the deck.
    elements : sequence of str or None
        Chemical element of each atom type, where known.
    units : Units
    volume : float
        That of the cell in the beginning.
    start : tuple of (n,), (n, 3) and (3, 3) arrays, optional
        Ids, positions and cell vectors at the end of the deck, to tell atoms that went far from there.

    Returns
    -------
    list of str
        Sentences, the same on every rank; none for nearly all structures.
    """
    found = []
    around, n = engine.neighbourhood(), len(engine.ids)
    near, other = _nearest(around.positions, n)
    alone, spacing = _lone(engine, near)
    held = engine.sum(int((~alone).sum()))
    if held < engine.n_atoms:
        ids = np.sort(np.concatenate(engine.comm.allgather(engine.ids[alone][: _SHOWN + 1])))
        found.append(f"{engine.n_atoms - held} of {engine.n_atoms} atoms have no neighbour: {_listed(ids)}")
    types = np.column_stack([around.types[:n], around.types[other]])
    overlap = near / _least_distances(types, elements, units, spacing)
    if engine.deck.bonded:  # shells sit on their cores
        overlap[near < _SHELL] = np.inf
    worst = min(engine.comm.allgather(_worst(overlap, near, engine.ids, around.ids[other])))
    if worst[0] < 1:
        _, apart, one, two = worst
        found.append(f"atoms {one} and {two} are {apart:.3g} {units.length} apart: they overlap, or one is there twice")
    per_atom = energy / engine.n_atoms / units.force_factor
    # Energies of other evaluators than LAMMPS may count from anywhere.
    if units.style != "lj" and engine.deck.pair_style and per_atom > _HIGH:
        found.append(f"its energy is {energy / engine.n_atoms:.4g} {units.energy} per atom")
    if not 1 / _VOLUME < engine.volume / volume < _VOLUME:
        found.append(f"its {units.volume_name} became {engine.volume / volume:.3g} times what it was in the beginning")
    far = [] if start is None or not held else _far_from_start(engine, units, start, spacing)
    return [*(f"the relaxed structure may be no material: {what}" for what in found), *far]


def _far_from_start(
    engine: Evaluator, units: Units, start: tuple[IntArray, FloatArray, FloatArray], spacing: float
) -> list[str]:
    """Say that atoms relaxed to places far from where a deck left them, if they did."""
    ids, positions, cell = start
    before = fetch(engine.comm, ids, positions @ np.linalg.inv(cell), engine.ids)
    moved = np.linalg.norm(engine.nearest_image(engine.positions - before @ engine.cell), axis=1)
    farthest = engine.max(float(moved.max(initial=0.0)))
    if farthest <= _FAR * spacing:
        return []
    return [
        f"an atom moved by {farthest:.3g} {units.length} after the deck: this minimum may not be the one it was for"
    ]


def _lone(engine: Evaluator, near: FloatArray) -> tuple[BoolArray, float]:
    """Which of this rank's atoms have no neighbour, given the distances of the nearest; mean distance of the others."""
    alone = near > _LONE
    held = engine.sum(int((~alone).sum()))
    spacing = engine.sum(float(near[~alone].sum())) / max(held, 1)
    return (alone | (near > max(_REACH * spacing, _AWAY)) if held else alone), spacing


def _nearest(positions: FloatArray, n: int) -> tuple[FloatArray, IntArray]:
    """Distance to the nearest neighbour of each of the first n atoms, infinite if there is none, and its index."""
    if not n or len(positions) < 2:
        return np.full(n, np.inf), np.arange(n)
    distances, indices = cKDTree(positions).query(positions[:n], k=2)
    own = indices[:, 1] == np.arange(n)  # of two atoms at one place
    return distances[:, 1], np.where(own, indices[:, 0], indices[:, 1])


def _worst(overlap: FloatArray, near: FloatArray, ids: IntArray, others: IntArray) -> tuple[float, float, int, int]:
    """Of the pair of atoms that overlaps most on this rank: by how much, its distance and its ids."""
    if not len(overlap):
        return np.inf, np.inf, 0, 0
    first = int(np.argmin(overlap))
    return float(overlap[first]), float(near[first]), int(ids[first]), int(others[first])


def _least_distances(types: IntArray, elements: Sequence[str | None], units: Units, spacing: float) -> FloatArray:
    """Distances, (n,), below which pairs of atoms of these types, (n, 2), counted from 1, overlap."""
    from ase.data import atomic_numbers, covalent_radii

    radii = [
        covalent_radii[atomic_numbers[name]] if name in atomic_numbers and units.style != "lj" else np.nan
        for name in elements
    ]
    by_elements = _OVERLAP * np.array([np.nan, *radii])[types].sum(axis=1)
    unknown = max(_SHORT * spacing if units.style == "lj" else min(_SHORT * spacing, _SHORTEST), 1e-3)
    return np.where(np.isnan(by_elements), unknown, by_elements)


def _listed(ids: IntArray) -> str:
    shown = ", ".join(map(str, ids[:_SHOWN]))
    return f"ids {shown}, …" if len(ids) > _SHOWN else f"ids {shown}"
