"""Relax one cell and take products ``vjp``: seconds, evaluations, iterations and memory, on any number of ranks.

The loss is felt by the atoms within 5 Å of the middle of the cell, where the defect is: a random but fixed pull on
each.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from lammps_implicit.benchmarks.machine import peak_memory
from lammps_implicit.benchmarks.processes import Record, speak, work
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.minimum import Minimum
from lammps_implicit.progress import progress
from lammps_implicit.solvers.backend import backend
from lammps_implicit.solvers.springs import random_vector

RADIUS = 5.0
"""Å; of the sphere of atoms that the loss depends on."""


def measure_cell(
    deck: Path,
    variables: Mapping[str, str],
    tolerances: Sequence[float],
    without_springs: Sequence[float] = (),
    ftol: float = 1e-8,
    radius: float = RADIUS,
    note: Callable[[Record], None] = lambda record: None,
) -> Record:
    """Relax the cell that a deck leaves, then take one product for each tolerance.

    Parameters
    ----------
    deck : Path
        Best one that does not minimise: LAMMPS' own minimisers take hundreds of evaluations.
    variables : mapping of str to str
        Index variables of the deck.
    tolerances, without_springs : sequences of float
        Relative tolerances of the products with the learned springs, and of those without preconditioner.
    ftol : float
        eV/Å.
    radius : float
        Å; how far from the middle of the cell atoms feel the loss.
    note : callable
        Given the record so far, after each step.

    Returns
    -------
    dict
        ``atoms``, ``ranks``, ``parameters``; ``relaxation`` and, product by product, ``vjp`` with their costs;
        ``empty_bytes`` with all libraries loaded but no cell, and ``peak_bytes`` up to the last product with springs,
        both summed over ranks. Each product counts all that it needs at a relaxed structure, but not the springs that
        the relaxation left.
    """
    comm = MPI.COMM_WORLD
    root = comm.rank == 0
    _load_everything(comm)
    start = time.perf_counter()
    record: Record = {"deck": deck.name, "ranks": comm.size, "empty_bytes": peak_memory(comm)}

    def add(**values: object) -> None:
        record.update(values, seconds=time.perf_counter() - start)
        note(record)

    # Taken over as it is and relaxed then, so that seconds are told apart.
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


def local_pull(minimum: Minimum, radius: float) -> NDArray[np.float64]:
    """∂L/∂X* of a loss that atoms within `radius` Å of the middle of the cell feel: random but fixed, (n, 3)."""
    engine = minimum.engine
    centre = engine.origin + engine.cell.sum(axis=0) / 2
    near = np.linalg.norm(engine.nearest_image(minimum.positions - centre), axis=1) < radius
    return random_vector(minimum.ids) * near[:, None]


def _load_everything(comm: Any) -> None:
    """Load all libraries, lest they count as memory of the atoms."""
    backend(comm)
    if comm.size == 1:
        importlib.import_module("pyamg")
    Engine.start(comm).close()


def start_afresh(minimum: Minimum, springs: bool = True) -> None:
    """Forget all products, so that the next one counts its preparation; without springs, K⁻¹ is the identity."""
    minimum.forget()
    if not springs:
        minimum.preconditioner.keep(np.copy)


def costs(minimum: Minimum) -> Record:
    """Cost and quality of the last product or relaxation."""
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
    """Add the deck and its variables, as `Cell.arguments` writes them."""
    parser.add_argument("deck", type=Path)
    parser.add_argument("--var", action="append", default=[], metavar="NAME=VALUE", help="index variable of the deck")


def variables_of(arguments: argparse.Namespace) -> dict[str, str]:
    """Read NAME=VALUE settings."""
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
