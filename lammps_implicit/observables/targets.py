"""Positions of a cell's atoms from elsewhere: a LAMMPS data file, or another deck."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.observables.decks import PositionSource
from lammps_implicit.stationary.point import StationaryPoint

SAME_CELL = 1e-6
"""Relative difference of cell vectors up to which cells are the same."""


def read_positions(source: PositionSource, minimum: StationaryPoint, name: str) -> FloatArray:
    """Positions for this rank's atoms of a cell, (n, 3), Å.

    Parameters
    ----------
    source : PositionSource
    minimum : StationaryPoint
        The cell.
    name : str
        Its name, for messages.

    Raises
    ------
    LammpsImplicitError
        If the source has other atoms or another cell.
    """
    if source.data is not None:
        ids, positions, cell = _read_data(source.data, minimum)
        told = str(source.data)
    else:
        assert source.deck is not None
        variables = {key: str(value) for key, value in source.variables.items()}
        limit = 1e-8 if source.relax else np.inf
        told = f"{source.deck.name} (target of {name})"
        with StationaryPoint.from_deck(
            source.deck, minimum.engine.comm, variables=variables, ftol=limit, force_limit=np.inf
        ) as other:
            ids, positions, cell = other.ids.copy(), other.positions.copy(), other.engine.cell
    total = int(minimum.engine.sum(len(ids)))
    if total != minimum.engine.n_atoms:
        raise LammpsImplicitError(f"{told} has {total} atoms, {name} {minimum.engine.n_atoms}")
    apart = (cell - minimum.engine.cell)[np.array(minimum.engine.periodic)]
    if minimum.cell == "none" and np.abs(apart).max(initial=0.0) > SAME_CELL * np.abs(cell).max():
        raise LammpsImplicitError(f"{told} has another cell than {name}")
    rows = fetch(minimum.engine.comm, ids, positions, minimum.ids, missing=np.nan)
    missing = minimum.ids[np.isnan(rows[:, 0])]
    if minimum.engine.any(len(missing) > 0):
        example = minimum.engine.max(float(missing.max(initial=-1)))
        raise LammpsImplicitError(f"{told} has no atom {example:.0f}, which {name} has")
    return rows


def _read_data(path: Path, minimum: StationaryPoint) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
    """Ids, positions, and cell of a data file; atoms on rank 0 alone."""
    import ase.io

    read: list[Any] = []

    def on_root() -> FloatArray:
        try:
            # ASE would broadcast what it reads, to ranks that do not read.
            style: dict[str, Any] = {"format": "lammps-data", "atom_style": "atomic", "units": minimum.units.style}
            read.append(ase.io.read(path, parallel=False, **style))
            return np.asarray(read[0].cell)
        except Exception as error:  # ASE raises whatever its parsing meets
            raise LammpsImplicitError(f"{path} is not a LAMMPS data file of atom_style atomic ({error})") from None

    cell = minimum.engine.on_root(on_root)
    if not read:
        return np.zeros(0, np.int64), np.zeros((0, 3)), cell
    return np.asarray(read[0].arrays["id"], np.int64), np.asarray(read[0].positions), cell
