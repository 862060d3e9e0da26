"""Formation energies and volumes of defects in W over parameter ensembles, by propagation and by relaxing again.

python benchmarks/ensembles.py --largest 60
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lammps_implicit.benchmarks.ensembles import BENCHMARK, Case, measure
from lammps_implicit.benchmarks.machine import cores
from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.benchmarks.report import Say, full_size

ROOT = Path(__file__).resolve().parent.parent

CASES = [
    Case("W 2J=6, fitted", ROOT / "lammps_scripts/w_family.yaml", ROOT / "potentials/W_2J6.ensemble.npz", 1000),
    Case("W-Be, 0.5 % of each parameter", ROOT / "lammps_scripts/w_defects.yaml", 0.005, 250),
]


def records(options: argparse.Namespace, say: Say) -> Iterator[Record]:
    with tempfile.TemporaryDirectory() as folder:
        yield from measure(CASES, cores(), Path(folder), say)


if __name__ == "__main__":
    full_size(BENCHMARK, __doc__, records)
