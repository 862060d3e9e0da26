"""Relaxation from lattice sites by this package, by LAMMPS' own minimisers, and by ASE's preconditioned L-BFGS.

All force evaluations of a method count. Each stops when no force component exceeds the same limit.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.benchmarks.cells import Cell
from lammps_implicit.benchmarks.one_cell import cell_arguments, variables_of
from lammps_implicit.benchmarks.plain_lammps import PlainLammps
from lammps_implicit.benchmarks.processes import Record, records_of, speak, work
from lammps_implicit.benchmarks.report import Benchmark, Say, atoms_axis, figure, legend, logarithmic
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.files import write_figure
from lammps_implicit.minimum import Minimum
from lammps_implicit.potentials import of_deck as potentials

LIMIT = 1e-8
"""eV/Å; largest force component of a relaxed structure, the default of `Minimum.from_deck`."""

STEPS = 2_000
"""Largest number of steps of ASE's optimiser."""


def this_package(deck: Path, variables: dict[str, str]) -> Record:
    """Relax with this package, learning the springs included."""
    start = time.perf_counter()
    with Minimum.from_deck(deck, variables=variables, ftol=LIMIT, force_limit=np.inf) as minimum:
        seconds = time.perf_counter() - start
        return {
            "atoms": minimum.engine.n_atoms,
            "force_evaluations": minimum.setup.total,
            "seconds": seconds,
            "max_force": minimum.max_force,
            "stopped": "force tolerance",
        }


def lammps_minimiser(style: str) -> Callable[[Path, dict[str, str]], Record]:
    """Function that minimises with a ``min_style`` of LAMMPS and its default settings."""

    def relax(deck: Path, variables: dict[str, str]) -> Record:
        plain = PlainLammps(deck, variables)
        try:
            plain.minimize(style, LIMIT)
            return {
                "atoms": int(plain.lmp.get_natoms()),
                "force_evaluations": plain.evaluations,
                "seconds": plain.seconds,
                "max_force": plain.max_force,
                "stopped": plain.stopped,
            }
        finally:
            plain.close()

    return relax


def ase_preconditioned(deck: Path, variables: dict[str, str]) -> Record:
    """Relax with ASE's ``PreconLBFGS`` and ``Exp`` preconditioner, default settings, with forces from LAMMPS."""
    from ase import Atoms
    from ase.optimize import precon

    engine = Engine.start(variables=variables)
    try:
        engine.run_deck(deck)
        [element] = potentials.from_engine(engine).elements
        engine.take_over()
        engine.settle()
        engine.evaluations.forces = 0
        atoms: Any = Atoms([element] * engine.n_atoms, engine.positions, cell=engine.cell, pbc=engine.periodic)
        atoms.calc = _Forces(engine)
        library: Any = precon  # not annotated
        preconditioner = library.Exp()
        preconditioner.neighbor_list = _neighbour_list()
        stopped = "step limit"
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optimiser = library.PreconLBFGS(atoms, precon=preconditioner, logfile=None)
            try:
                for _ in optimiser.irun(fmax=0.0, steps=STEPS):
                    if np.abs(atoms.get_forces()).max() <= LIMIT:
                        stopped = "force tolerance"
                        break
            except RuntimeError as error:
                stopped = "line search failed" if "search" in str(error) else str(error)
        return {
            "atoms": engine.n_atoms,
            "force_evaluations": engine.evaluations.forces,
            "seconds": time.perf_counter() - start,
            "max_force": float(np.abs(atoms.get_forces()).max()),
            "stopped": stopped,
        }
    finally:
        engine.close()


