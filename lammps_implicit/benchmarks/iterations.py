"""Iterations and evaluations of one ``vjp`` against the number of atoms, with and without springs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lammps_implicit.benchmarks.cells import Cell
from lammps_implicit.benchmarks.processes import Record, records_of
from lammps_implicit.benchmarks.report import Benchmark, Say, atoms_axis, figure, legend
from lammps_implicit.files import write_figure

TIGHT, LOOSE = 1e-8, 1e-6
"""Relative tolerances of the solves."""

BARE_ATOMS = 20_000
"""Largest cell that is also solved without preconditioner, where iterations grow with the number of atoms."""


def measure(cells: Sequence[Cell], say: Say, ranks: int = 1, bare_atoms: int = BARE_ATOMS) -> Iterator[Record]:
    """Yield one record for each cell and product.

    Parameters
    ----------
    cells : sequence of Cell
    say : callable
        Called with a line of text before each measurement.
    ranks : int
        Number of MPI ranks.
    bare_atoms : int
        Largest cell that is also solved without springs, to `TIGHT`.
    """
    for cell in cells:
        say(f"iterations: {cell}")
        tolerances = ["--tol", str(LOOSE), str(TIGHT)]
        bare = ["--without-springs", str(TIGHT)] if cell.atoms <= bare_atoms else []
        for record in records_of("one_cell", [*cell.arguments, *tolerances, *bare], ranks):
            for product in record["vjp"]:
                yield {"system": cell.system, "atoms": record["atoms"], "ranks": record["ranks"], **product}


def rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Rows of the table."""
    return [
        (
            record["system"],
            f"{record['atoms']:,}",
            "springs" if record["springs"] else "none",
            f"{record['tolerance']:.0e}",
            str(record["iterations"]),
            str(record["force_evaluations"]),
            str(record["descriptor_evaluations"]),
            f"{record['seconds']:.1f}",
            f"{record['seconds_in_lammps']:.1f}",
            f"{record['differencing_error']:.0e}",
        )
        for record in sorted(records, key=_order)
    ]


def plot(path: Path, records: Sequence[Record]) -> None:
    """Plot iterations and force evaluations at the tight tolerance against the number of atoms."""
    drawn, panels = figure(2)
    tight = [record for record in sorted(records, key=_order) if record["tolerance"] == TIGHT]
    systems = list(dict.fromkeys(record["system"] for record in tight))
    for axes, quantity in zip(panels, ("iterations", "force_evaluations"), strict=True):
        for number, system in enumerate(systems):
            for springs in (True, False):
                curve = [r for r in tight if r["system"] == system and r["springs"] == springs]
                if curve:
                    axes.plot(
                        [record["atoms"] for record in curve],
                        [record[quantity] for record in curve],
                        "o-" if springs else "s--",
                        color=f"C{number}",
                        mfc=f"C{number}" if springs else "white",
                        label=f"{system}, {'springs' if springs else 'no preconditioner'}",
                    )
        axes.set(ylabel=quantity.replace("_", " "), ylim=(0, None))
        atoms_axis(axes, (record["atoms"] for record in tight))
    legend(drawn, panels[0], 2)
    drawn.suptitle(f"One vjp to a relative residual of {TIGHT:g}")
    write_figure(path, drawn, overwrite=True)


def _order(record: Record) -> tuple[str, int, bool, float]:
    return record["system"], record["atoms"], not record["springs"], record["tolerance"]


BENCHMARK = Benchmark(
    "iterations",
    "Iterations and evaluations of one vjp",
    ("system", "atoms", "ranks", "springs", "tolerance"),
    (
        "system",
        "atoms",
        "precond.",
        "tol",
        "iterations",
        "forces",
        "descriptors",
        "s",
        "s in LAMMPS",
        "error",
    ),
    rows,
    plot,
)
