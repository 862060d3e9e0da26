"""Screw dislocations along z in bcc metals: where the core is, and differential displacement (Vitek) maps.

Core positions come from fitting the elastic solution to the relative displacements of neighbours (matscipy's
``fit_core_position``), maps from the relative displacements along the line (V. Vitek, R. C. Perrin, D. K. Bowen, Phil.
Mag. 21, 1049 (1970)). Needs matscipy and atomman: ``pip install "lammps_implicit[structures]"``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.files import write_figure

CORE_RADIUS = 10.0
"""Å around the middle within which the elastic solution is fitted."""

MAP_RADIUS = 7.0
"""Å; half the width of a map."""


def core_position(
    atoms: Any, perfect: Any, elastic: Sequence[float], reversed_: bool = False, guess: Sequence[float] = (0.0, 0.0)
) -> FloatArray:
    """Where the elastic solution around a screw dislocation fits best, (2,), Å from the middle of the cell.

    Parameters
    ----------
    atoms, perfect : ase.Atoms
        With and without the dislocation, atom by atom, from matscipy's ``make_screw_cyl`` or as it makes them: x along
        [11-2], y along [-110], z along [111].
    elastic : sequence of float
        Lattice constant, Å, and C11, C12, C44.
    reversed_ : bool
        Whether the Burgers vector points along -z: a hard core where it would be an easy one.
    guess : sequence of float
        Where to start.
    """
    try:
        from matscipy.dislocation import fit_core_position
    except ImportError as error:
        raise _missing(error) from None
    moved, reference = _centred(atoms, perfect)
    found = fit_core_position(
        moved, reference, list(elastic), hard_core=reversed_, core_radius=CORE_RADIUS, current_pos=list(guess)
    )
    return np.asarray(found, np.float64)


def plot_maps(
    path: Path,
    structures: Mapping[str, Any],
    perfect: Any,
    lattice: float,
    marked: int | None = None,
    positions: Mapping[str, FloatArray] | None = None,
) -> None:
    """Draw a differential displacement map of each structure, side by side.

    Parameters
    ----------
    path : Path
        PNG file.
    structures : mapping of str to ase.Atoms
        Title to structure, each with the atoms of `perfect`.
    perfect : ase.Atoms
    lattice : float
        Å.
    marked : int, optional
        Row of an atom to mark: a solute.
    positions : mapping of str to (2,) float array, optional
        Cores, by title.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(structures), 4.4), layout="constrained", dpi=150)
    panels = np.atleast_1d(figure.subplots(1, len(structures)))
    columns = (perfect.positions - _middle(perfect))[:, :2]
    shown = np.abs(columns).max(axis=1) < MAP_RADIUS
    for axes, (title, atoms) in zip(panels, structures.items(), strict=True):
        places, arrows = differential_displacements(atoms, perfect, lattice)
        heights = perfect.positions[shown, 2] % perfect.cell[2, 2]
        axes.scatter(*columns[shown].T, c=np.round(heights / perfect.cell[2, 2], 3) % 1, cmap="Greys", ec="k", s=60)
        axes.quiver(*places.T, *arrows.T, pivot="mid", angles="xy", scale_units="xy", scale=1, width=0.006)
        if marked is not None:
            axes.plot(*columns[marked], "s", ms=14, mfc="none", mec="C3", mew=2)
        if positions is not None and title in positions:
            axes.plot(*positions[title], "x", color="C0", ms=11, mew=3)
        axes.set_title(title, fontsize="medium")
        axes.set(xlim=(-MAP_RADIUS, MAP_RADIUS), ylim=(-MAP_RADIUS, MAP_RADIUS), xlabel="x, Å", aspect="equal")
    panels[0].set(ylabel="y, Å")
    write_figure(path, figure, overwrite=True)


def differential_displacements(atoms: Any, perfect: Any, lattice: float) -> tuple[FloatArray, FloatArray]:
    """Arrows between neighbouring columns: their middles and vectors, (m, 2) each, Å.

    Each says how far the dislocation moved one column along its line against the other, (-b/2, b/2]: b/3 is an arrow
    that reaches from column to column, as around an easy core.

    Parameters
    ----------
    atoms, perfect : ase.Atoms
        As for `core_position`.
    lattice : float
        Å.
    """
    try:
        from matscipy.neighbours import neighbour_list
    except ImportError as error:
        raise _missing(error) from None
    moved, reference = _centred(atoms, perfect)
    first, second, apart = neighbour_list("ijD", reference, 0.95 * lattice)
    along = np.linalg.norm(apart[:, :2], axis=1) > 0.1 * lattice  # columns, not atoms of one column
    first, second, apart = (array[along & (first < second)] for array in (first, second, apart))
    burgers = reference.cell[2, 2]
    shift = (moved.positions - reference.positions)[:, 2]
    relative = shift[second] - shift[first]
    relative -= burgers * np.ceil(relative / burgers - 0.5)
    arrows = apart[:, :2] * (3 * relative / burgers)[:, None]
    return reference.positions[first, :2] + apart[:, :2] / 2, np.asarray(arrows, np.float64)


def _centred(atoms: Any, perfect: Any) -> tuple[Any, Any]:
    """Both with the middle of the perfect crystal at the origin."""
    _require_same_atoms(atoms, perfect)
    moved, reference = atoms.copy(), perfect.copy()
    moved.set_cell(perfect.cell)
    for found in (moved, reference):
        found.positions -= _middle(perfect)
        found.pbc = (False, False, True)
    return moved, reference


def _middle(perfect: Any) -> FloatArray:
    return np.asarray(np.diag(perfect.cell) / 2 * (1, 1, 0))


def _require_same_atoms(atoms: Any, perfect: Any) -> None:
    if len(atoms) != len(perfect):
        raise LammpsImplicitError(f"a structure of {len(atoms)} atoms and a perfect crystal of {len(perfect)}")


def _missing(error: ImportError) -> LammpsImplicitError:
    return LammpsImplicitError(f'{error}: run pip install "lammps_implicit[structures]"')
