"""Relax one cell and compute ``vjp`` products: seconds, evaluations, iterations and memory, on any number of ranks.

The loss depends on the atoms within 5 Å of the middle of the cell, where the defect is, with a random but reproducible
∂L/∂X.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from mpi4py import MPI

from lammps_implicit.arrays import FloatArray
from lammps_implicit.benchmarks.machine import peak_memory
from lammps_implicit.benchmarks.processes import Record, speak, work
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.minimum import Minimum
from lammps_implicit.progress import progress
from lammps_implicit.solvers.backend import backend
from lammps_implicit.solvers.springs import random_vector

RADIUS = 5.0
"""Å; radius of the sphere of atoms that the loss depends on: a defect and its first shells."""


def measure_cell(
    deck: Path,
    variables: Mapping[str, str],
    tolerances: Sequence[float],
    without_springs: Sequence[float] = (),
    ftol: float = 1e-8,
    radius: float = RADIUS,
    note: Callable[[Record], None] = lambda record: None,
) -> Record:
    """Relax the cell that a deck creates, then compute one ``vjp`` for each tolerance.

    Parameters
    ----------
    deck : Path
        Preferably one that does not minimise, as LAMMPS' own minimisers take hundreds of evaluations.
    variables : mapping of str to str
        Index variables of the deck.
    tolerances, without_springs : sequences of float
        Relative tolerances of the products with the learned springs, and of those without preconditioner.
    ftol : float
        eV/Å; force tolerance of the relaxation.
    radius : float
        Å; the loss depends on the atoms within this distance of the middle of the cell.
    note : callable
        Called with the record so far, after each step.

    Returns
    -------
    dict
        ``atoms``, ``ranks``, ``parameters``; the costs of the ``relaxation`` and of each product in ``vjp``;
        ``empty_bytes``, the memory with all libraries loaded but no cell, and ``peak_bytes``, that up to the last
        product with springs, both summed over ranks. The cost of a product includes everything needed at a relaxed
        structure, except the springs, which the relaxation has learned.
    """
    comm = MPI.COMM_WORLD
    root = comm.rank == 0
    _load_everything(comm)
    start = time.perf_counter()
    record: Record = {"deck": deck.name, "ranks": comm.size, "empty_bytes": peak_memory(comm)}

    def add(**values: object) -> None:
        record.update(values, seconds=time.perf_counter() - start)
        note(record)

    # Taken over without relaxing, so that the relaxation can be timed separately.
    with Minimum.from_deck(deck, variables=variables, ftol=np.inf, force_limit=np.inf) as minimum:
        atoms, parameters = minimum.engine.n_atoms, len(minimum.potential.theta)
        add(atoms=atoms, parameters=parameters, first_force=minimum.max_force, peak_bytes=peak_memory(comm))
        with progress("relaxing", root) as update:
            minimum.relax(ftol, progress=update)
        add(relaxation=costs(minimum), max_force=minimum.max_force, energy=minimum.energy)
        products: list[Record] = []
        for springs, tolerance in [(True, tol) for tol in tolerances] + [(False, tol) for tol in without_springs]:
            start_afresh(minimum, springs)
            pull = local_pull(minimum, radius)
            with progress(f"vjp to {tolerance:g}", root) as update:
                gradient = minimum.vjp(pull, tolerance, progress=update)
            norm = float(np.linalg.norm(gradient))
            products.append({"springs": springs, "tolerance": tolerance, "norm": norm, **costs(minimum)})
            add(vjp=products, **({"peak_bytes": peak_memory(comm)} if springs else {}))
    return record


def local_pull(minimum: Minimum, radius: float) -> FloatArray:
    """∂L/∂X*, (n, 3): random but reproducible within `radius` Å of the middle of the cell, zero elsewhere."""
    engine = minimum.engine
    centre = engine.origin + engine.cell.sum(axis=0) / 2
    near = np.linalg.norm(engine.nearest_image(minimum.positions - centre), axis=1) < radius
    return random_vector(minimum.ids) * near[:, None]


def _load_everything(comm: MPI.Comm) -> None:
    """Load all libraries now, so that they do not count as memory of the cell."""
    backend(comm)
    if comm.size == 1:
        importlib.import_module("pyamg")
    Engine.start(comm).close()


def start_afresh(minimum: Minimum, springs: bool = True) -> None:
    """Discard all cached products, so that the next one includes its preparation; optionally use no preconditioner."""
    minimum.forget()
    if not springs:
        minimum.preconditioner.keep(np.copy)


def costs(minimum: Minimum) -> Record:
    """Cost and accuracy of the last product or relaxation."""
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


def cell_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `Cell.arguments` writes: a deck and its index variables."""
    parser.add_argument("deck", type=Path)
    parser.add_argument("--var", action="append", default=[], metavar="NAME=VALUE", help="index variable of the deck")


def variables_of(arguments: argparse.Namespace) -> dict[str, str]:
    """Index variables from ``--var NAME=VALUE`` arguments."""
    return dict(setting.split("=", 1) for setting in arguments.var)


def main() -> None:
    """Print one record."""
    parser = argparse.ArgumentParser(description=__doc__)
    cell_arguments(parser)
    parser.add_argument("--tol", type=float, nargs="*", default=[])
    parser.add_argument("--without-springs", type=float, nargs="*", default=[])
    arguments = parser.parse_args()
    record = measure_cell(arguments.deck, variables_of(arguments), arguments.tol, arguments.without_springs)
    speak(record, MPI.COMM_WORLD.rank == 0)


if __name__ == "__main__":
    work(main)
