"""Figure of thermal functions over temperature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.files import label
from lammps_implicit.observables.thermal_curves import Curve

_PANELS = ("free energy", "formation free energy", "formation entropy", "volume", "thermal expansion")
"""Curves that have a panel, by the beginning of their names."""


def plot_curves(temperatures: FloatArray, temperature_units: str, curves: Sequence[Curve]) -> Any:
    """A panel each for the free energy and, where known, formation, volume and expansion, with their deviations.

    Parameters
    ----------
    temperatures : (T,) float array
    temperature_units : str
    curves : sequence of Curve

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    panels = [[curve for curve in curves if curve.name.startswith(beginning)] for beginning in _PANELS]
    panels = [panel for panel in panels if panel]
    columns = 2 if len(panels) > 1 else 1
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.1 * rows), layout="constrained", dpi=150)
    grid = np.atleast_1d(figure.subplots(rows, columns)).reshape(-1)
    order = np.argsort(temperatures)
    for axes, panel in zip(grid, panels, strict=False):
        for number, curve in enumerate(panel):
            _draw(axes, temperatures[order], curve, order, f"C{number}", len(panel) > 1)
        name = panel[0].name if len(panel) == 1 else "thermal expansion"
        axes.set_ylabel(label(f"{name} ({panel[0].units})"))
        axes.grid(alpha=0.3)
        axes.margins(x=0.02)
        axes.set_xlabel(f"temperature ({temperature_units})")
        if len(panel) > 1:
            axes.legend(fontsize="small", frameon=False)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    if any(curve.deviation is not None for panel in panels for curve in panel):
        figure.suptitle(
            "lines: at the given parameters; bands: mean ± one deviation of the ensemble", fontsize="small", color="0.4"
        )
    return figure


def _draw(axes: Any, x: FloatArray, curve: Curve, order: IntArray, colour: str, named: bool) -> None:
    values = curve.values[order]
    style = "o-" if len(x) < 2 else "-"
    axes.plot(x, values, style, color=colour, lw=1.4, label=curve.name.split()[-1] if named else None)
    if curve.mean is not None and curve.deviation is not None:
        middle = curve.mean[order]
        spread = curve.deviation[order]
        axes.fill_between(x, middle - spread, middle + spread, color=colour, alpha=0.25, lw=0)
    if np.any(curve.error > 0):
        axes.errorbar(x, values, curve.error[order], fmt="none", ecolor=colour, elinewidth=0.8, capsize=2)
