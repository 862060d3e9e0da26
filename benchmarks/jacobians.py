"""The whole Jacobian of a W vacancy with 56 parameters, by this package and by three alternatives, on one core.

python benchmarks/jacobians.py --largest 431
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lammps_implicit.benchmarks.cells import up_to, vacancies
from lammps_implicit.benchmarks.jacobians import BENCHMARK, measure
from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.benchmarks.report import Say, full_size

EDGES = (3, 6)
"""Edges of the cells in lattice constants: 53 and 431 atoms."""


def records(options: argparse.Namespace, say: Say) -> Iterator[Record]:
    with tempfile.TemporaryDirectory() as folder:
        for cell in up_to(vacancies(Path(folder), "W", EDGES), options.largest):
            yield from measure(cell, say)


if __name__ == "__main__":
    full_size(BENCHMARK, __doc__, records)
