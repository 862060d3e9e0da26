"""The plot of a conformance report."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np

from lammps_implicit.conformance.finding import Verdict
from lammps_implicit.conformance.report import Conformance
from lammps_implicit.conformance.smoothness import Smoothness
from lammps_implicit.conformance.steps import Steps

_COLOURS = {Verdict.good: "#2a7f3f", Verdict.limited: "#b36b00", Verdict.bad: "#b3261e", Verdict.unmeasured: "#666666"}


def plot_conformance(report: Conformance) -> Any:
    """Plot slopes of forces along the lines, errors against steps, and all findings as a list.

    Parameters
    ----------
    report : Conformance

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8.5), layout="constrained", dpi=130)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.0, 1.1))
    above, below = parts
    left, right = above.subplots(1, 2)
    _plot_slopes(left, report.smoothness, report.length)
    _plot_steps(right, report.steps)
    _list_findings(below, report)
    title = f"{report.deck}: {report.summary}"
    figure.suptitle(_plain(title), color=_COLOURS[report.verdict], fontsize=12, parse_math=False)
    return figure


def _plot_slopes(axes: Any, known: Smoothness | None, length: str) -> None:
    axes.set_title("Slopes of forces along random lines, less a smooth curve", fontsize=10)
    axes.set(xlabel=f"distance along the line, {length}", ylabel="relative deviation of the slope")
    if known is None:
        return
    for one in known.scans:
        middle = (one.t[1:] + one.t[:-1]) / 2
        axes.plot(middle, np.maximum(one.roughness(), 1e-16), ".-", lw=0.8, ms=3, label=f"line {one.number}")
    axes.set_yscale("log")
    axes.ticklabel_format(axis="x", style="sci", scilimits=(0, 0))
    for kink in known.kinks:
        axes.axvline(kink.t, color="#b3261e", lw=0.8, ls=":")
        if kink.pair is not None:
            text = f"{kink.pair.ids[0]}-{kink.pair.ids[1]}: {kink.pair.radius:.5g} {length}"
            place = axes.get_xaxis_transform()
            axes.text(kink.t, 0.02, text, transform=place, rotation=90, fontsize=7, va="bottom", ha="right")
    axes.legend(fontsize=6, ncols=2, loc="upper right")


def _plot_steps(axes: Any, known: tuple[Steps, ...]) -> None:
    axes.set_title("Error of differences against their step", fontsize=10)
    for steps, colour in zip(known, ("#1f5f8b", "#8b4a1f"), strict=False):
        axes.loglog(steps.steps, steps.central, "o-", color=colour, ms=4, label=f"{steps.what}, central")
        axes.loglog(steps.steps, steps.one_sided, "o:", color=colour, ms=3, lw=1, label=f"{steps.what}, one-sided")
    unit = next((steps.unit for steps in known if steps.unit), "")
    axes.set(xlabel=f"step ({unit}; strains: 1)", ylabel="relative error")
    axes.grid(alpha=0.3)
    if known:
        axes.legend(fontsize=7)


def _list_findings(figure: Any, report: Conformance) -> None:
    axes = figure.subplots()
    axes.set_axis_off()
    rows: list[tuple[str, str, Verdict]] = []
    for finding in report.findings:
        text = textwrap.wrap(_plain(finding.text), 120)[:3] or [""]
        rows += [(finding.name if not k else "", line, finding.verdict) for k, line in enumerate(text)]
    height = 1 / max(len(rows), 18)
    for k, (name, line, verdict) in enumerate(rows):
        y = 1 - (k + 0.5) * height
        if name:
            axes.text(0.0, y, verdict.value, color=_COLOURS[verdict], fontsize=7.5, va="center", weight="bold")
            axes.text(0.075, y, name, fontsize=7.5, va="center")
        axes.text(0.25, y, line, fontsize=7.5, va="center", parse_math=False)
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _plain(text: str) -> str:
    """Text of a deck's names without what fonts cannot show."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
