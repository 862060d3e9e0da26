"""Relax a large cell and compute one vjp: seconds, evaluations and memory, on as many ranks as mpirun starts.

    python lammps_scripts/build_screw_dislocation.py --element Ta --radius 250 --atoms 1000000 -o big.data
    mpirun -n 2 python benchmarks/large_cell.py lammps_scripts/in.ta_screw_dislocation -o big.json \\
        --var data=$PWD/big.data --var groups=$PWD/big.groups

The loss depends on the atoms within 5 Å of the middle of the cell, with a random but reproducible ∂L/∂X. The record is
written after every step.
"""

import argparse
import json
import sys
from pathlib import Path

from mpi4py import MPI

from lammps_implicit import LammpsImplicitError
from lammps_implicit.benchmarks.machine import describe_machine
from lammps_implicit.benchmarks.one_cell import RADIUS, cell_arguments, measure_cell, variables_of
from lammps_implicit.files import refuse_to_overwrite, written_whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cell_arguments(parser)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--ftol", type=float, default=1e-8, help="force tolerance, eV/Å")
    parser.add_argument("--tol", type=float, nargs="+", default=[1e-6], help="relative tolerances of vjp")
    parser.add_argument(
        "--radius", type=float, default=RADIUS, help="the loss depends on atoms within this distance of the middle, Å"
    )
    arguments = parser.parse_args()
    machine = describe_machine()

    def note(record: dict) -> None:
        if MPI.COMM_WORLD.rank == 0:
            print(f"{record['seconds']:.0f} s: {', '.join(record)}", flush=True)
            document = {**machine, **record, "bytes_per_atom": record["peak_bytes"] / record["atoms"]}
            with written_whole(arguments.output, True) as temporary:
                temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    try:
        refuse_to_overwrite(arguments.output, arguments.overwrite)
        variables = variables_of(arguments)
        measure_cell(arguments.deck, variables, arguments.tol, ftol=arguments.ftol, radius=arguments.radius, note=note)
    except LammpsImplicitError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
