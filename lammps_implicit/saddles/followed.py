"""The negative mode of a saddle that moves with the parameters."""

from __future__ import annotations

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.saddles.index import negative_modes, the_negative_mode
from lammps_implicit.solvers.softest import Mode
from lammps_implicit.stationary.point import StationaryPoint


class FollowedMode:
    """The one negative mode of a saddle, remembered to see cheaply that a saddle nearby still is one.

    Parameters
    ----------
    saddle : StationaryPoint
    mode : Mode, optional
        Its negative mode, if it is known; otherwise it is searched for.

    Attributes
    ----------
    ids : (n,) int array
        Ids of the rows that this rank holds.
    vector : (n, 3) float array
        The mode.
    curvature : float
        vᵀHv of it when it was found, eV/Å² in ``units metal``.

    Raises
    ------
    NotAMinimumError
        If there is no negative mode, or more than one.
    """

    ids: IntArray
    vector: FloatArray
    curvature: float

    def __init__(self, saddle: StationaryPoint, mode: Mode | None = None) -> None:
        self.renew(saddle, mode)

    def renew(self, saddle: StationaryPoint, mode: Mode | None = None) -> None:
        """Search for the mode again, at this structure; errors as above."""
        mode = the_negative_mode(saddle) if mode is None else mode
        self.ids, self.vector, self.curvature = saddle.ids.copy(), mode.vector, mode.curvature

    def require(self, saddle: StationaryPoint) -> None:
        """Check that there is a negative mode still, by one Hessian product; search again where it does not say so.

        A curvature below zero along any vector proves one negative mode, and not that it is the only one.

        Raises
        ------
        NotAMinimumError
            If there is none.
        """
        vector = fetch(saddle.engine.comm, self.ids, self.vector, saddle.ids)
        if not saddle.engine.dot(vector, saddle.hessian.one_sided(vector)) < 0:
            self.renew(saddle)


def no_saddle_any_more(point: StationaryPoint) -> str:
    """In what a saddle that was relaxed at other parameters is none any more; empty if it has one negative mode."""
    count = len(negative_modes(point))
    if count == 0:
        return "the saddle has merged with a minimum, and there is no barrier any more (no negative mode)"
    return "" if count == 1 else f"it is no saddle between two minima any more: it has {count} negative modes"
