"""A band of images between two places, relaxed towards a minimum-energy path.

The string method (W. E, W. Ren, E. Vanden-Eijnden, J. Chem. Phys. 126, 164103 (2007)), with the learned springs as
preconditioner: images move by K⁻¹F, without the part along the band, and are then put at equal distances on it again.
Steps are about as long as in Newton's method, so that a few suffice. One evaluator visits all images in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.interpolate import CubicHermiteSpline, CubicSpline

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.relaxation.frame import Apply, Frame, Visited

_LONGEST_STEP = 0.2
"""Å; largest displacement component of an image in one step. Chosen: less than a tenth of a bond."""

_RECOVERY = 1.15
"""Factor by which steps that have been shortened grow again. Chosen."""

_FINE = 400
"""Points at which the energy along the band is evaluated to find its maximum. Chosen."""


@dataclass(frozen=True)
class Band:
    """Images from one end to the other, both included.

    Attributes
    ----------
    images : tuple of Visited
    across : float
        Largest component of a force perpendicular to the band, eV/Å: zero on a minimum-energy path.
    """

    images: tuple[Visited, ...]
    across: float = np.inf

    @property
    def energies(self) -> FloatArray:
        """Energies of the images, eV."""
        return np.array([image.energy for image in self.images])


def visited_band(frame: Frame, ends: tuple[Visited, Visited], positions: list[FloatArray]) -> Band:
    """Band through positions between two ends. One force evaluation for each."""
    return Band((ends[0], *(frame.visit(place) for place in positions), ends[1]))


def straight(start: FloatArray, end: FloatArray, count: int) -> list[FloatArray]:
    """`count` places at equal distances between two, (n, 3) arrays."""
    return [start + (number + 1) / (count + 1) * (end - start) for number in range(count)]


def relaxed_band(frame: Frame, preconditions: Sequence[Apply], band: Band, tol: float, steps: int) -> Band:
    """Relax a band with fixed ends, until no force across it exceeds `tol`, or for a number of steps.

    Each step costs one force evaluation for each image. Where a step makes forces larger, the next is half as long;
    the others grow again.

    Parameters
    ----------
    frame : Frame
    preconditions : two callables
        v → K⁻¹v with the springs at either end: each serves the half of the images that is near to it.
    band : Band
    tol : float
        eV/Å.
    steps : int
    """
    engine, share, before = frame.engine, 1.0, np.inf
    half = len(band.images) / 2
    for number in range(steps + 1):
        tangents = [_tangent(engine, band, index) for index in range(len(band.images))]
        inside = list(zip(band.images, tangents, strict=True))[1:-1]
        across = [_without(engine, image.forces, tangent) for image, tangent in inside]
        band = Band(band.images, max(engine.max_abs(force) for force in across))
        if band.across <= tol or number == steps:
            break
        share, before = (share / 2 if band.across > before else min(1.0, _RECOVERY * share)), band.across
        moves = [
            share * _without(engine, preconditions[index >= half](force), tangent)
            for index, (force, (_, tangent)) in enumerate(zip(across, inside, strict=True), 1)
        ]
        moved = [
            image.positions + move * min(1.0, _LONGEST_STEP / max(engine.max_abs(move), _LONGEST_STEP))
            for (image, _), move in zip(inside, moves, strict=True)
        ]
        ends = band.images[0], band.images[-1]
        places = _equally_spaced(engine, [ends[0].positions, *moved, ends[1].positions])
        band = visited_band(frame, ends, places[1:-1])
    return band


def distances(engine: Evaluator, band: Band) -> FloatArray:
    """Length of the band up to each image, Å, in the space of all coordinates."""
    return _lengths(engine, [image.positions for image in band.images])


def highest(engine: Evaluator, band: Band) -> tuple[FloatArray, FloatArray] | None:
    """Positions and direction of the band, (n, 3) each, where a cubic through energies and forces is highest.

    None if that is at an end.
    """
    s = distances(engine, band)
    tangents = [_tangent(engine, band, index) for index in range(len(band.images))]
    slopes = [-engine.dot(image.forces, tangent) for image, tangent in zip(band.images, tangents, strict=True)]
    fine = np.linspace(0.0, s[-1], _FINE + 1)
    top = int(np.argmax(CubicHermiteSpline(s, band.energies, slopes)(fine)))
    if top in (0, _FINE):
        return None
    curve = CubicSpline(s, np.stack([image.positions for image in band.images]))
    return curve(fine[top]), curve(fine[top], 1)


def _tangent(engine: Evaluator, band: Band, index: int) -> FloatArray:
    """Direction of the band at an image, of unit norm: towards the higher neighbour (G. Henkelman, H. Jónsson,
    J. Chem. Phys. 113, 9978 (2000)).
    """
    images, last = band.images, len(band.images) - 1
    before, after = images[max(index - 1, 0)], images[min(index + 1, last)]
    back, forth = images[index].positions - before.positions, after.positions - images[index].positions
    down, up = before.energy - images[index].energy, after.energy - images[index].energy
    if index in (0, last) or up == down == 0:
        direction = back + forth
    elif up > 0 > down:
        direction = forth
    elif down > 0 > up:
        direction = back
    else:
        large, small = max(abs(up), abs(down)), min(abs(up), abs(down))
        direction = forth * (large if up > down else small) + back * (small if up > down else large)
    size = engine.norm(direction)
    return direction / size if size > 0 else direction


def _without(engine: Evaluator, vector: FloatArray, tangent: FloatArray) -> FloatArray:
    return vector - engine.dot(vector, tangent) * tangent


def _lengths(engine: Evaluator, places: list[FloatArray]) -> FloatArray:
    steps = [engine.norm(after - before) for before, after in pairwise(places)]
    return np.concatenate([[0.0], np.cumsum(steps)])


def _equally_spaced(engine: Evaluator, places: list[FloatArray]) -> list[FloatArray]:
    """Places at equal distances on the curve through these."""
    s = _lengths(engine, places)
    curve = CubicSpline(s, np.stack(places))
    return list(curve(np.linspace(0.0, s[-1], len(places))))
