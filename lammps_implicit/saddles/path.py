"""The minimum-energy path through a chain of minima and saddles."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.saddles.band import Band, distances, relaxed_band, straight, visited_band
from lammps_implicit.saddles.connecting import Chain, Search

_STEPS = 30
"""Steps that each part of a path is relaxed at most. Chosen."""


@dataclass(frozen=True)
class Path:
    """A minimum-energy path as a list of images.

    Attributes
    ----------
    ids : (n,) int array
        Ids of this rank's atoms, the rows of `positions`.
    positions : (m, n, 3) float array
        Å, not wrapped into the cell.
    energies : (m,) float array
        eV.
    distances : (m,) float array
        Length of the path up to each image, Å, in the space of all coordinates.
    stations : (k,) int array
        Numbers of the images that are minima and saddles, in turn.
    across : float
        Largest component of a force perpendicular to the path, eV/Å.
    energy_gradients : (m, P) float array or None
        ∂U/∂Θ of each image, if they were requested.
    """

    ids: IntArray
    positions: FloatArray
    energies: FloatArray
    distances: FloatArray
    stations: IntArray
    across: float
    energy_gradients: FloatArray | None = None


def path_through(search: Search, chain: Chain, images: int, tol: float) -> Path:
    """Relax the path through a chain, until no force across it exceeds `tol` in LAMMPS' unit, or nearly.

    Parameters
    ----------
    search : Search
    chain : Chain
    images : int
        Between each minimum and the next saddle.
    tol : float
    """
    frame, engine = search.frame, search.engine
    parts: list[Band] = []
    for start, end in pairwise(chain.places()):
        way = engine.nearest_image(end.positions - start.positions)
        there = end._replace(positions=start.positions + way)
        band = visited_band(frame, (start, there), straight(start.positions, there.positions, images))
        minimum = start if len(parts) % 2 == 0 else end  # springs at a minimum serve the way up from it
        springs = search.preconditions(minimum)[0]
        parts.append(relaxed_band(frame, (springs, springs), band, tol, _STEPS))
    lengths = [distances(engine, part) for part in parts]
    starts = np.concatenate([[0.0], np.cumsum([length[-1] for length in lengths])])
    all_images = [parts[0].images[0], *(image for part in parts for image in part.images[1:])]
    return Path(
        frame.ids,
        np.stack([image.positions for image in all_images]),
        np.array([image.energy for image in all_images]),
        np.concatenate([[0.0], *(start + length[1:] for start, length in zip(starts[:-1], lengths, strict=True))]),
        np.arange(len(parts) + 1) * (images + 1),
        max(part.across for part in parts),
    )


def gradients_along(search: Search, path: Path) -> FloatArray:
    """∂U/∂Θ at each image of a path, (m, P); the point of the search stands at the last image then.

    Parameters
    ----------
    search : Search
    path : Path
        In its frame.
    """
    point, gradients = search.point, []
    for number, positions in enumerate(path.positions):
        search.frame.place(positions)
        search.engine.settle()
        point.forget()
        gradients.append(point.response.energy_gradient())
        search.progress(number + 1, len(path.positions))
    return np.array(gradients)
