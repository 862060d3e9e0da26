"""Figure of an inversion: decrease of the loss, and changes of the parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from lammps_implicit.files import label
from lammps_implicit.inverse.history import History

SHOWN = 40
"""Number of parameters shown, those that changed most: labels of more would overlap."""


def plot_history(history: History) -> Any:
    """Plot the loss and its terms over force evaluations, and the relative changes of the parameters.

    Parameters
    ----------
    history : History

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    iterations, initial = history.descent.history, history.initial
    figure = Figure(figsize=(11, 4), layout="constrained", dpi=150)
    left, right = figure.subplots(1, 2)
    forces = [iteration.forces for iteration in iterations]
    left.semilogy(forces, [iteration.loss for iteration in iterations], "ko-", label="loss")
    for name in iterations[0].terms if len(iterations[0].terms) > 1 else ():
        left.semilogy(
            forces, [max(iteration.terms[name], 1e-300) for iteration in iterations], ".--", label=label(name)
        )
    left.set(xlabel="force evaluations", ylabel="loss")
    left.legend(fontsize="small")
    change = iterations[-1].theta - initial.theta
    sizes = np.abs(initial.theta)
    shares = 100 * change / np.where(sizes > 0, sizes, np.median(sizes[sizes > 0]) if sizes.any() else 1.0)
    picked = np.sort(np.argsort(np.abs(shares))[::-1][:SHOWN])
    right.bar(range(len(picked)), shares[picked])
    right.set_xticks(range(len(picked)), [label(initial.names[k]) for k in picked], rotation=90, fontsize="x-small")
    right.set(ylabel="change, %")
    return figure
