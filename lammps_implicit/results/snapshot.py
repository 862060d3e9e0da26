"""The structure of a stationary point as a result object."""

from __future__ import annotations

import numpy as np

from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.structures import Structure


def snapshot(point: StationaryPoint) -> Structure:
    """Current structure of a stationary point.

    Parameters
    ----------
    point : StationaryPoint

    Returns
    -------
    Structure
        The atoms that this rank owns, in the order of their ids.
    """
    engine = point.engine
    order = np.argsort(engine.ids)
    return Structure(
        ids=engine.ids[order],
        types=engine.types[order],
        positions=engine.positions[order],
        cell=engine.cell,
        origin=engine.origin,
        periodic=np.array(engine.periodic),
        elements=elements_of(point),
        masses=engine.masses(),
    )


def elements_of(point: StationaryPoint) -> tuple[str, ...]:
    """Chemical element of each atom type; ``X`` if unknown."""
    return tuple(name or "X" for name in point.potential.elements)
