"""Radii that a deck writes, and shells of neighbours near them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from scipy.spatial import cKDTree

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.evaluators.interface import Evaluator, Neighbourhood
from lammps_implicit.mpi.on_root import on_root
from lammps_implicit.potentials.snap import SnapPotential, has_snap

MANY = 10
"""Pairs that make a shell."""


@dataclass(frozen=True)
class Shell:
    """Pairs near a radius that the deck writes.

    Attributes
    ----------
    radius : float
    written : str
        Where the deck has it.
    types : tuple of int
        Of both atoms of each pair.
    distance : float
        Mean distance of the pairs at the reference.
    count : int
        Number of pairs.
    """

    radius: float
    written: str
    types: tuple[int, int]
    distance: float
    count: int

    def described(self, length: str) -> str:
        """Describe it in words; `length` is the unit."""
        return (
            f"the shell of {self.count} pairs of types {self.types[0]}-{self.types[1]} at r = {self.distance:.6f} "
            f"{length} crosses {self.radius:g} {length} ({self.written})"
        )


def shells(engine: Evaluator, width: float) -> tuple[Shell, ...]:
    """Find the pairs, at least `MANY`, within a width of each radius that the deck writes, the largest shell first."""
    around, found = engine.neighbourhood(), []
    kinds = range(1, engine.n_types + 1)
    for radius, written in written_radii(engine).items():
        for types in combinations_with_replacement(kinds, 2):
            distances = pair_distances(engine, around, types, radius, width)
            count = int(engine.sum(len(distances)))
            if count >= 2 * MANY:
                mean = float(engine.sum(float(distances.sum()))) / count
                found.append(Shell(radius, written, types, mean, count // 2))
    return tuple(sorted(found, key=lambda shell: -shell.count))


def pair_distances(
    engine: Evaluator, around: Neighbourhood, types: tuple[int, int], radius: float, width: float
) -> FloatArray:
    """Distances between this rank's atoms and others, of two types, within a width of a radius; both ways."""
    tree, owned = cKDTree(around.positions), len(engine.ids)
    found = [np.empty(0)]
    for a, b in {types, types[::-1]}:
        for i in np.flatnonzero(around.types[:owned] == a):
            near = np.array(tree.query_ball_point(around.positions[i], radius + width), int)
            near = near[around.types[near] == b]
            distances = np.linalg.norm(around.positions[near] - around.positions[i], axis=1)
            found.append(distances[np.abs(distances - radius) <= width])
    return np.concatenate(found)


def written_radii(engine: Evaluator) -> dict[float, str]:
    """Positive numbers of the deck's pair commands and cutoffs of its SNAP files, and where they stand."""
    commands = {"pair_style": engine.deck.pair_style}
    commands |= {f"pair_coeff {' '.join(line.args[:2])}": line.args[2:] for line in engine.deck.pair_coeffs}
    found: dict[float, str] = {}
    for command, words in commands.items():
        for word in words:
            with contextlib.suppress(ValueError):
                if 0 < float(word) < float("inf"):
                    found.setdefault(float(word), f"{word} of {command}")
    return on_root(engine.comm, lambda: _snap_radii(engine.deck)) | found


def _snap_radii(deck: Deck) -> dict[float, str]:
    if not has_snap(deck):
        return {}
    try:
        potential = SnapPotential.from_deck(deck)
    except LammpsImplicitError:
        return {}
    factor = potential.hyperparameters.number("rcutfac", 0.0)
    radii = sorted({block.radius for block in potential.coefficients.blocks})
    return {
        factor * (a + b): f"rcutfac {factor:g} × ({a:g} + {b:g}) of the SNAP files"
        for a, b in combinations_with_replacement(radii, 2)
    }