class _Forces:
    """ASE calculator with energy and forces from an evaluator, evaluated once for each set of positions."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._start = engine.positions
        self._at: FloatArray | None = None
        self._forces = np.zeros_like(engine.positions)

    def get_forces(self, atoms: Any) -> FloatArray:
        self._evaluate(atoms)
        return self._forces.copy()

    def get_potential_energy(self, atoms: Any, force_consistent: bool = False) -> float:
        self._evaluate(atoms)
        return self._engine.energy

    def _evaluate(self, atoms: Any) -> None:
        positions = atoms.get_positions()
        if self._at is None or not np.array_equal(positions, self._at):
            # Neighbour lists stay valid: the neighbours of a vacancy move by a tenth of the skin.
            self._forces = self._engine.forces(positions - self._start)
            self._at = positions


def _neighbour_list() -> Any:
    """matscipy's neighbour list if it is installed, as it is much faster than ASE's."""
    try:
        from matscipy.neighbours import neighbour_list

        return neighbour_list
    except ImportError:
        from ase.neighborlist import neighbor_list

        return neighbor_list


METHODS: dict[str, Callable[[Path, dict[str, str]], Record]] = {
    "this package": this_package,
    "LAMMPS cg": lammps_minimiser("cg"),
    "LAMMPS fire": lammps_minimiser("fire"),
    "ASE PreconLBFGS, Exp": ase_preconditioned,
}


def measure(cells: Sequence[Cell], say: Say, methods: Sequence[str] = tuple(METHODS)) -> Iterator[Record]:
    """Yield one record for each cell and method, each measured in a separate process.

    Parameters
    ----------
    cells : sequence of Cell
    say : callable
        Called with a line of text before each measurement.
    methods : sequence of str
        Names in `METHODS`.
    """
    for cell in cells:
        for method in methods:
            say(f"relaxation: {cell}, {method}")
            for record in records_of("relaxations", [*cell.arguments, "--method", method]):
                yield {"system": cell.system, **record}


def rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Rows of the table."""
    return [
        (
            record["system"],
            f"{record['atoms']:,}",
            record["method"],
            f"{record['force_evaluations']:,}",
            f"{record['seconds']:.1f}",
            f"{record['max_force']:.0e}",
            record["stopped"],
        )
        for record in sorted(records, key=lambda record: (record["system"], record["atoms"]))
    ]


def plot(path: Path, records: Sequence[Record]) -> None:
    """Plot force evaluations and seconds against the number of atoms; open symbols where `LIMIT` was not reached."""
    drawn, panels = figure(2)
    for axes, quantity, label in zip(
        panels, ("force_evaluations", "seconds"), ("force evaluations", "seconds, one core"), strict=True
    ):
        for number, method in enumerate(dict.fromkeys(record["method"] for record in records)):
            curve = sorted((r for r in records if r["method"] == method), key=lambda record: record["atoms"])
            atoms, values = [r["atoms"] for r in curve], [r[quantity] for r in curve]
            axes.plot(atoms, values, "-", color=f"C{number}", lw=1.2)
            for record in curve:
                filled = f"C{number}" if record["max_force"] <= LIMIT else "white"
                axes.plot(record["atoms"], record[quantity], "o", color=f"C{number}", mfc=filled)
            axes.plot([], [], "o-", color=f"C{number}", label=method)
        if any(record["max_force"] > LIMIT for record in records):
            axes.plot([], [], "o", color="0.4", mfc="white", label="stopped short of the limit")
        axes.set(yscale="log", ylabel=label)
        logarithmic(axes.yaxis, (1.0, 2.0, 5.0))
        atoms_axis(axes, (record["atoms"] for record in records))
    legend(drawn, panels[0], 3)
    drawn.suptitle(f"Relaxation from lattice sites to {LIMIT:g} eV/Å")
    write_figure(path, drawn, overwrite=True)


def main() -> None:
    """Print one record."""
    parser = argparse.ArgumentParser(description=__doc__)
    cell_arguments(parser)
    parser.add_argument("--method", choices=METHODS, required=True)
    arguments = parser.parse_args()
    record = METHODS[arguments.method](arguments.deck, variables_of(arguments))
    speak({"method": arguments.method, **record})


BENCHMARK = Benchmark(
    "relaxations",
    f"Relaxation from lattice sites to {LIMIT:g} eV/Å",
    ("system", "atoms", "method"),
    ("system", "atoms", "method", "forces", "s", "largest force", "stopped"),
    rows,
    plot,
)


if __name__ == "__main__":
    work(main)
