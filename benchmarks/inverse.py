"""From the easy to the hard core of a screw dislocation in W: cost with adjoint gradients, and of gradient descent with
one solve per parameter. Gradient descent takes tens of minutes.

    python benchmarks/inverse.py --largest 500
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lammps_implicit.benchmarks.inverse import BENCHMARK, measure
from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.benchmarks.report import Say, full_size
from lammps_implicit.inverse.config import InversionSettings
from lammps_implicit.observables.configuration import read_configuration

SCRIPTS = Path(__file__).resolve().parent.parent / "lammps_scripts"

RADII = {20: 471, 35: 1_074}
"""Radius of the free cylinder, Å, and number of atoms."""

ITERATIONS = 40
"""Largest number of iterations of gradient descent."""


def records(options: argparse.Namespace, say: Say) -> Iterator[Record]:
    for radius, atoms in RADII.items():
        if options.smallest <= atoms <= options.largest:
            with tempfile.TemporaryDirectory() as folder:
                builder = [
                    sys.executable,
                    str(SCRIPTS / "build_screw_core.py"),
                    "--radius",
                    str(radius),
                    "-o",
                    "w_x.data",
                ]
                subprocess.run(builder, check=True, cwd=folder, stdout=subprocess.DEVNULL)
                for name in ("in.w_x_screw_core", "invert_screw_core.yaml"):
                    shutil.copy(SCRIPTS / name, folder)
                settings = read_configuration(Path(folder) / "invert_screw_core.yaml", InversionSettings)
                yield from measure(settings, "W screw core", say, ITERATIONS)


if __name__ == "__main__":
    full_size(BENCHMARK, __doc__, records)
