"""Gradient of the free energy of Ta vacancies by all parameters, against the number of atoms: from all modes
up to 2,000 atoms, and from random probes. The largest cells take hours.

    python benchmarks/free_energies.py --largest 70000 --ranks 2
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lammps_implicit.benchmarks.cells import up_to, vacancies
from lammps_implicit.benchmarks.free_energies import BENCHMARK, measure
from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.benchmarks.report import Say, full_size

EDGES = (4, 8, 12, 20, 32)
"""Edges of the cells in lattice constants: 127 to 65,535 atoms."""


def records(options: argparse.Namespace, say: Say) -> Iterator[Record]:
    with tempfile.TemporaryDirectory() as folder:
        cells = up_to(vacancies(Path(folder), "Ta", EDGES), options.largest)
        yield from measure([cell for cell in cells if cell.atoms >= options.smallest], say, options.ranks)


if __name__ == "__main__":
    full_size(BENCHMARK, __doc__, records)
