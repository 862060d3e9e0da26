"""Relaxation and one vjp of Ta vacancies on one and two ranks: seconds, and memory per atom.

python benchmarks/ranks.py --largest 70000
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lammps_implicit.benchmarks.cells import up_to, vacancies
from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.benchmarks.ranks import BENCHMARK, measure
from lammps_implicit.benchmarks.report import Say, full_size

EDGES = (8, 12, 16, 20, 32, 50)
"""Edges of the cells in lattice constants: 1,023 to 249,999 atoms."""


def records(options: argparse.Namespace, say: Say) -> Iterator[Record]:
    with tempfile.TemporaryDirectory() as folder:
        yield from measure(up_to(vacancies(Path(folder), "Ta", EDGES), options.largest), say)


if __name__ == "__main__":
    full_size(BENCHMARK, __doc__, records)
