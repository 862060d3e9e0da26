"""Relaxation and one ``vjp`` on one and two ranks: seconds, and memory per atom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lammps_implicit.benchmarks.cells import Cell
from lammps_implicit.benchmarks.processes import Record, records_of
from lammps_implicit.benchmarks.report import Benchmark, Say, atoms_axis, figure, legend, logarithmic
from lammps_implicit.files import write_figure

TOLERANCE = 1e-6
"""Relative tolerance of the ``vjp``."""


def measure(cells: Sequence[Cell], say: Say, ranks: Sequence[int] = (1, 2)) -> Iterator[Record]:
    """Yield one record for each cell and number of ranks.

    Parameters
    ----------
    cells : sequence of Cell
    say : callable
        Called with a line of text before each measurement.
    ranks : sequence of int
        Numbers of MPI ranks.
    """
    for cell in cells:
        for count in ranks:
            say(f"ranks and memory: {cell}, {count} {'rank' if count == 1 else 'ranks'}")
            for record in records_of("one_cell", [*cell.arguments, "--tol", str(TOLERANCE)], count):
                [product] = record["vjp"]
                names = ("atoms", "ranks", "empty_bytes", "peak_bytes")
                yield {
                    "system": cell.system,
                    **{name: record[name] for name in names},
                    "relaxation": record["relaxation"],
                    "vjp": product,
                }


def rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Rows of the table."""
    table: list[tuple[str, ...]] = []
    for record in sorted(records, key=_order):
        relaxation, product = record["relaxation"], record["vjp"]
        alone = _on_one_rank(records, record)
        table.append(
            (
                record["system"],
                f"{record['atoms']:,}",
                str(record["ranks"]),
                f"{relaxation['seconds']:.1f}",
                str(relaxation["force_evaluations"]),
                f"{product['seconds']:.1f}",
                str(product["force_evaluations"]),
                f"{_outside(product):.1f}",
                f"{efficiency(alone, record):.2f}" if alone and record["ranks"] > 1 else "",
                f"{bytes_above_empty(record) / 1e3:.1f}",
                f"{record['peak_bytes'] / 1e6:.0f}",
            )
        )
    return table


def plot(path: Path, records: Sequence[Record]) -> None:
    """Plot seconds, parallel efficiency and memory per atom against the number of atoms."""
    drawn, (times, shares, memory) = figure(3)
    ordered = sorted(records, key=_order)
    for ranks in sorted({record["ranks"] for record in records}):
        curve = [record for record in ordered if record["ranks"] == ranks]
        atoms = [record["atoms"] for record in curve]
        style, name = {"color": f"C{ranks - 1}"}, f"{ranks} {'rank' if ranks == 1 else 'ranks'}"
        times.plot(atoms, [record["vjp"]["seconds"] for record in curve], "o-", label=f"vjp, {name}", **style)
        relaxing = [record["relaxation"]["seconds"] for record in curve]
        times.plot(atoms, relaxing, "s--", mfc="white", label=f"relaxation, {name}", **style)
        memory.plot(atoms, [bytes_above_empty(record) / 1e3 for record in curve], "o-", **style)
        pairs = [(record, _on_one_rank(records, record)) for record in curve if ranks > 1]
        for quantity, line in (("vjp", "o-"), ("relaxation", "s--")):
            points = [(record["atoms"], efficiency(alone, record, quantity)) for record, alone in pairs if alone]
            if points:
                shares.plot(*zip(*points, strict=True), line, mfc=None if quantity == "vjp" else "white", **style)
    times.set(yscale="log", ylabel="seconds", title="Time")
    logarithmic(times.yaxis, (1.0, 3.0))
    shares.axhline(1.0, color="0.6", lw=1)
    shares.set(ylim=(0, 1.2), ylabel="time on 1 rank / (ranks × time)", title="Parallel efficiency")
    memory.set(ylim=(0, None), ylabel="kB per atom, sum over ranks", title="Peak memory above an empty process")
    for axes in (times, shares, memory):
        atoms_axis(axes, (record["atoms"] for record in records))
    legend(drawn, times, 4)
    drawn.suptitle(f"Relaxation to 1e-8 eV/Å and one vjp to {TOLERANCE:g}")
    write_figure(path, drawn, overwrite=True)


def efficiency(alone: Record, record: Record, quantity: str = "vjp") -> float:
    """Parallel efficiency: time on one rank over (number of ranks × time on them).

    Parameters
    ----------
    alone, record : dict
        Records of the same cell on one and on several ranks.
    quantity : str
        ``vjp`` or ``relaxation``.
    """
    return float(alone[quantity]["seconds"] / (record["ranks"] * record[quantity]["seconds"]))


def bytes_above_empty(record: Record) -> float:
    """Peak memory beyond that of processes without a cell, summed over ranks, per atom."""
    return float((record["peak_bytes"] - record["empty_bytes"]) / record["atoms"])


def _outside(product: Record) -> float:
    """Seconds of a product outside LAMMPS."""
    return float(product["seconds"] - product["seconds_in_lammps"])


def _on_one_rank(records: Sequence[Record], record: Record) -> Record | None:
    same = [r for r in records if (r["system"], r["atoms"], r["ranks"]) == (record["system"], record["atoms"], 1)]
    return same[0] if same else None


def _order(record: Record) -> tuple[str, int, int]:
    return record["system"], record["atoms"], record["ranks"]


BENCHMARK = Benchmark(
    "ranks",
    "Seconds on one and two ranks, and memory",
    ("system", "atoms", "ranks"),
    (
        "system",
        "atoms",
        "ranks",
        "relax s",
        "forces",
        "vjp s",
        "forces",
        "outside",
        "efficiency",
        "kB/atom",
        "MB",
    ),
    rows,
    plot,
)
