"""From two end states to the saddle between them: this package, ASE's bands and dimers, LAMMPS' neb; on one core.

python benchmarks/barriers.py --largest 200

Sella takes part where it is installed.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from lammps_implicit.benchmarks.barriers import BENCHMARK, measure
from lammps_implicit.benchmarks.cells import Cell, up_to
from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.benchmarks.report import Say, full_size

SCRIPTS = Path(__file__).resolve().parent.parent / "lammps_scripts"

CELLS = [
    Cell("W vacancy, SNAP", 53, SCRIPTS / "in.w_vacancy_hop", {"snap": "../potentials/W_2J4"}),
    Cell("Ta vacancy, SNAP", 53, SCRIPTS / "in.ta_vacancy_hop"),
    Cell("Cu vacancy, EAM", 107, SCRIPTS / "in.cu_vacancy_hop"),
    Cell("Fe <110> dumbbell, EAM", 129, SCRIPTS / "in.fe_dumbbell_hop"),
    Cell("LJ alloy, vacancy", 107, SCRIPTS / "in.lj_alloy_vacancy_hop"),
]


def records(options: argparse.Namespace, say: Say) -> Iterator[Record]:
    yield from measure([cell for cell in up_to(CELLS, options.largest) if cell.atoms >= options.smallest], say)


if __name__ == "__main__":
    full_size(BENCHMARK, __doc__, records)
