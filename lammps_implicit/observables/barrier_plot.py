"""Figure of the energy along a path over a barrier."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator

from lammps_implicit.arrays import FloatArray
from lammps_implicit.files import label
from lammps_implicit.saddles.path import Path
from lammps_implicit.units import Units

_POINTS = 400
"""Points of a smooth curve. Chosen."""


def plot_path(path: Path, units: Units, deviations: FloatArray | None = None, fixed_cell: bool = True) -> Any:
    """Energy along a path above the initial minimum, with its images, minima and saddles.

    Between images the curve is a monotone cubic, whose extrema are those of the images.

    Parameters
    ----------
    path : Path
    units : Units
    deviations : (m,) float array, optional
        Standard deviation of the energy of each image, drawn as a band.
    fixed_cell : bool
        Whether the barrier is one at fixed cell, as the path is.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    energies = path.energies - path.energies[0]
    minima, saddles = path.stations[::2], path.stations[1::2]
    top = saddles[np.argmax(energies[saddles])]
    x = np.unique(np.concatenate([np.linspace(0, path.distances[-1], _POINTS), path.distances]))
    curve = PchipInterpolator(path.distances, energies)(x)
    figure = Figure(figsize=(6, 4), layout="constrained", dpi=150)
    axes = figure.subplots()
    if deviations is not None:
        spread = PchipInterpolator(path.distances, deviations)(x)
        axes.fill_between(x, curve - spread, curve + spread, color="C0", alpha=0.25, lw=0, label="one deviation")
    axes.plot(x, curve, color="C0", lw=1.2)
    axes.plot(path.distances, energies, "o", color="C0", ms=3, label="images")
    axes.plot(path.distances[minima], energies[minima], "s", color="C2", ms=6, label="minima")
    axes.plot(path.distances[saddles], energies[saddles], "^", color="C3", ms=7, label="saddles")
    for place, level, name, side in (
        (minima[0], energies[0], "forward", "left"),
        (minima[-1], energies[minima[-1]], "backward", "right"),
    ):
        height = energies[top] - level
        x_end, x_top = path.distances[place], path.distances[top]
        axes.plot([x_end, x_top], [energies[top]] * 2, color="0.6", lw=0.8, ls=":", zorder=0)
        axes.annotate("", (x_end, energies[top]), (x_end, level), arrowprops={"arrowstyle": "<->", "color": "0.4"})
        shift = 5 if side == "left" else -5
        axes.annotate(
            f"{name} {height:.4g} {label(units.energy)}",
            (x_end, energies[top]),
            (shift, 12),  # above the line through the saddle, which no image is above
            textcoords="offset points",
            ha=side,
            fontsize="small",
            color="0.3",
        )
    axes.set_xlabel(label(f"distance along the path ({units.length})"))
    axes.set_ylabel(label(f"energy above the initial minimum ({units.energy})"))
    if not fixed_cell:
        axes.set_title("in the cell of the initial minimum", fontsize="medium")
    axes.margins(y=0.12)
    figure.legend(fontsize="small", loc="outside lower center", ncols=4, frameon=False)
    return figure
