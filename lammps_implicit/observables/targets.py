"""Target positions of the atoms of a cell, from a LAMMPS data file or another deck."""

from __future__ import annotations

import warnings

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.observables.decks import PositionSource
from lammps_implicit.results.structure import read_rows
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.structures import read_data_pieces

SAME_CELL = 1e-6
"""Relative difference of cell vectors below which two cells are the same: allows for the digits of data files."""

FAR = 0.3
"""Å that an atom of a target may move when it is relaxed before there is a warning. Chosen: relaxing a defect moves
atoms by less; a dislocation core that goes to the next site moves them by more."""


def read_positions(source: PositionSource, minimum: StationaryPoint, name: str) -> FloatArray:
    """Read positions for the atoms of a cell; called on all ranks.

    Parameters
    ----------
    source : PositionSource
        A data file is in the units of the cell's deck.
    minimum : StationaryPoint
        The cell.
    name : str
        Name of the cell, for messages.

    Returns
    -------
    (n, 3) float array
        For this rank's atoms, in the order of ``minimum.ids``; LAMMPS' unit of length.

    Raises
    ------
    LammpsImplicitError
        If the source has other atoms, or another cell than one that is held fixed.
    """
    if source.data is not None:
        data = source.data
        ids, positions, cell = read_rows(minimum.engine.comm, lambda: read_data_pieces(data))
        label = str(data)
    else:
        assert source.deck is not None
        variables = {key: str(value) for key, value in source.variables.items()}
        label = f"{source.deck.name} (target of {name})"
        with StationaryPoint.from_deck(
            source.deck, minimum.engine.comm, (), variables=variables, ftol=np.inf, force_limit=np.inf
        ) as other:
            if source.relax:
                _relax(other, label)
            ids, positions, cell = other.ids.copy(), other.positions.copy(), other.engine.cell
    total = int(minimum.engine.sum(len(ids)))
    if total != minimum.engine.n_atoms:
        raise LammpsImplicitError(f"{label} has {total} atoms, {name} {minimum.engine.n_atoms}")
    difference = (cell - minimum.engine.cell)[np.array(minimum.engine.periodic)]
    if minimum.cell == "none" and np.abs(difference).max(initial=0.0) > SAME_CELL * np.abs(cell).max():
        raise LammpsImplicitError(f"{label} has another cell than {name}, which is held fixed")
    rows = fetch(minimum.engine.comm, ids, positions, minimum.ids, missing=np.nan)
    missing = minimum.ids[np.isnan(rows[:, 0])]
    if minimum.engine.any(len(missing) > 0):
        example = minimum.engine.max(float(missing.max(initial=-1)))
        raise LammpsImplicitError(f"{label} has no atom {example:.0f}, which {name} has")
    return rows


def _relax(target: StationaryPoint, label: str) -> None:
    """Relax a target, and warn if it leaves the place where it was put: perhaps it is then another structure."""
    farthest = target.relax_away(1e-8)  # eV/Å, the default of relaxations
    if farthest > FAR and target.engine.comm.rank == 0:
        warnings.warn(
            f"{label} moved by up to {farthest:.3g} {target.units.length} from where its deck ends when it was "
            "relaxed: it may now be another structure than the one meant; look at it, or write 'relax: false'",
            stacklevel=2,
        )
