"""Cost of an inverse problem: L-BFGS with adjoint gradients against gradient descent with one solve per parameter."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.benchmarks.report import Benchmark, Say, figure, legend
from lammps_implicit.files import write_figure
from lammps_implicit.inverse.config import InversionSettings
from lammps_implicit.inverse.descent import Descent, minimise
from lammps_implicit.inverse.problem import Problem
from lammps_implicit.inverse.run import make_problem, open_cells
from lammps_implicit.inverse.terms import Contribution, Positions, Term
from lammps_implicit.observables.kind import Cells, measures_of
from lammps_implicit.progress import progress

METHODS = ("L-BFGS, adjoint", "gradient descent, one solve a parameter")
"""Names of the methods, as kept in result files."""


@dataclass(frozen=True)
class SolvePerParameter:
    """Loss term on positions whose gradient takes one linear solve per parameter instead of one adjoint solve.

    Attributes
    ----------
    term : Positions
    """

    term: Positions

    @property
    def name(self) -> str:
        return self.term.name

    def value(self, cells: Cells) -> float:
        return self.term.value(cells)

    def contribution(self, cells: Cells, tol: float, curvature: bool) -> Contribution:
        minimum = cells[self.term.cell]
        value, pull = self.term.pull(minimum)
        units, gradient = np.eye(len(minimum.potential.theta)), []
        with progress("one solve per parameter", minimum.engine.comm.rank == 0) as update:
            for number, unit in enumerate(units):
                gradient.append(minimum.engine.dot(pull, minimum.jvp(unit, tol)))
                update(number + 1, len(units))
        return Contribution(value, np.array(gradient))


def measure(settings: InversionSettings, system: str, say: Say, iterations: int) -> Iterator[Record]:
    """Yield one record for each iteration of both methods; they share starting point, trial steps and step-length rule.

    Parameters
    ----------
    settings : InversionSettings
        With target positions and L-BFGS as optimiser.
    system : str
        Name in tables and legends.
    say : callable
        Called with a line of text before each measurement.
    iterations : int
        Largest number of iterations of gradient descent.
    """
    for method in METHODS:
        say(f"inverse: {system}, {method}")
        start = time.perf_counter()
        with open_cells(settings, None, lambda line: None) as opened:
            cells = opened.cells
            measures = measures_of(settings.observables, cells, settings.tol)
            theta = next(iter(cells.values())).potential.theta.copy()
            problem = make_problem(settings, opened, measures, {}, theta)
            descent = Descent(radius=settings.first_step)
            if method == METHODS[1]:
                problem = replace(problem, terms=[_without_adjoint(term) for term in problem.terms])
                _descend(problem, settings, iterations, descent)
            else:
                minimise(problem, settings.reduction * problem.value(), settings.iterations, "lbfgs", descent)
            atoms = sum(cell.engine.n_atoms for cell in cells.values())
        for iteration in descent.history:
            yield {
                "system": system,
                "atoms": atoms,
                "parameters": len(theta),
                "method": method,
                "iteration": iteration.number,
                "loss": iteration.loss,
                "step": iteration.step,
                "force_evaluations": iteration.forces,
                "descriptor_evaluations": iteration.descriptors,
                "reduction": settings.reduction,
                "ended": descent.reason,
                "seconds": time.perf_counter() - start,
            }


def _without_adjoint(term: Term) -> Term:
    return SolvePerParameter(term) if isinstance(term, Positions) else term


def _descend(problem: Problem, settings: InversionSettings, iterations: int, descent: Descent) -> None:
    """Gradient descent: L-BFGS that discards its curvature pairs after every iteration."""
    target = settings.reduction * problem.value()
    minimise(problem, target, iterations, "lbfgs", descent, lambda now: now.pairs.clear())


def rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Rows of the table: the last iteration of each method."""
    last = {(record["system"], record["method"]): record for record in records}
    first = {(r["system"], r["method"]): r for r in records if r["iteration"] == 0}
    return [
        (
            f"{record['system']} ({record['atoms']:,})",
            record["method"],
            str(record["iteration"]),
            f"{record['loss'] / first[key]['loss']:.2g}",
            f"{record['force_evaluations']:,}",
            f"{record['seconds']:.0f}",
        )
        for key, record in last.items()
    ]


def plot(path: Path, records: Sequence[Record]) -> None:
    """Plot the loss against force evaluations."""
    drawn, panels = figure(1)
    for number, key in enumerate(dict.fromkeys((r["system"], r["method"]) for r in records)):
        curve = [r for r in records if (r["system"], r["method"]) == key]
        forces = [record["force_evaluations"] for record in curve]
        panels[0].plot(forces, [r["loss"] / curve[0]["loss"] for r in curve], "o-", color=f"C{number}", label=key[1])
    panels[0].set(xscale="log", yscale="log", xlabel="force evaluations", ylabel="loss relative to its initial value")
    panels[0].grid(alpha=0.3)
    legend(drawn, panels[0], 1)
    write_figure(path, drawn, overwrite=True)


BENCHMARK = Benchmark(
    "inverse",
    "Cost of an inverse problem",
    ("system", "method", "iteration"),
    ("system", "method", "iterations", "loss", "forces", "s"),
    rows,
    plot,
)
