"""Numbers that saddles which are equal by symmetry share: none depends on which atoms move, or in which directions.

Energies of the saddle and of the minimum behind it, and moments of how far atoms of each type move, and how far from
the one that moves most: rotations, reflections and translations of the whole leave them as they are, and all are
smooth functions of the positions, sums over atoms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.evaluators.interface import Evaluator

_ENERGY = 1e-6
"""Relative difference of barriers that are the same. Chosen: barriers of saddles relaxed to 1e-8 eV/Å agree to 1e-9."""

_ROUNDING = 1e-13
"""Difference of energies that is rounding, relative to the energy of all atoms."""

_MOMENTS = 1e-3
"""Relative difference of moments that are the same. Chosen: those of different saddles that have the same energy by
chance differ by far more, those of the same saddle by 1e-6."""


@dataclass(frozen=True)
class Likeness:
    """What is compared of two saddles.

    Attributes
    ----------
    energies : (2,) float array
        Of the saddle and of the minimum behind it, from that of the start, eV.
    moments : (m,) float array
    rounding : float
        Difference of energies that says nothing, eV.
    """

    energies: FloatArray
    moments: FloatArray
    rounding: float

    def matches(self, other: Likeness) -> bool:
        """Whether the two agree as those of saddles do that are equal by symmetry."""
        barrier = max(abs(self.energies[0]), abs(other.energies[0]))
        apart = np.abs(self.energies - other.energies).max()
        scale = np.maximum(np.abs(self.moments), np.abs(other.moments))
        alike = np.abs(self.moments - other.moments) <= _MOMENTS * scale
        return bool(apart <= max(_ENERGY * barrier, self.rounding) and alike.all())


def likeness(
    engine: Evaluator, energies: tuple[float, float], rows: tuple[IntArray, FloatArray, FloatArray], total: float
) -> Likeness:
    """What is to be compared of a saddle.

    Parameters
    ----------
    engine : Evaluator
    energies : (float, float)
        Of the saddle and of the minimum behind it, from that of the start, eV.
    rows : three arrays
        Types of atoms, (n,); their positions at the start and displacements to the saddle, (n, 3), Å.
    total : float
        Energy of all atoms, eV.
    """
    types, positions, moved = rows
    squares = (moved**2).sum(axis=1)
    # Where several atoms move farthest, to rounding, by symmetry, any of them will do.
    farthest = engine.max(float(squares.max(initial=0.0)))
    ranks = engine.comm.allgather(positions[squares == farthest][:1])
    centre = next(place[0] for place in ranks if len(place))
    apart = (engine.nearest_image(positions - centre) ** 2).sum(axis=1)
    sums = np.array(
        [
            [values[types == kind].sum() for kind in range(1, engine.n_types + 1)]
            for values in (squares, squares**2, squares * apart, squares * apart**2)
        ]
    )
    spread = np.linalg.eigvalsh(np.asarray(engine.sum(moved.T @ moved)))
    moments = np.concatenate([np.asarray(engine.sum(sums)).ravel(), [(spread**2).sum(), (spread**3).sum(), farthest]])
    return Likeness(np.array(energies), moments, _ROUNDING * abs(total))
