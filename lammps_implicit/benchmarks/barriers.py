"""Force evaluations from two end states to the saddle between them: this package, ASE's bands and dimers, LAMMPS' neb.

Everything starts from the same relaxed end states, on the straight line between them, and ends when no force component
at the saddle exceeds `LIMIT`: of a band, only its climbing image has to.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lammps_implicit.benchmarks.ase_barriers import BANDS, DIMERS, SELLA, best_of
from lammps_implicit.benchmarks.cells import Cell
from lammps_implicit.benchmarks.end_states import IMAGES, LIMIT, end_states
from lammps_implicit.benchmarks.lammps_neb import lammps_neb
from lammps_implicit.benchmarks.one_cell import cell_arguments, variables_of
from lammps_implicit.benchmarks.processes import Record, records_of, speak, work
from lammps_implicit.benchmarks.report import Benchmark, Say, figure, legend, logarithmic
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.files import write_figure
from lammps_implicit.saddles.barrier import Barrier

SAME = 1e-4
"""eV; difference of barriers that is no other saddle: `neb` prints eight digits."""


def this_package(cell: Cell) -> Record:
    """Search with this package. Everything counts that the evaluator which searches has done since its deck ended."""
    with end_states(cell) as (start, end):
        begun = time.perf_counter()
        with Barrier.between(start, end, ftol=LIMIT, images=IMAGES) as barrier:
            return {
                "atoms": start.engine.n_atoms,
                "settings": "",
                "force_evaluations": barrier.saddle.engine.evaluations.forces,
                "seconds": time.perf_counter() - begun,
                "max_force": barrier.saddle.max_force,
                "barrier": barrier.forward,
            }


METHODS: dict[str, Callable[[Cell], Record]] = {
    "this package": this_package,
    "ASE NEB": partial(best_of, BANDS),
    "ASE dimer": partial(best_of, DIMERS),
    "LAMMPS neb, fire": partial(lammps_neb, "fire"),
    "LAMMPS neb, quickmin": partial(lammps_neb, "quickmin"),
}

if importlib.util.find_spec("sella") is not None:
    METHODS["Sella"] = partial(best_of, SELLA)


def measure(cells: Sequence[Cell], say: Say, methods: Sequence[str] = tuple(METHODS)) -> Iterator[Record]:
    """Yield one record for each cell and method, each measured in a separate process.

    Parameters
    ----------
    cells : sequence of Cell
        Decks whose variable ``hop`` is 0 and, unless the cell sets it, 1 in the end states.
    say : callable
        Called with a line of text before each measurement.
    methods : sequence of str
        Names in `METHODS`.
    """
    for cell in cells:
        for method in methods:
            say(f"barrier: {cell}, {method}")
            try:
                for record in records_of("barriers", [*cell.arguments, "--method", method]):
                    yield {"system": cell.system, **record}
            except LammpsImplicitError as error:
                yield {"system": cell.system, "atoms": cell.atoms, "method": method, "failed": str(error)}


def rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Rows of the table."""
    return [
        (record["system"], f"{record['atoms']:,}", record["method"], "", "", "", "", record["failed"])
        if "failed" in record
        else (
            record["system"],
            f"{record['atoms']:,}",
            record["method"],
            f"{record['force_evaluations']:,}",
            f"{record['seconds']:.1f}",
            f"{record['max_force']:.0e}",
            f"{record['barrier']:.6f}",
            record["settings"],
        )
        for record in records
    ]


def plot(path: Path, records: Sequence[Record]) -> None:
    """Plot force evaluations of each method for each system; open symbols where it did not reach the saddle."""
    drawn, [axes] = figure(1)
    drawn.set_size_inches(7.0, 4.5)
    systems = list(dict.fromkeys(record["system"] for record in records))
    for number, method in enumerate(dict.fromkeys(record["method"] for record in records)):
        axes.plot([], [], "o", color=f"C{number}", label=method)
        for record in (one for one in records if one["method"] == method and "failed" not in one):
            place = len(systems) - 1 - systems.index(record["system"])
            filled = f"C{number}" if _at_the_saddle(record, records) else "white"
            axes.plot(record["force_evaluations"], place, "o", color=f"C{number}", mfc=filled)
    if not all(_at_the_saddle(record, records) for record in records if "failed" not in record):
        axes.plot([], [], "o", color="0.4", mfc="white", label="short of the limit, or another saddle")
    axes.set(xscale="log", xlabel="force evaluations")
    axes.set_yticks(np.arange(len(systems))[::-1], systems, fontsize="small")
    logarithmic(axes.xaxis, (1.0, 2.0, 5.0))
    axes.grid(alpha=0.3)
    legend(drawn, axes, 3)
    drawn.suptitle(f"From two end states to the saddle between them, to {LIMIT:g} eV/Å")
    write_figure(path, drawn, overwrite=True)


def _at_the_saddle(record: Record, records: Sequence[Record]) -> bool:
    """Whether a method has reached the limit, and the saddle with the lowest barrier that any has found."""
    known = [
        one["barrier"] for one in records if one["system"] == record["system"] and one.get("max_force", 1) <= LIMIT
    ]
    return record["max_force"] <= LIMIT and record["barrier"] - min(known) < SAME


def main() -> None:
    """Print one record."""
    parser = argparse.ArgumentParser(description=__doc__)
    cell_arguments(parser)
    parser.add_argument("--method", choices=METHODS, required=True)
    arguments = parser.parse_args()
    cell = Cell("", 0, arguments.deck, variables_of(arguments))
    speak({"method": arguments.method, **METHODS[arguments.method](cell)})


BENCHMARK = Benchmark(
    "barriers",
    f"Saddles between two end states to {LIMIT:g} eV/Å",
    ("system", "atoms", "method"),
    ("system", "atoms", "method", "forces", "s", "largest force", "barrier, eV", "settings"),
    rows,
    plot,
)


if __name__ == "__main__":
    work(main)
