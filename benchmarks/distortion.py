"""Lattice distortion of random Lennard-Jones alloys of two and five elements at changed parameters, on one core.

python benchmarks/distortion.py --largest 300
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from lammps_implicit.benchmarks.distortion import BENCHMARK, measure
from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.benchmarks.report import Say, full_size

SCRIPTS = Path(__file__).resolve().parent.parent / "lammps_scripts"

ALLOYS = {
    "binary": ("in.lj_alloy", {"n": "4"}, 256),
    "five components": ("in.lj_five", {"n": "4"}, 256),
}


def records(options: argparse.Namespace, say: Say) -> Iterator[Record]:
    chosen = {
        name: (SCRIPTS / deck, variables)
        for name, (deck, variables, atoms) in ALLOYS.items()
        if options.smallest <= atoms <= options.largest
    }
    yield from measure(chosen, say)


if __name__ == "__main__":
    full_size(BENCHMARK, __doc__, records)
