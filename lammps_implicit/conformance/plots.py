"""The plot of a conformance report."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from lammps_implicit.conformance.finding import Verdict
from lammps_implicit.conformance.report import Conformance
from lammps_implicit.conformance.smoothness import Smoothness
from lammps_implicit.conformance.steps import Steps

_COLOURS = {Verdict.good: "#2a7f3f", Verdict.limited: "#b36b00", Verdict.bad: "#b3261e", Verdict.unmeasured: "#666666"}

_LOWEST = 1e-12
"""Least deviation and error shown: what is smaller is round-off, and drawn here."""


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
    jumps = report.smoothness.energy_jumps if report.smoothness is not None else ()
    left, right, *rest = above.subplots(1, 3 if jumps else 2)
    _plot_slopes(left, report.smoothness, report.length)
    _plot_steps(right, report.steps)
    for axes in rest:
        _plot_jumps(axes, jumps, report)
    _list_findings(below, report)
    title = f"{report.deck}: {report.summary}"
    figure.suptitle("\n".join(_lines(title, 110, 2)), color=_COLOURS[report.verdict], fontsize=12, parse_math=False)
    return figure


def _plot_slopes(axes: Any, known: Smoothness | None, length: str) -> None:
    axes.set_title("Slopes of forces along random lines,\nless a smooth curve", fontsize=10)
    axes.set(xlabel=f"distance along the line, {length}", ylabel="relative deviation of the slope")
    if known is None:
        return
    for one in known.scans:
        middle = (one.t[1:] + one.t[:-1]) / 2
        axes.plot(middle, np.maximum(one.roughness(), _LOWEST), ".-", lw=0.8, ms=3, label=f"line {one.number}")
    axes.set_yscale("log")
    axes.ticklabel_format(axis="x", style="sci", scilimits=(0, 0))
    for k, kink in enumerate(known.kinks):
        axes.axvline(kink.t, color="#b3261e", lw=0.8, ls=":")
        if kink.pair is not None:
            text = f"{kink.pair.ids[0]}-{kink.pair.ids[1]}: {kink.pair.radius:.5g} {length}"
            place = axes.get_xaxis_transform()
            axes.text(
                kink.t, 0.02 + 0.32 * (k % 3), text, transform=place, rotation=90, fontsize=7, va="bottom", ha="right"
            )
    largest = max((float(one.roughness().max()) for one in known.scans), default=0.0)
    axes.set_ylim(_LOWEST, max(10.0, 3 * largest))
    axes.legend(fontsize=6, loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)


def _plot_jumps(axes: Any, jumps: Sequence[tuple[int, float, float]], report: Conformance) -> None:
    axes.set_title("Jumps of the energy\nthat forces do not explain", fontsize=10)
    _, t, sizes = np.transpose(jumps)
    for sign, marker, colour in ((1, "^", "#1f5f8b"), (-1, "v", "#8b4a1f")):
        axes.plot(t[sign * sizes > 0], np.abs(sizes[sign * sizes > 0]), marker, color=colour, ms=4)
    unit = report.about.get("energy unit", "")
    axes.set(xlabel=f"distance along the line, {report.length}", ylabel=f"size, {unit} (up and down)", yscale="log")
    axes.ticklabel_format(axis="x", style="sci", scilimits=(0, 0))
    axes.grid(alpha=0.3)


def _plot_steps(axes: Any, known: tuple[Steps, ...]) -> None:
    axes.set_title("Error of differences\nagainst their step", fontsize=10)
    for steps, colour in zip(known, ("#1f5f8b", "#8b4a1f"), strict=False):
        axes.loglog(steps.steps, steps.central, "o-", color=colour, ms=4, label=f"{steps.what}, central")
        axes.loglog(steps.steps, steps.one_sided, "o:", color=colour, ms=3, lw=1, label=f"{steps.what}, one-sided")
    unit = next((steps.unit for steps in known if steps.unit), "")
    axes.set(xlabel=f"step ({unit}; strains: 1)", ylabel="relative error")
    axes.set_ylim(_LOWEST, 10.0)
    axes.grid(alpha=0.3)
    if known:
        axes.legend(fontsize=6.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))


def _list_findings(figure: Any, report: Conformance) -> None:
    axes = figure.subplots()
    axes.set_axis_off()
    rows: list[tuple[str, str, Verdict]] = []
    for finding in report.findings:
        text = _lines(finding.text, 130, 3)
        rows += [(finding.name if not k else "", line, finding.verdict) for k, line in enumerate(text)]
    height = 1 / max(len(rows), 18)
    for k, (name, line, verdict) in enumerate(rows):
        y = 1 - (k + 0.5) * height
        if name:
            axes.text(0.0, y, verdict.value, color=_COLOURS[verdict], fontsize=7.5, va="center", weight="bold")
            axes.text(0.085, y, name, fontsize=7.5, va="center")
        axes.text(0.25, y, line, fontsize=7.5, va="center", parse_math=False)
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _lines(text: str, width: int, most: int) -> list[str]:
    """Wrap a text into lines, with an ellipsis where it is cut."""
    return textwrap.wrap(_plain(text), width, max_lines=most, placeholder=" …") or [""]


def _plain(text: str) -> str:
    """Text of a deck's names without what fonts cannot show."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
