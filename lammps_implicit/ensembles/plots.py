"""Figures of propagated ensembles and of their validation. All functions return a matplotlib ``Figure``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lammps_implicit.ensembles.files import Propagated
from lammps_implicit.ensembles.propagation import ORDERS, Distribution
from lammps_implicit.ensembles.shards import DONE, Records
from lammps_implicit.files import label

DIRECTIONS = 4
"""Number of principal directions in the corner plot, whose panels grow with its square."""

DOTS = 4000
"""Largest number of samples in a scatter plot; more would overlap."""

BARS = 10
"""Number of parameters shown for each observable."""

ATOMS = 20_000
"""Largest number of atoms in a map; of larger structures those with the most uncertain positions are shown."""


def histograms(distributions: Mapping[str, Distribution], records: Records | None = None) -> Any:
    """Histograms of every observable to each order, over those of the samples that were relaxed again.

    Parameters
    ----------
    distributions : mapping of str to Distribution
    records : Records, optional
        Merged validation.
    """
    figure, axes = _panels(len(distributions))
    for (name, distribution), panel in zip(distributions.items(), axes, strict=False):
        low, high = np.quantile(distribution.estimates[-1], [0.001, 0.999])
        pad = 0.1 * (high - low) or 1e-9
        bins = np.linspace(low - pad, high + pad, 61)
        if records is not None and name in records.names:
            true = records.true[records.status == DONE, records.names.index(name)]
            coarse = np.linspace(bins[0], bins[-1], int(np.clip(np.sqrt(len(true)), 8, 60)) + 1)
            panel.hist(true, coarse, density=True, color="0.8", label="relaxed again")
        for number, estimate in enumerate(distribution.estimates):
            style = {"histtype": "step", "density": True, "color": f"C{number}", "label": f"{ORDERS[number]} order"}
            panel.hist(estimate, bins, **style)
        panel.axvline(distribution.value, color="0.3", lw=0.8, ls=":")
        panel.set_xlabel(label(f"{name} ({distribution.units})"), fontsize="small")
        panel.set(yticks=[])
    _legend(figure, axes)
    return figure


def parity(records: Records) -> Any:
    """Predicted against relaxed values of every observable, with estimated errors as bars; flagged samples are hollow.

    Parameters
    ----------
    records : Records
        Merged validation.
    """
    figure, axes = _panels(len(records.names))
    done = records.status == DONE
    for column, panel in zip(range(len(records.names)), axes, strict=False):
        orders = records.estimates[:, column]
        best = orders[:, np.flatnonzero(~np.isnan(orders).all(axis=0))[-1]]
        true, error = records.true[:, column], np.nan_to_num(records.errors[:, column])
        both = np.concatenate([true[done], records.values[column : column + 1]])
        ends = [float(both.min()), float(both.max())]
        panel.plot(ends, ends, color="0.6", lw=1, zorder=0)
        for flagged, face, trust in ((False, "C0", "trusted"), (True, "white", "flagged")):
            here = done & (records.flagged == flagged)
            style = {"fmt": "o", "ms": 3, "mfc": face, "color": "C3" if flagged else "C0", "lw": 0.6, "label": trust}
            panel.errorbar(true[here], best[here], yerr=error[here], **style)
        panel.set_xlabel(label(f"{records.names[column]} ({records.units[column]})"), fontsize="small")
    figure.suptitle("Predicted (vertical) against relaxed again (horizontal)", fontsize="medium")
    _legend(figure, axes)
    return figure


def corner(propagated: Propagated) -> Any:
    """Corner plot of the samples' scores along the principal directions, flagged samples in red.

    Parameters
    ----------
    propagated : Propagated

    Returns
    -------
    matplotlib.figure.Figure or None
        None if the ensemble has no spread.
    """
    from matplotlib.figure import Figure

    scores = propagated.principal.scores[:, :DIRECTIONS]
    count = scores.shape[1]
    if not count:
        return None
    figure = Figure(figsize=(1.0 + 1.8 * count, 1.0 + 1.8 * count), layout="constrained", dpi=130)
    axes = figure.subplots(count, count, squeeze=False)
    shown = np.arange(0, len(scores), max(1, len(scores) // DOTS))
    colours = np.where(propagated.flagged[shown], "C3", "C0")
    for row in range(count):
        for column in range(count):
            panel = axes[row, column]
            if column > row:
                panel.set_axis_off()
            elif row == column:
                panel.hist(scores[:, row], 40, color="0.7")
                panel.set(yticks=[])
            else:
                panel.scatter(scores[shown, column], scores[shown, row], s=2, c=colours, alpha=0.5, lw=0)
            if row == count - 1 and column <= row:
                panel.set_xlabel(f"direction {column + 1}\n({propagated.principal.shares[column]:.0%})")
    figure.suptitle("Principal directions of the ensemble, in standard deviations; red: flagged", fontsize="medium")
    return figure


def drivers(distributions: Mapping[str, Distribution], names: Sequence[str]) -> Any:
    """Shares of the variance of each observable: by parameter, and by principal direction.

    Parameters
    ----------
    distributions : mapping of str to Distribution
    names : sequence of str
        Labels of the parameters.
    """
    from matplotlib.figure import Figure

    rows = len(distributions)
    figure = Figure(figsize=(9.0, 0.8 + 1.7 * rows), layout="constrained", dpi=130)
    axes = figure.subplots(rows, 2, squeeze=False)
    for (name, distribution), (left, right) in zip(distributions.items(), axes, strict=True):
        ranked = np.argsort(np.abs(distribution.parameter_shares))[::-1][:BARS]
        left.bar(range(len(ranked)), distribution.parameter_shares[ranked], color="C0")
        left.set_xticks(range(len(ranked)), [label(names[index]) for index in ranked], fontsize="x-small")
        left.set_title(label(f"{name}: parameters"), fontsize="small")
        ranked = np.argsort(distribution.direction_shares)[::-1][:BARS]
        right.bar(range(len(ranked)), distribution.direction_shares[ranked], color="C1")
        right.set_xticks(range(len(ranked)), [str(index + 1) for index in ranked], fontsize="x-small")
        right.set_title(label(f"{name}: principal directions"), fontsize="small")
    figure.suptitle("Shares of the variance, first order", fontsize="medium")
    return figure


def sensitivity_map(propagated: Propagated) -> Any:
    """Map of the atoms, seen along z and coloured by the standard deviation of their position.

    Parameters
    ----------
    propagated : Propagated

    Returns
    -------
    matplotlib.figure.Figure or None
        None if the result has no structure.
    """
    from matplotlib.figure import Figure

    if propagated.deviations is None or propagated.positions is None:
        return None
    order = np.argsort(propagated.deviations)[-ATOMS:]
    figure = Figure(figsize=(5.6, 4.8), layout="constrained", dpi=130)
    axes = figure.subplots()
    x, y, _ = propagated.positions[order].T
    size = float(np.clip(4000 / len(order), 1, 30))
    image = axes.scatter(x, y, s=size, c=propagated.deviations[order], cmap="viridis", lw=0)
    axes.set(aspect="equal", xlabel="x", ylabel="y", title="Standard deviation of each atom's position")
    figure.colorbar(image)
    return figure


def _panels(count: int) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.4 * columns, 0.6 + 2.7 * rows), layout="constrained", dpi=130)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for number, panel in enumerate(axes):
        if number >= count:
            panel.set_axis_off()
        panel.ticklabel_format(useOffset=False)
        panel.tick_params(labelsize="x-small")
        panel.locator_params(axis="x", nbins=5)
    return figure, axes


def _legend(figure: Any, axes: list[Any]) -> None:
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize="small")
