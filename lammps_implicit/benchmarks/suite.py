"""Small versions of four benchmarks, by the same functions as full sizes; a few minutes on two cores."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lammps_implicit.benchmarks import iterations, jacobians, ranks, relaxations, report
from lammps_implicit.benchmarks.cells import up_to, vacancies
from lammps_implicit.benchmarks.processes import Record, why_not_ranks
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.files import in_temporary_folder, make_folder, refuse_to_overwrite

# Edges of the cells of each benchmark, in lattice constants.
ITERATIONS = (4, 6, 8, 12)
RANKS = (8, 12)
JACOBIANS = 3
RELAXATIONS = (3, 6, 8)

BENCHMARKS = (iterations.BENCHMARK, ranks.BENCHMARK, jacobians.BENCHMARK, relaxations.BENCHMARK)


def run_suite(folder: Path, overwrite: bool = False, largest: float = math.inf) -> None:
    """Measure, print tables, and write a JSON file and a plot for each benchmark into a folder.

    Parameters
    ----------
    folder : Path
        Created if it does not exist.
    overwrite : bool
        Replace existing files.
    largest : float
        Largest number of atoms; the smallest cell of each benchmark is always measured.

    Raises
    ------
    LammpsImplicitError
        Under mpirun, or if a measurement fails.
    OutputError
        If a file it would write exists.
    """
    _require_no_mpirun()
    make_folder(folder)
    for benchmark in BENCHMARKS:
        for path in benchmark.files(folder):
            refuse_to_overwrite(path, overwrite)
    console = report.console()
    reason = why_not_ranks(2)
    counts: tuple[int, ...] = (1,) if reason else (1, 2)
    if reason:
        console.print(f"Measurements on two ranks are left out: {reason}.")
    with in_temporary_folder() as decks, report.narrated(console) as say:

        def cells(element: str, edges: tuple[int, ...]) -> Any:
            return up_to(vacancies(decks, element, edges), largest)

        parts: list[tuple[report.Benchmark, Callable[[], Iterator[Record]]]] = [
            (iterations.BENCHMARK, lambda: iterations.measure(cells("Ta", ITERATIONS), say)),
            (ranks.BENCHMARK, lambda: ranks.measure(cells("Ta", RANKS), say, counts)),
            (jacobians.BENCHMARK, lambda: jacobians.measure(cells("W", (JACOBIANS,))[0], say)),
            (relaxations.BENCHMARK, lambda: relaxations.measure(cells("Ta", RELAXATIONS), say)),
        ]
        for number, (benchmark, measured) in enumerate(parts, 1):
            console.print(f"[{number} of {len(parts)}] {benchmark.title}", markup=False)
            records = report.publish(benchmark, measured(), folder, overwrite)
            console.print(report.table(benchmark, records))
    console.print("Files:")
    for benchmark in BENCHMARKS:
        console.print("  " + ", ".join(map(str, benchmark.files(folder))), soft_wrap=True)


def _require_no_mpirun() -> None:
    from mpi4py import MPI

    if MPI.COMM_WORLD.size > 1:
        raise LammpsImplicitError("the benchmarks start MPI ranks themselves: run them without mpirun")
