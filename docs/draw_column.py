"""Draw the column of rooms from the imports of the code: python docs/draw_column.py [-o docs/column.svg]."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "lammps_implicit"

COLUMN = (
    ("errors", "arrays"),
    ("progress", "registry"),
    ("files",),
    ("mpi", "units"),
    ("structures",),
    ("evaluators",),
    ("cell", "solvers"),
    ("relaxation",),
    ("operators",),
    ("potentials",),
    ("response",),
    ("stationary",),
    ("expansion", "results", "continuation"),
    ("observables",),
    ("ensembles",),
    ("minimum",),
    ("inverse", "autodiff"),
    ("benchmarks", "testing"),
    ("cli",),
)
"""Rooms from the ground up: each imports only rooms of lower floors."""


def floor_of(room: str) -> int:
    """Number of a room's floor, from the ground up."""
    return next(number for number, floor in enumerate(COLUMN) if room in floor)


def imports(package: Path = PACKAGE) -> Iterator[tuple[str, str, bool]]:
    """Every import of a module of the package by another: who, what, and whether it stands inside a function."""
    for path in sorted(package.rglob("*.py")):
        who = ".".join(path.relative_to(package).with_suffix("").parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inside = {
            id(node)
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for node in ast.walk(function)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == package.name:
                base = (node.module or "").split(".")[1:]
                for alias in node.names:
                    yield who, _module(package, [*base, alias.name], base), id(node) in inside


def _module(package: Path, name: list[str], base: list[str]) -> str:
    """The module that ``from base import name`` reads."""
    for parts in (name, base):
        if parts and package.joinpath(*parts).with_suffix(".py").is_file():
            return ".".join(parts)
        if package.joinpath(*parts).is_dir():
            return ".".join([*parts, "__init__"])
    raise ValueError(f"{'.'.join(base)} has no module {name[-1]}")


def room_of(module: str) -> str:
    """The room that a module is in."""
    return module.partition(".")[0]


def draw(output: Path) -> None:
    """Draw rooms as boxes, floor upon floor, and imports as arcs from a room to those below it."""
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    counts: dict[tuple[str, str], int] = {}
    for who, what, _ in imports():
        pair = room_of(who), room_of(what)
        if pair[0] != pair[1] and "__init__" not in (who, what) and pair[0] not in ("__init__", "__main__"):
            counts[pair] = counts.get(pair, 0) + 1
    figure = Figure(figsize=(9, 0.55 * len(COLUMN) + 0.6), layout="constrained", dpi=150)
    axes = figure.subplots()
    places: dict[str, tuple[float, float, float]] = {}
    for number, floor in enumerate(COLUMN):
        width = 6.0 / len(floor)
        for index, room in enumerate(floor):
            left, wide = index * width, width - 0.12
            places[room] = (left + wide / 2, number, wide)
            box = FancyBboxPatch((left, number - 0.3), wide, 0.6, "round,pad=0.02", fc="#e8eef5", ec="#33566f", lw=0.8)
            axes.add_patch(box)
            files = sum(1 for _ in PACKAGE.joinpath(room).rglob("*.py")) if PACKAGE.joinpath(room).is_dir() else 1
            told = f"{room}  ({files} files)" if files > 1 else room
            axes.text(left + wide / 2, number, told, ha="center", va="center", fontsize=8)
    for (upper, lower), count in counts.items():
        rises = floor_of(lower) >= floor_of(upper)
        start, end = (6.0, places[upper][1]), (6.0, places[lower][1])
        arc = FancyArrowPatch(
            start,
            end,
            connectionstyle=f"arc3,rad={-0.45 if not rises else 0.45}",
            arrowstyle="-|>",
            mutation_scale=6,
            lw=0.4 + 0.12 * min(count, 12),
            color="#c0392b" if rises else "#33566f",
            alpha=0.35,
        )
        axes.add_patch(arc)
    axes.set_xlim(-0.2, 10.5)
    axes.set_ylim(-0.7, len(COLUMN) - 0.3)
    axes.set_axis_off()
    figure.savefig(output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "column.svg")
    draw(parser.parse_args().output)
