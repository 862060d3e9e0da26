"""Cost of the gradient of a free energy against the number of atoms: all modes, and random probes."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from lammps_implicit.benchmarks.cells import Cell
from lammps_implicit.benchmarks.one_cell import cell_arguments, variables_of
from lammps_implicit.benchmarks.processes import Record, records_of, speak, work
from lammps_implicit.benchmarks.report import Benchmark, Say, atoms_axis, figure, legend
from lammps_implicit.files import write_figure
from lammps_implicit.minimum import Minimum
from lammps_implicit.solvers.springs import random_vector
from lammps_implicit.vibrations.choosing import LARGEST

TEMPERATURE = 300.0
"""K; classical vibrations, whose derivatives are the same at all temperatures."""

PROBES, TOL = 4, 1e-3
"""Random probes, and the tolerance of products and solves: well below what formation entropies are asked for."""


def measure(cells: Sequence[Cell], say: Say, ranks: int = 1) -> Iterator[Record]:
    """Yield one record for each cell and method.

    Parameters
    ----------
    cells : sequence of Cell
    say : callable
        Called with a line of text before each measurement.
    ranks : int
        Number of MPI ranks.
    """
    for cell in cells:
        methods = ["probes"] if 3 * cell.atoms > LARGEST else ["exact", "probes"]
        for method in methods:
            say(f"free energies: {cell}, {method}")
            for record in records_of("free_energies", [*cell.arguments, "--method", method], ranks):
                yield {"system": cell.system, **record}


def rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Rows of the table."""
    return [
        (
            record["system"],
            f"{record['atoms']:,}",
            str(record["ranks"]),
            record["method"],
            f"{record['evaluations']:,}",
            f"{record['evaluations'] / record['vjp_evaluations']:.0f}",
            f"{record['seconds']:.0f}",
            f"{1e3 * record['seconds'] / record['atoms']:.1f}",
            f"{record['entropy']:.6g}",
            f"{record['error']:.1e}" if record["error"] else "",
        )
        for record in sorted(records, key=_order)
    ]


def plot(path: Path, records: Sequence[Record]) -> None:
    """Plot evaluations and time per atom against the number of atoms."""
    drawn, panels = figure(2)
    ordered = sorted(records, key=_order)
    for number, method in enumerate(dict.fromkeys(record["method"] for record in ordered)):
        curve = [record for record in ordered if record["method"] == method]
        atoms = [record["atoms"] for record in curve]
        panels[0].plot(atoms, [one["evaluations"] for one in curve], "o-", color=f"C{number}", label=method)
        per_atom = [1e3 * one["seconds"] / one["atoms"] for one in curve]
        panels[1].plot(atoms, per_atom, "o-", color=f"C{number}", label=method)
    panels[0].set(ylabel="evaluations", ylim=(0, None))
    panels[1].set(ylabel="ms per atom", ylim=(0, None))
    for axes in panels:
        atoms_axis(axes, (record["atoms"] for record in ordered))
    legend(drawn, panels[0], 2)
    drawn.suptitle("Gradient of the free energy with respect to all parameters")
    write_figure(path, drawn, overwrite=True)


def _order(record: Record) -> tuple[str, int, int, str]:
    return record["system"], record["atoms"], record["ranks"], record["method"]


BENCHMARK = Benchmark(
    "free_energies",
    "Gradient of a free energy with respect to all parameters",
    ("system", "atoms", "ranks", "method"),
    ("system", "atoms", "ranks", "method", "evaluations", "in vjps", "s", "ms per atom", "S, eV/K", "standard error"),
    rows,
    plot,
)


def main() -> None:
    """Print one record: a ``vjp`` to 1e-6, then the gradient of the free energy."""
    parser = argparse.ArgumentParser(description=__doc__)
    cell_arguments(parser)
    parser.add_argument("--method", choices=("exact", "probes"), required=True)
    arguments = parser.parse_args()
    probes = PROBES if arguments.method == "probes" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of relaxing what the deck leaves on lattice sites
        point = Minimum.from_deck(arguments.deck, variables=variables_of(arguments), relax=True)
    with point:
        point.vjp(random_vector(point.ids, 1))
        assert point.statistics is not None
        vjp = point.statistics.evaluations.total
        start = time.perf_counter()
        found = point.free_energy(TEMPERATURE, False, probes, method=arguments.method, tol=TOL)
        speak(
            {
                "atoms": point.engine.n_atoms,
                "ranks": point.engine.comm.size,
                "method": arguments.method,
                "parameters": len(point.potential.theta),
                "vjp_evaluations": vjp,
                "evaluations": found.evaluations,
                "seconds": time.perf_counter() - start,
                "entropy": float(found.entropy[0]),
                "error": float(found.entropy_error[0]),
            },
            point.engine.comm.rank == 0,
        )


if __name__ == "__main__":
    work(main)
