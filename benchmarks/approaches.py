"""One vjp of Lennard-Jones alloys by automatic differentiation, dense Hessian and products from LAMMPS, on one core.

python benchmarks/approaches.py --largest 110000
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from lammps_implicit.benchmarks.approaches import BENCHMARK, measure
from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.benchmarks.report import Say, full_size

DECK = Path(__file__).resolve().parent.parent / "lammps_scripts" / "in.lj_alloy"

EDGES = (3, 5, 8, 14, 20, 30)
"""Edges of the cells in lattice constants: 108 to 108,000 atoms."""


def records(options: argparse.Namespace, say: Say) -> Iterator[Record]:
    chosen = [edge for edge in EDGES if options.smallest <= 4 * edge**3 <= options.largest]
    yield from measure(DECK, chosen, say)


if __name__ == "__main__":
    full_size(BENCHMARK, __doc__, records)
