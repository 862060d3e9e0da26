"""Predicted positions, volumes and enthalpies of defects against relaxing again, on one core.

python benchmarks/expansions.py --largest 60
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from lammps_implicit.benchmarks.cells import Cell
from lammps_implicit.benchmarks.expansions import BENCHMARK, Case, measure
from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.benchmarks.report import Say, full_size

SCRIPTS = Path(__file__).resolve().parent.parent / "lammps_scripts"

CASES = [
    ("W vacancy", "in.w_vacancy", {"n": "3"}, 53, "iso", 0.0),
    ("W vacancy", "in.w_vacancy", {"n": "3"}, 53, "iso", 10.0),
    ("W vacancy", "in.w_vacancy", {"n": "4"}, 127, "iso", 0.0),
    ("W crowdion", "in.w_interstitial", {"n": "3"}, 55, "iso", 0.0),
    ("W crowdion", "in.w_interstitial", {"n": "3"}, 55, "full", 0.0),
    ("Be in W", "in.be_in_w", {"n": "3"}, 54, "iso", 0.0),
    ("hcp Be vacancy", "in.be_hcp_vacancy", {"n": "3"}, 47, "ortho", 0.0),
    ("W with some Be", "in.w_be_alloy", {"n": "3", "seed": "7"}, 54, "iso", 0.0),
]


def records(options: argparse.Namespace, say: Say) -> Iterator[Record]:
    cases = [
        Case(Cell(system, atoms, SCRIPTS / deck, variables), freedom, pressure)
        for system, deck, variables, atoms, freedom, pressure in CASES
        if options.smallest <= atoms <= options.largest
    ]
    yield from measure(cases, say)


if __name__ == "__main__":
    full_size(BENCHMARK, __doc__, records)
