"""Draw the column of rooms from the imports of the code: python docs/draw_column.py [-o docs/column.svg]."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "lammps_implicit"

COLUMN = (
    ("errors", "arrays", "standard_streams", "interrupts"),
    ("progress", "registry"),
    ("files",),
    ("mpi", "units"),
    ("structures",),
    ("evaluators",),
    ("cell", "solvers"),
    ("relaxation",),
    ("operators",),
    ("potentials",),
    ("conformance",),
    ("response", "inspection"),
    ("stationary",),
    ("expansion", "results", "continuation"),
    ("saddles", "vibrations"),
    ("observables",),
    ("ensembles",),
    ("minimum",),
    ("inverse", "autodiff", "phonons"),
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


def rooms_imported() -> dict[str, set[str]]:
    """Each room, and the rooms that it imports."""
    found: dict[str, set[str]] = {room: set() for floor in COLUMN for room in floor}
    for who, what, _ in imports():
        upper, lower = room_of(who), room_of(what)
        if upper in found and lower in found and upper != lower:
            found[upper].add(lower)
    return found


def without_shortcuts(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same arrows without those that follow from others (transitive reduction)."""

    def below(room: str) -> set[str]:
        return {other for lower in graph[room] for other in (lower, *below(lower))}

    return {
        room: {lower for lower in lowers if not any(lower in below(other) for other in lowers - {lower})}
        for room, lowers in graph.items()
    }


def files_in(room: str) -> int:
    """Number of a room's files, without ``__init__.py``."""
    folder = PACKAGE / room
    return sum(file.name != "__init__.py" for file in folder.rglob("*.py")) if folder.is_dir() else 1


def draw(output: Path) -> None:
    """Draw rooms as boxes, floor upon floor, and imports as arrows down; those that follow from others are left out."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    figure = Figure(figsize=(7.5, 0.62 * len(COLUMN) + 0.3), layout="constrained", dpi=150)
    axes = figure.subplots()
    middle: dict[str, float] = {}
    for number, floor in enumerate(COLUMN):
        wide = 7.0 / len(floor)
        for index, room in enumerate(floor):
            middle[room] = (index + 0.5) * wide
            corner = (index * wide + 0.35, number - 0.2)
            axes.add_patch(
                FancyBboxPatch(corner, wide - 0.7, 0.4, "round,pad=0.03", fc="#e8eef5", ec="#33566f", lw=0.8, zorder=2)
            )
            count = files_in(room)
            text = f"{room}  ({count} files)" if count > 1 else room
            axes.text(middle[room], number, text, ha="center", va="center", fontsize=8, zorder=3)
    for upper, lowers in without_shortcuts(rooms_imported()).items():
        for lower in sorted(lowers):
            fall = floor_of(upper) - floor_of(lower)
            # Longer ways bend around the floors between; what went upwards would be red.
            bend = 0.0 if fall <= 1 else (0.12 if middle[lower] >= 3.5 else -0.12)
            axes.add_patch(
                FancyArrowPatch(
                    (middle[upper], floor_of(upper) - 0.23),
                    (middle[lower], floor_of(lower) + 0.23),
                    connectionstyle=f"arc3,rad={bend}",
                    arrowstyle="-|>",
                    mutation_scale=8,
                    lw=0.9,
                    color="#33566f" if fall > 0 else "#c0392b",
                    alpha=0.7,
                    zorder=1,
                )
            )
    axes.set_xlim(0, 7)
    axes.set_ylim(-0.5, len(COLUMN) - 0.5)
    axes.set_axis_off()
    # The same file for the same imports.
    with rc_context({"svg.hashsalt": "column"}):
        figure.savefig(output, metadata={"Date": None} if output.suffix == ".svg" else None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "column.svg")
    draw(parser.parse_args().output)
