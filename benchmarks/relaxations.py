"""Relaxation of Ta vacancies from lattice sites by this package, LAMMPS' cg and fire, ASE's PreconLBFGS, on one core.

python benchmarks/relaxations.py --largest 8191
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lammps_implicit.benchmarks.cells import up_to, vacancies
from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.benchmarks.relaxations import BENCHMARK, measure
from lammps_implicit.benchmarks.report import Say, full_size

EDGES = (6, 8, 12, 16)
"""Edges of the cells in lattice constants: 431 to 8,191 atoms."""


def records(options: argparse.Namespace, say: Say) -> Iterator[Record]:
    with tempfile.TemporaryDirectory() as folder:
        yield from measure(up_to(vacancies(Path(folder), "Ta", EDGES), options.largest), say)


if __name__ == "__main__":
    full_size(BENCHMARK, __doc__, records)
