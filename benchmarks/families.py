"""Derivatives for every potential family: errors against relaxing again, and costs, on one core.

python benchmarks/families.py --largest 300
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from lammps_implicit.benchmarks.families import BENCHMARK, measure
from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.benchmarks.report import Say, full_size

SCRIPTS = Path(__file__).resolve().parent.parent / "lammps_scripts"

FAMILIES = {
    "SNAP, W vacancy": ("in.w_vacancy", None),
    "quadratic SNAP, Mo vacancy": ("in.mo_quadratic_vacancy", None),
    "ML-IAP, Ta vacancy": ("in.ta_mliap_vacancy", None),
    "quadratic ML-IAP, W vacancy": ("in.w_quadratic_mliap", None),
    "ML-IAP, Ni-Mo alloy": ("in.ni_mo_mliap", None),
    "UF3, Nb vacancy": ("in.nb_uf3_vacancy", None),
    "POD, Ta vacancy": ("in.ta_pod_vacancy", None),
    "EAM, Cu-Ni alloy": ("in.cu_ni_eam", None),
    "Lennard-Jones, binary alloy": ("in.lj_alloy", None),
    "Lennard-Jones, five kinds": ("in.lj_five", None),
    "Morse, Cu vacancy": ("in.cu_morse_vacancy", None),
    "variables of Morse": ("in.cu_morse_vacancy", "var:depth,var:width"),
}


def records(options: argparse.Namespace, say: Say) -> Iterator[Record]:
    yield from measure({name: (SCRIPTS / deck, chosen) for name, (deck, chosen) in FAMILIES.items()}, say)


if __name__ == "__main__":
    full_size(BENCHMARK, __doc__, records)
