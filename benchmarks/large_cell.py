"""Relax a large cell and take one vjp: seconds, evaluations and memory, on as many ranks as mpirun starts.

    python lammps_scripts/build_screw_dislocation.py --element Ta --radius 250 --atoms 1000000 -o big.data
    mpirun -n 2 python benchmarks/large_cell.py lammps_scripts/in.ta_screw_dislocation -o big.json \\
        --var data=$PWD/big.data --var groups=$PWD/big.groups

The loss is felt by the atoms within 5 Å of a point (the middle of the cell): a random but fixed pull on each.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from mpi4py import MPI

from lammps_implicit import Minimum
from lammps_implicit.benchmarks.machine import describe_machine, peak_memory
from lammps_implicit.progress import progress
from lammps_implicit.springs import random_vector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("deck", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--var", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--ftol", type=float, default=1e-8)
    parser.add_argument("--tol", type=float, nargs="+", default=[1e-6])
    parser.add_argument("--radius", type=float, default=5.0, help="of the pulled atoms around the middle, Å")
    arguments = parser.parse_args()
    comm = MPI.COMM_WORLD
    root = comm.rank == 0
    start = time.perf_counter()
    record = {"deck": arguments.deck.name, "ranks": comm.size, **describe_machine()}

    def note(**values: object) -> None:
        record.update(values, seconds=time.perf_counter() - start, peak_bytes=peak_memory(comm))
        if root:
            print(json.dumps(values), f"after {record['seconds']:.0f} s", flush=True)
            arguments.output.write_text(json.dumps(record, indent=1) + "\n")

    variables = dict(setting.split("=", 1) for setting in arguments.var)
    # Taken over as it is, then relaxed: a deck that minimises itself would take hundreds of evaluations.
    with Minimum.from_deck(arguments.deck, variables=variables, ftol=1e3, force_limit=np.inf) as minimum:
        note(atoms=minimum.engine.n_atoms, first_force=minimum.max_force, loading_seconds=time.perf_counter() - start)
        with progress("relaxing", root) as update:
            minimum.relax(arguments.ftol, progress=update)
        note(relaxation=_costs(minimum), max_force=minimum.max_force, energy=minimum.energy)
        products = []
        for tol in arguments.tol:
            pull = _local_pull(minimum, arguments.radius)
            with progress(f"vjp to {tol:g}", root) as update:
                gradient = minimum.vjp(pull, tol, progress=update)
            products.append({"tolerance": tol, "norm": float(np.linalg.norm(gradient)), **_costs(minimum)})
            note(vjp=products)
        note(bytes_per_atom=peak_memory(comm) / minimum.engine.n_atoms)


def _local_pull(minimum: Minimum, radius: float) -> np.ndarray:
    engine = minimum.engine
    centre = engine.origin + engine.cell.sum(axis=0) / 2
    near = np.linalg.norm(engine.nearest_image(minimum.positions - centre), axis=1) < radius
    return random_vector(minimum.ids) * near[:, None]


def _costs(minimum: Minimum) -> dict[str, float]:
    cost = minimum.statistics
    return {
        "iterations": cost.iterations,
        "force_evaluations": cost.evaluations.forces,
        "descriptor_evaluations": cost.evaluations.descriptors,
        "seconds": cost.seconds,
        "seconds_in_lammps": cost.seconds_in_lammps,
        "residual": cost.residual,
        "differencing_error": cost.differencing_error,
    }


if __name__ == "__main__":
    main()
