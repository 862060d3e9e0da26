"""Figures of the demonstration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.files import write_figure


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    return figure, figure.subplots()


def displacement_parity(
    path: Path, sizes: Sequence[float], predicted: Sequence[FloatArray], true: Sequence[FloatArray], length: str
) -> None:
    """Plot predicted displacement components against those from re-relaxation, for several parameter changes.

    Parameters
    ----------
    path : Path
        PNG file; replaced if it exists.
    sizes : sequence of float
        Relative size of each parameter change.
    predicted, true : sequences of (N, 3) float arrays
        Displacements, in units of `length`, for each size.
    length : str
        Name of the unit of length.
    """
    figure, axes = _figure(5.0, 4.6)
    limit = 1.05 * max(float(np.abs(array).max()) for array in [*predicted, *true])
    axes.plot([-limit, limit], [-limit, limit], color="0.6", lw=1, zorder=0)
    for number in reversed(range(len(sizes))):
        x, y = true[number].ravel(), predicted[number].ravel()
        error = np.linalg.norm(x - y) / np.linalg.norm(x)
        axes.plot(
            x, y, "o", ms=3, alpha=0.7, label=f"{sizes[number]:.0%} change, error {error:.1%}", color=f"C{number}"
        )
    axes.set(
        xlabel=f"displacement from re-relaxation ({length})",
        ylabel=f"predicted displacement ({length})",
        title="Structure at changed parameters",
        xlim=(-limit, limit),
        ylim=(-limit, limit),
        aspect="equal",
    )
    axes.legend(frameon=False, fontsize="small")
    write_figure(path, figure, overwrite=True)


def shell_sensitivity(
    path: Path, shells: FloatArray, displacements: FloatArray, names: Sequence[str], length: str
) -> None:
    """Plot the displacement of each shell of atoms around the defect for a 1 % change of each parameter.

    Parameters
    ----------
    path : Path
        PNG file; replaced if it exists.
    shells : (S,) float array
        Mean distance of each shell from the defect.
    displacements : (S, P) float array
        Root-mean-square displacement of each shell's atoms for a 1 % change of each parameter.
    names : sequence of str
        Labels of the P parameters.
    length : str
        Name of the unit of length.
    """
    from matplotlib.colors import LogNorm

    figure, axes = _figure(8.5, 3.6)
    top = float(displacements.max())
    image = axes.imshow(
        np.maximum(displacements, 1e-4 * top),
        aspect="auto",
        origin="lower",
        norm=LogNorm(1e-4 * top, top),
        cmap="viridis",
    )
    ticks = range(0, len(names), max(1, len(names) // 14))
    axes.set_xticks(ticks, [names[tick] for tick in ticks], rotation=60, fontsize="small")
    axes.set_yticks(range(len(shells)), [f"{distance:.2f}" for distance in shells], fontsize="small")
    axes.set(
        xlabel="parameter",
        ylabel=f"shell: distance from defect ({length})",
        title="Displacement for a 1 % change of one parameter",
    )
    figure.colorbar(image, ax=axes, label=f"rms displacement ({length})")
    write_figure(path, figure, overwrite=True)


def energy_convergence(path: Path, sizes: FloatArray, errors: dict[str, tuple[int, FloatArray]], energy: str) -> None:
    """Plot errors of predicted energies against the size of the parameter change, with the expected slopes.

    Parameters
    ----------
    path : Path
        PNG file; replaced if it exists.
    sizes : (M,) float array
        Relative size of each parameter change.
    errors : dict of str to (int, (M,) float array)
        Label to (expected slope, errors in units of `energy`).
    energy : str
        Name of the unit of energy.
    """
    figure, axes = _figure(5.4, 4.4)
    for number, (label, (slope, error)) in enumerate(errors.items()):
        axes.loglog(sizes, error, "o", ms=5, color=f"C{number}", label=label)
        axes.loglog(sizes, error[0] * (sizes / sizes[0]) ** slope, "-", lw=1, color=f"C{number}", alpha=0.6)
    axes.plot([], [], "-", color="0.5", lw=1, label="expected slope")
    axes.set(
        xlabel="relative change of the parameters",
        ylabel=f"error of the predicted energy ({energy})",
        title="Convergence of the energy expansion",
    )
    axes.legend(frameon=False, fontsize="small")
    write_figure(path, figure, overwrite=True)
