"""`Barrier`: two minima and the saddle between them, each with all its derivatives."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from typing_extensions import Self

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError, NotAMinimumError
from lammps_implicit.mpi.ownership import fetch
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.saddles.connecting import SAME, Search
from lammps_implicit.saddles.index import negative_modes, the_negative_mode
from lammps_implicit.saddles.path import Path, gradients_along, path_through
from lammps_implicit.solvers.nullspace import rigid_motions, unresisted
from lammps_implicit.solvers.softest import Mode
from lammps_implicit.stationary.checks import check_positive, require_same_atoms
from lammps_implicit.stationary.comparable import pair_label, require_comparable, require_same_cell
from lammps_implicit.stationary.point import StationaryPoint

_SAME_FROZEN = 1e-6
"""Å; difference of frozen coordinates that is rounding, of data files with seven digits after the point."""

IMAGES = 5
"""Default number of images between the ends of a band."""

ACROSS = 0.05
"""eV/Å; default of the largest force across the path at which it is no longer relaxed. As usual for bands."""


@dataclass(repr=False)
class Barrier:
    """Two minima and the highest saddle on the way from one to the other.

    Create one with `between`. The saddle has an evaluator of its own: use the barrier as a context manager, or call
    `close`, to end it. Energies are enthalpies where cells are relaxed at a pressure.

    Attributes
    ----------
    initial, final : StationaryPoint
    saddle : StationaryPoint
        A stationary point as the others are, with all their products; `saddle.saddle` is true.
    mode : Mode
        Its negative mode; rows are those of `saddle.ids`.
    between_energies : tuple of float
        Energies of the minima between the ends, in the cell of the initial one, eV; empty if there are none.
    saddle_energies : tuple of float
        Energies of all saddles on the way, in the same cell.
    path : Path or None
        The minimum-energy path at the cell of the initial minimum, if it was requested.
    spent : dict of str to int
        Force evaluations of the search, by what they were spent on.
    """

    initial: StationaryPoint
    saddle: StationaryPoint
    final: StationaryPoint
    mode: Mode
    between_energies: tuple[float, ...] = ()
    saddle_energies: tuple[float, ...] = ()
    path: Path | None = None
    spent: dict[str, int] = field(default_factory=dict)

    @classmethod
    def between(
        cls,
        initial: StationaryPoint,
        final: StationaryPoint,
        *,
        ftol: float = 1e-8,
        images: int = IMAGES,
        path: bool = False,
        path_gradients: bool = False,
        across: float = ACROSS,
        progress: Progress = no_progress,
    ) -> Self:
        """Find the highest saddle between two minima of the same atoms.

        Parameters
        ----------
        initial, final : StationaryPoint
            Relaxed, with the same potential, and with the same cell unless both are relaxed with their cells. They are
            left as they are.
        ftol : float
            Largest force component at the saddle, eV/Å.
        images : int
            Images between the ends of a band.
        path : bool
            Whether to relax the minimum-energy path too.
        path_gradients : bool
            Whether to take ∂U/∂Θ at each image of that path.
        across : float
            Largest force across that path, eV/Å.
        progress : callable, optional
            Called with (steps done, steps expected) of each climb to a saddle.

        Returns
        -------
        Barrier

        Raises
        ------
        LammpsImplicitError
            If atoms, cells, potentials or frozen components differ, the two are the same structure, or atoms would pass
            through each other.
        ConvergenceError
            If no saddle is found.
        NotAMinimumError
            If what is found has not exactly one negative mode.

        Examples
        --------
        >>> from lammps_implicit import Barrier, Minimum
        >>> with (
        ...     Minimum.from_deck("lammps_scripts/in.ta_vacancy_hop", variables={"hop": "0"}) as start,
        ...     Minimum.from_deck("lammps_scripts/in.ta_vacancy_hop", variables={"hop": "1"}) as end,
        ...     Barrier.between(start, end) as barrier,
        ... ):
        ...     print(f"{barrier.forward:.3f} eV")
        1.123 eV
        """
        check_positive(ftol, "ftol")
        check_positive(across, "across")
        if not isinstance(images, int) or isinstance(images, bool) or images < 1:
            raise LammpsImplicitError(f"images = {images!r} is not a positive whole number")
        require_comparable([initial, final])
        require_same_atoms(initial.engine, final.engine, f"{pair_label(initial, final)}: the second")
        require_same_cell([initial, final])
        end = carried(initial, final)
        _require_other_place(initial, final, end)
        saddle = initial.twin(saddle=False)
        try:
            doubt = partial(_require_minima, initial, final)
            search = Search(saddle, ftol * saddle.units.force_factor, images, progress, doubt)
            chain = search.connect(search.frame.visit(fetch(initial.engine.comm, initial.ids, end, search.frame.ids)))
            chain, mode = search.verified(chain)
            found = None
            if path:
                found = path_through(search, chain, images, across * saddle.units.force_factor)
                if path_gradients:
                    found = replace(found, energy_gradients=gradients_along(search, found))
                search.stand_at(chain.saddles[chain.highest])
            mode = replace(mode, vector=fetch(saddle.engine.comm, search.frame.ids, mode.vector, saddle.ids))
            if not initial.freedom.fixed:
                saddle.relax(ftol, cell=initial.freedom)
                mode = the_negative_mode(saddle)
        except BaseException:
            saddle.close()
            raise
        between = tuple(minimum.energy for minimum in chain.minima[1:-1])
        saddles = tuple(one.at.energy for one in chain.saddles)
        return cls(initial, saddle, final, mode, between, saddles, found, dict(search.spent))

    def __repr__(self) -> str:
        unit, saddles = self.saddle.units.energy, len(self.saddle_energies)
        return (
            f"<Barrier between {pair_label(self.initial, self.final)}: {self.forward:.6g} {unit} forward, "
            f"{self.backward:.6g} {unit} backward, {saddles} saddle{'s' if saddles > 1 else ''} on the way>"
        )

    @property
    def forward(self) -> float:
        """Energy of the saddle minus that of the initial minimum, eV in ``units metal``."""
        return self.saddle.enthalpy - self.initial.enthalpy

    @property
    def backward(self) -> float:
        """Energy of the saddle minus that of the final minimum, eV in ``units metal``."""
        return self.saddle.enthalpy - self.final.enthalpy

    def gradient(self) -> FloatArray:
        """d(forward)/dΘ = ∂U/∂Θ at the saddle minus that at the initial minimum, (P,): no solve is needed."""
        return self.saddle.energy_gradient() - self.initial.energy_gradient()

    def hessian(self, tol: float = 1e-5) -> FloatArray:
        """d²(forward)/dΘ², (P, P), from the Jacobians of both to this relative tolerance."""
        hessians = [point.energy_hessian(tol, cell=point.freedom) for point in (self.saddle, self.initial)]
        return hessians[0] - hessians[1]

    def reversed(self) -> Barrier:
        """The same barrier from the other side."""
        return replace(self, initial=self.final, final=self.initial)

    def close(self) -> None:
        """End the evaluator of the saddle."""
        self.saddle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _require_minima(*points: StationaryPoint) -> None:
    """Check that end states are minima."""
    for point in points:
        if negative := negative_modes(point):
            raise NotAMinimumError(
                f"{point.deck_name or 'an end state'} is no minimum, as an end state must be: the energy falls along "
                f"{len(negative)} mode(s), along which symmetry holds it; move its atoms a little off their places "
                "before the deck minimises"
            )
        free = len(point.null_space().vectors) - len(rigid_motions(point.engine))
        if free > 0:
            raise LammpsImplicitError(
                f"{point.deck_name or 'an end state'} has {free} motions of its parts that cost no energy, such as "
                "molecules that turn freely, and structures that differ by them are not told apart: hold three atoms "
                "of each such part with 'fix setforce 0 0 0'"
            )


def carried(initial: StationaryPoint, final: StationaryPoint) -> FloatArray:
    """Positions of the final minimum, carried with its cell to that of the initial one, by the rows of the latter,
    Å."""
    here, there = initial.engine, final.engine
    positions = fetch(here.comm, final.ids, final.positions, initial.ids)
    return np.asarray((positions - there.origin) @ np.linalg.solve(there.cell, here.cell) + here.origin)


def _require_other_place(initial: StationaryPoint, final: StationaryPoint, end: FloatArray) -> None:
    """Check that the two are different minima, and that frozen components agree."""
    engine, what = initial.engine, pair_label(initial, final)
    moved = engine.nearest_image(end - initial.positions)
    free = fetch(engine.comm, final.ids, final.engine.free.astype(np.int64), initial.ids) > 0
    wrong = (free != engine.free) | (~engine.free & (np.abs(moved) > _SAME_FROZEN))
    lowest = -engine.max(-float(initial.ids[wrong.any(axis=1)].min(initial=2**53)))
    if lowest < 2**53:
        raise LammpsImplicitError(
            f"{what}: atom {int(lowest)} is frozen, and not alike in both: hold it in the same place"
        )
    moved = unresisted(engine).project(moved)
    if engine.max(float(np.linalg.norm(moved, axis=1).max(initial=0.0))) < SAME:
        raise LammpsImplicitError(f"{what} are the same structure: no barrier lies between them")
