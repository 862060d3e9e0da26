"""Screw dislocations along z in bcc metals: core positions and differential displacement (Vitek) maps.

Core positions are fitted: the elastic solution to the relative displacements of neighbours (matscipy's
``fit_core_position``). Maps show relative displacements along the line (V. Vitek, R. C. Perrin, D. K. Bowen, Phil. Mag.
21, 1049 (1970)). Needs matscipy and atomman: ``pip install "lammps_implicit[structures]"``.
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
"""Å; radius around the centre of the cell within which the elastic solution is fitted: matscipy's default."""

MAP_RADIUS = 7.0
"""Å; half the width of a map: the core and two to three spacings of columns around it."""

NEIGHBOUR_CUTOFF = 0.95
"""Lattice constants; between the first and second neighbours of bcc, at 0.87 and 1."""

SAME_COLUMN = 0.1
"""Lattice constants; atoms closer than this, normal to the line, are in the same column. Columns are 0.82 apart."""


def core_position(
    atoms: Any, perfect: Any, elastic: Sequence[float], reversed_: bool = False, guess: Sequence[float] = (0.0, 0.0)
) -> FloatArray:
    """Position of a screw dislocation at which the elastic solution fits best.

    Parameters
    ----------
    atoms, perfect : ase.Atoms
        With and without the dislocation, with the same order of atoms, oriented as by matscipy's ``make_screw_cyl``: x
        along [11-2], y along [-110], z along [111].
    elastic : sequence of 4 float
        Lattice constant in Å; C11, C12 and C44 in GPa (only their ratios matter).
    reversed_ : bool
        Whether the Burgers vector points along -z, which makes a hard core of what would be an easy one.
    guess : sequence of 2 float
        Initial position in Å, relative to the centre of the cell.

    Returns
    -------
    (2,) float array
        Å, relative to the centre of the cell.

    Raises
    ------
    LammpsImplicitError
        If matscipy is not installed or the numbers of atoms differ.
    """
    try:
        from matscipy.dislocation import fit_core_position
    except ImportError as error:
        raise _missing_package(error) from None
    displaced, reference = _centred(atoms, perfect)
    found = fit_core_position(
        displaced, reference, list(elastic), hard_core=reversed_, core_radius=CORE_RADIUS, current_pos=list(guess)
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
    """Draw differential displacement maps of structures side by side.

    Parameters
    ----------
    path : Path
        PNG file; overwritten.
    structures : mapping of str to ase.Atoms
        Structures by title, each with the atoms of `perfect` in the same order.
    perfect : ase.Atoms
        The crystal without the dislocation.
    lattice : float
        Lattice constant, Å.
    marked : int, optional
        Index of an atom to mark, such as a solute.
    positions : mapping of str to (2,) float array, optional
        Core positions in Å relative to the centre of the cell, by title.

    Raises
    ------
    LammpsImplicitError
        If matscipy is not installed, numbers of atoms differ, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(structures), 4.4), layout="constrained", dpi=150)
    panels = np.atleast_1d(figure.subplots(1, len(structures)))
    columns = (perfect.positions - _centre(perfect))[:, :2]
    shown = np.abs(columns).max(axis=1) < MAP_RADIUS
    for axes, (title, atoms) in zip(panels, structures.items(), strict=True):
        midpoints, arrows = differential_displacements(atoms, perfect, lattice)
        heights = perfect.positions[shown, 2] % perfect.cell[2, 2]
        axes.scatter(*columns[shown].T, c=np.round(heights / perfect.cell[2, 2], 3) % 1, cmap="Greys", ec="k", s=60)
        axes.quiver(*midpoints.T, *arrows.T, pivot="mid", angles="xy", scale_units="xy", scale=1, width=0.006)
        if marked is not None:
            axes.plot(*columns[marked], "s", ms=14, mfc="none", mec="C3", mew=2)
        if positions is not None and title in positions:
            axes.plot(*positions[title], "x", color="C0", ms=11, mew=3)
        axes.set_title(title, fontsize="medium")
        axes.set(xlim=(-MAP_RADIUS, MAP_RADIUS), ylim=(-MAP_RADIUS, MAP_RADIUS), xlabel="x, Å", aspect="equal")
    panels[0].set(ylabel="y, Å")
    write_figure(path, figure, overwrite=True)


def differential_displacements(atoms: Any, perfect: Any, lattice: float) -> tuple[FloatArray, FloatArray]:
    """Arrows of a differential displacement map, between neighbouring columns of atoms.

    The length of an arrow is proportional to the displacement along the line of one column relative to the other,
    folded into (-b/2, b/2]. A relative displacement of b/3, as around an easy core, gives an arrow from column to
    column.

    Parameters
    ----------
    atoms, perfect : ase.Atoms
        As for `core_position`.
    lattice : float
        Lattice constant, Å.

    Returns
    -------
    midpoints, arrows : (m, 2) float arrays
        Å, relative to the centre of the cell.

    Raises
    ------
    LammpsImplicitError
        If matscipy is not installed or the numbers of atoms differ.
    """
    try:
        from matscipy.neighbours import neighbour_list
    except ImportError as error:
        raise _missing_package(error) from None
    displaced, reference = _centred(atoms, perfect)
    first, second, bonds = neighbour_list("ijD", reference, NEIGHBOUR_CUTOFF * lattice)
    between_columns = np.linalg.norm(bonds[:, :2], axis=1) > SAME_COLUMN * lattice
    first, second, bonds = (array[between_columns & (first < second)] for array in (first, second, bonds))
    burgers = reference.cell[2, 2]
    shift = (displaced.positions - reference.positions)[:, 2]
    relative = shift[second] - shift[first]
    relative -= burgers * np.ceil(relative / burgers - 0.5)
    arrows = bonds[:, :2] * (3 * relative / burgers)[:, None]
    return reference.positions[first, :2] + bonds[:, :2] / 2, np.asarray(arrows, np.float64)


def _centred(atoms: Any, perfect: Any) -> tuple[Any, Any]:
    """Copies of both, periodic along the line only, with the centre of the perfect crystal at the origin."""
    _require_same_atoms(atoms, perfect)
    displaced, reference = atoms.copy(), perfect.copy()
    displaced.set_cell(perfect.cell)
    for found in (displaced, reference):
        found.positions -= _centre(perfect)
        found.pbc = (False, False, True)
    return displaced, reference


def _centre(perfect: Any) -> FloatArray:
    return np.asarray(np.diag(perfect.cell) / 2 * (1, 1, 0))


def _require_same_atoms(atoms: Any, perfect: Any) -> None:
    if len(atoms) != len(perfect):
        raise LammpsImplicitError(
            f"the structure has {len(atoms)} atoms and the perfect crystal {len(perfect)}: give the same atoms"
        )


def _missing_package(error: ImportError) -> LammpsImplicitError:
    return LammpsImplicitError(f'{error}: run pip install "lammps_implicit[structures]"')
