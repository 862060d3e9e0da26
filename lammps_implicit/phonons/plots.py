"""Figures of bands and of densities of states, with their uncertainty, beside others."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.files import label
from lammps_implicit.phonons.crystal import Path as QPath
from lammps_implicit.phonons.files import StoredPhonons, named_segments
from lammps_implicit.units import decimal

_GREEK = {"GAMMA": "Γ", "DELTA": "Δ", "LAMBDA": "Λ", "SIGMA": "Σ"}

_COLUMNS = ("from", "to", "fraction", "frequency")


class Point(NamedTuple):
    """A measured frequency, some way from one end of a segment of the path to the other."""

    first: str
    last: str
    fraction: float
    frequency: float


def read_points(file: Path) -> list[Point]:
    """Measured frequencies.

    Parameters
    ----------
    file : Path
        CSV with the columns ``from`` and ``to``, names of the ends of a segment of the path, ``fraction`` of the way,
        and ``frequency``.

    Raises
    ------
    LammpsImplicitError
        If it cannot be read.
    """
    try:
        with open(file, encoding="utf-8-sig", newline="") as opened:
            rows = list(csv.DictReader(opened, skipinitialspace=True))
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise LammpsImplicitError(f"cannot read {file}: {reason}") from None
    if not rows or any(name not in rows[0] for name in _COLUMNS):
        raise LammpsImplicitError(
            f"{file}: expected measured points in columns {', '.join(_COLUMNS)}, as GAMMA,H,0.5,5.2 below that line"
        )
    points = []
    for number, row in enumerate(rows):
        try:
            fraction, frequency = (decimal(row[name] or "") for name in _COLUMNS[2:])
        except ValueError:
            raise LammpsImplicitError(f"{file}, line {number + 2}: fraction and frequency are not numbers") from None
        points.append(Point(_name(row["from"] or ""), _name(row["to"] or ""), fraction, frequency))
    return points


def on_path(file: Path, points: Sequence[Point], path: QPath) -> FloatArray:
    """Measured frequencies as points on a path.

    Parameters
    ----------
    file : Path
        Where they come from.
    points : sequence of Point
    path : crystal.Path

    Returns
    -------
    (K, 2) float array
        Distances along the path, and frequencies. A segment that occurs several times has its points at each.

    Raises
    ------
    LammpsImplicitError
        If a segment is not on the path.
    """
    placed = []
    for number, point in enumerate(points):
        found = _distances(path, (point.first, point.last), point.fraction)
        if not found or not 0 <= point.fraction <= 1:
            offered = ", ".join(f"{first}-{last}" for first, last in path.labels)
            raise LammpsImplicitError(
                f"{file}, line {number + 2}: no point {point.fraction:g} of the way from {point.first} to {point.last} "
                f"on the path {offered}"
            )
        placed += [(distance, point.frequency) for distance in found]
    return np.array(placed)


def _name(text: str) -> str:
    plain = text.strip()
    return next((name for name, letter in _GREEK.items() if letter == plain), plain)


def _distances(path: QPath, ends: Sequence[str], fraction: float) -> list[float]:
    """Where on the path a point between two ends is."""
    found = []
    for rows, first, last in named_segments(path):
        start, stop = path.distances[rows][[0, -1]]
        if ends == (first, last):
            found.append(float(start + fraction * (stop - start)))
        elif ends == (last, first):
            found.append(float(stop + fraction * (start - stop)))
    return found


def require_same_path(path: QPath, unit: str, other: StoredPhonons) -> None:
    """Check that the bands of a file can be drawn on a path.

    Raises
    ------
    LammpsImplicitError
        If its path has other segments, or its frequencies another unit.
    """
    if path.labels != other.path.labels:
        raise LammpsImplicitError(
            f"{other.source} has another path through the Brillouin zone: is it of another crystal structure?"
        )
    if unit != other.unit:
        raise LammpsImplicitError(f"{other.source} has frequencies in {other.unit}, not in {unit}")


def plot_bands(phonons: StoredPhonons, other: StoredPhonons | None = None, measured: FloatArray | None = None) -> Any:
    """Bands along the path, with the density of states at their side.

    Parameters
    ----------
    phonons : StoredPhonons
        With an ensemble, its bands of one and of two deviations are drawn.
    other : StoredPhonons, optional
        Of another potential, with the same path: see `require_same_path`.
    measured : (K, 2) float array, optional
        Of `on_path`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained", dpi=150)
    axes, side = figure.subplots(1, 2, sharey=True, width_ratios=(5, 1))
    shown = [(phonons, "C0"), *([] if other is None else [(other, "C1")])]
    for one, colour in shown:
        _draw_bands(axes, one, phonons.path, colour)
        _draw_density(side, one, colour)
    if measured is not None:
        axes.plot(*measured.T, "o", color="0.1", ms=4, mfc="white", mew=1.0, label="measured", zorder=4)
    _decorate(axes, phonons.path)
    axes.set_ylabel(f"frequency ({label(phonons.unit)})")
    lowest = min(float(one.frequencies.min()) for one, _ in shown)
    if lowest < 0:
        place = {"transform": axes.transAxes, "ha": "right", "va": "bottom"}
        axes.text(0.99, 0.01, "below zero: imaginary", fontsize="x-small", color="0.4", **place)
    else:
        axes.set_ylim(bottom=0)
    side.axhline(0, color="0.6", lw=0.6)
    side.set_xlim(left=0)
    side.set(xticks=[])
    side.set_xlabel("density of states")
    handles, names = _legend(axes)
    if len(names) > 1:
        figure.legend(handles, names, fontsize="small", loc="outside lower center", ncols=4, frameon=False)
    return figure


