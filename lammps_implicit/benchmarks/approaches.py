"""One ``vjp`` of a Lennard-Jones alloy by automatic differentiation, by a dense Hessian and by products from LAMMPS.

All start from the same deck and relax it themselves, each in a separate process on one core.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from mpi4py import MPI

from lammps_implicit.arrays import FloatArray
from lammps_implicit.benchmarks.machine import peak_memory
from lammps_implicit.benchmarks.one_cell import (
    RADIUS,
    cell_arguments,
    costs,
    local_pull,
    measure_cell,
    start_afresh,
    variables_of,
)
from lammps_implicit.benchmarks.processes import Record, records_of, speak, work
from lammps_implicit.benchmarks.report import Benchmark, Say, atoms_axis, figure, legend, logarithmic
from lammps_implicit.files import write_figure
from lammps_implicit.minimum import Minimum

TOLERANCE = 1e-6
"""Relative residual of the linear solve."""

APPROACHES = {
    "operators": "LAMMPS forces, preconditioned conjugate gradients",
    "autodiff": "exact products in JAX, preconditioned conjugate gradients",
    "dense": "jax.hessian, factorised",
}

DENSE_ATOMS = 500
"""Largest cell for `jax.hessian`, whose memory grows with the square of the number of atoms (5.6 GiB at 500)."""


def measure(deck: Path, cells: Sequence[int], say: Say) -> Iterator[Record]:
    """Yield one record for each cell and approach.

    Parameters
    ----------
    deck : Path
        Deck with a pair style that has a JAX counterpart; its index variables ``n`` and ``steps`` are the edge of the
        cell and the number of minimisation steps.
    cells : sequence of int
        Edges of the cells, in lattice constants.
    say : callable
        Called with a line of text before each measurement.
    """
    for edge in cells:
        for approach in APPROACHES:
            if approach == "dense" and 4 * edge**3 > DENSE_ATOMS:
                continue
            say(f"{approach}: {4 * edge**3:,} atoms")
            yield from records_of("approaches", [approach, str(deck), "--var", f"n={edge}", "--var", "steps=0"])


def rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Rows of the table."""
    return [
        (
            record["approach"],
            f"{record['atoms']:,}",
            str(record["iterations"]) if record["iterations"] else "",
            str(record["force_evaluations"]),
            f"{record['seconds']:.2f}",
            f"{record['peak_bytes'] / 2**30:.2f}",
            f"{_bytes(record) / record['atoms'] / 1024:.1f}",
            f"{record['error']:.0e}" if record["error"] is not None else "",
        )
        for record in sorted(records, key=lambda record: (list(APPROACHES).index(record["approach"]), record["atoms"]))
    ]


def plot(path: Path, records: Sequence[Record]) -> None:
    """Draw seconds and memory against the number of atoms."""
    drawn, panels = figure(2)
    for axes, name in zip(panels, ("seconds", "GiB beyond the libraries"), strict=True):
        for number, approach in enumerate(APPROACHES):
            curve = sorted((r for r in records if r["approach"] == approach), key=lambda record: record["atoms"])
            values = [
                r["seconds"] if name == "seconds" else (r["peak_bytes"] - r["empty_bytes"]) / 2**30 for r in curve
            ]
            label = f"{approach}: {APPROACHES[approach]}"
            axes.plot([record["atoms"] for record in curve], values, "o-", color=f"C{number}", label=label)
        axes.set(yscale="log", ylabel=name)
        atoms_axis(axes, (record["atoms"] for record in records))
        logarithmic(axes.yaxis)
    legend(drawn, panels[0], 1)
    drawn.suptitle(f"One vjp at {TOLERANCE:g}, Lennard-Jones alloy")
    write_figure(path, drawn, overwrite=True)


def _bytes(record: Record) -> int:
    """Memory beyond that of the loaded libraries, bytes."""
    return int(record["peak_bytes"] - record["empty_bytes"])


BENCHMARK = Benchmark(
    "approaches",
    "One vjp by automatic differentiation, dense Hessian and products from LAMMPS",
    ("approach", "atoms"),
    ("method", "atoms", "iterations", "forces", "s", "GiB", "kB per atom", "error"),
    rows,
    plot,
)


def of_lammps(deck: Path, variables: dict[str, str]) -> Record:
    """Record of one ``vjp`` with products from LAMMPS."""
    record = measure_cell(deck, variables, [TOLERANCE])
    return {**record, **record["vjp"][0], "relaxation": record["relaxation"]["seconds"], "error": None}


def of_jax(deck: Path, variables: dict[str, str], dense: bool) -> Record:
    """Record of one ``vjp`` in JAX; the error is relative to a solve with a hundredth of the tolerance."""
    import jax

    jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]
    from lammps_implicit import autodiff

    np.asarray(jax.numpy.ones(1) + 1.0)  # loads the compiler
    record: Record = {"empty_bytes": peak_memory(MPI.COMM_SELF), "ranks": 1, "deck": deck.name}
    start = time.perf_counter()
    minimum = autodiff.from_deck(deck, variables=variables, ftol=np.inf, force_limit=np.inf)
    minimum.relax(1e-8)
    record |= {"atoms": minimum.engine.n_atoms, "relaxation": time.perf_counter() - start}
    pull = local_pull(minimum, RADIUS)
    pull -= pull.mean(axis=0)
    if dense:
        start = time.perf_counter()
        gradient = _by_dense_hessian(minimum, pull)
        record |= {"iterations": 0, "force_evaluations": 0, "seconds": time.perf_counter() - start}
    else:
        minimum.vjp(pull, 0.5)  # compiles for these shapes; later solves reuse it
        start_afresh(minimum)
        gradient = minimum.vjp(pull, TOLERANCE)
        record |= costs(minimum)
    record |= {"peak_bytes": peak_memory(MPI.COMM_SELF)}
    exact = minimum.vjp(pull, 1e-2 * TOLERANCE)
    return {**record, "error": float(np.abs(gradient - exact).max() / np.abs(exact).max())}


def _by_dense_hessian(minimum: Minimum, pull: FloatArray) -> FloatArray:
    """dL/dΘ as one would write it without this package: ``jax.hessian``, with a projector to fix the translations."""
    import jax
    import jax.numpy as jnp

    from lammps_implicit.autodiff.evaluator import AutodiffEvaluator

    engine = minimum.engine
    assert isinstance(engine, AutodiffEvaluator)
    energy, (cell, theta, lists) = engine.local, (engine.cell, engine.theta, engine.lists)
    assert energy is not None
    hessian = jax.hessian(lambda x: energy(x.reshape(-1, 3), cell, theta, lists))(engine.positions.reshape(-1))
    uniform = jnp.tile(jnp.eye(3), (len(engine.ids), 1)) / np.sqrt(len(engine.ids))
    adjoint = jnp.linalg.solve(hessian + uniform @ uniform.T, pull.reshape(-1))
    force = jax.grad(lambda x, p: energy(x, cell, p, lists))
    return -np.asarray(jax.grad(lambda p: jnp.vdot(force(engine.positions, p).reshape(-1), adjoint))(theta))


def main() -> None:
    """Print one record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("approach", choices=list(APPROACHES))
    cell_arguments(parser)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # JAX would use all cores
    deck, variables = arguments.deck, variables_of(arguments)
    record = of_lammps(deck, variables) if arguments.approach == "operators" else None
    speak({"approach": arguments.approach, **(record or of_jax(deck, variables, arguments.approach == "dense"))})


if __name__ == "__main__":
    work(main)