def plot_density(phonons: StoredPhonons, other: StoredPhonons | None = None) -> Any:
    """Density of states, with its uncertainty.

    Parameters
    ----------
    phonons, other : StoredPhonons
        As for `plot_bands`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained", dpi=150)
    axes = figure.subplots()
    for one, colour in [(phonons, "C0"), *([] if other is None else [(other, "C1")])]:
        _draw_density(axes, one, colour, turned=False, name=_called(one))
    axes.set_xlabel(f"frequency ({label(phonons.unit)})")
    axes.set_ylabel(f"density of states (modes per cell and {label(phonons.unit)})")
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    axes.legend(*_legend(axes), fontsize="small", frameon=False)
    return figure


def _legend(axes: Any) -> tuple[list[Any], list[str]]:
    """Handles and names of a legend, those of bands before those of their ribbons."""
    handles, names = axes.get_legend_handles_labels()
    order = np.argsort(names, kind="stable")
    return [handles[k] for k in order], [names[k] for k in order]


def _called(phonons: StoredPhonons) -> str:
    return label(phonons.source.stem)


def _draw_bands(axes: Any, phonons: StoredPhonons, along: QPath, colour: str) -> None:
    """Bands with their ribbons, at the distances of a path with the same segments."""
    name, spread = _called(phonons), phonons.bands
    places = list(named_segments(along))
    for number, (rows, _, _) in enumerate(named_segments(phonons.path)):
        start, stop = along.distances[places[number][0]][[0, -1]]
        own = phonons.path.distances[rows]
        x = start + (own - own[0]) / (own[-1] - own[0]) * (stop - start)
        for branch in range(phonons.frequencies.shape[1]):
            first = number == branch == 0
            if spread is not None:
                low2, low, _, high, high2 = spread.quantiles[:, rows, branch]
                axes.fill_between(x, low2, high2, color=colour, alpha=0.12, lw=0)
                axes.fill_between(
                    x, low, high, color=colour, alpha=0.3, lw=0, label=f"{name}, 68 % and 95 %" if first else None
                )
            axes.plot(x, phonons.frequencies[rows, branch], color=colour, lw=1.2, label=name if first else None)


def _draw_density(axes: Any, phonons: StoredPhonons, colour: str, turned: bool = True, name: str = "") -> None:
    density = phonons.density
    fill = axes.fill_betweenx if turned else axes.fill_between
    if density.spread is not None:
        low2, low, _, high, high2 = density.spread.quantiles
        fill(density.frequencies, low2, high2, color=colour, alpha=0.12, lw=0)
        shown = {} if turned else {"label": f"{name}, 68 % and 95 %"}
        fill(density.frequencies, low, high, color=colour, alpha=0.3, lw=0, **shown)
    line = (density.values, density.frequencies) if turned else (density.frequencies, density.values)
    axes.plot(*line, color=colour, lw=1.2, label=name or None)


def _decorate(axes: Any, path: QPath) -> None:
    """Lines and names at the ends of segments; two names where the path jumps."""
    ticks: dict[float, str] = {}
    before = ""
    for rows, first, last in named_segments(path):
        start, stop = map(float, path.distances[rows][[0, -1]])
        ticks[start] = first if before in ("", first) else f"{before}|{first}"
        ticks[stop] = before = last
    names = ["|".join(map(_pretty, name.split("|"))) for name in ticks.values()]
    axes.set_xticks(list(ticks), names)
    for place in ticks:
        axes.axvline(place, color="0.8", lw=0.7, zorder=0)
    axes.axhline(0, color="0.6", lw=0.6)
    axes.set_xlim(0, float(path.distances[-1]))


def _pretty(name: str) -> str:
    stem, _, number = name.partition("_")
    return _GREEK.get(stem, stem) + (f"$_{{{number}}}$" if number else "")
