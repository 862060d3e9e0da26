"""Derivatives for every potential family: errors against relaxing again, and costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.benchmarks.report import Benchmark, Say, figure, legend, logarithmic
from lammps_implicit.files import write_figure
from lammps_implicit.minimum import Minimum
from lammps_implicit.solvers.springs import random_vector

TOLERANCE = 1e-6
"""Tolerance of the ``jvp`` and ``vjp``; the Jacobian has the default tolerance."""

STEP = 1e-4
"""Relative step of the central differences: all parameters change at once, each by a random fraction of its value."""


def measure(families: Mapping[str, tuple[Path, str | None]], say: Say) -> Iterator[Record]:
    """Yield one record for each family.

    Parameters
    ----------
    families : mapping of str to (Path, str or None)
        Name to deck and patterns of parameter labels (None for all).
    say : callable
        Called with a line of text before each measurement.
    """
    for name, (deck, parameters) in families.items():
        say(f"families: {name}")
        with Minimum.from_deck(deck, parameters=parameters, ftol=1e-10) as minimum:
            yield {"system": name, "deck": deck.name, **_costs(minimum), **_agreement(minimum)}


def _costs(minimum: Minimum) -> Record:
    """Evaluations of one ``vjp`` from scratch, counted separately for C and for the rest."""
    minimum.preconditioner.fitted = None
    minimum.forget()
    before = minimum.engine.evaluations.copy()
    minimum.mixed.prepare()
    for_c = minimum.engine.evaluations.since(before)
    pull = random_vector(minimum.ids)
    minimum.vjp(pull, TOLERANCE)
    return {
        "atoms": minimum.engine.n_atoms,
        "parameters": len(minimum.potential.theta),
        "mixed_forces": for_c.forces,
        "mixed_descriptors": for_c.descriptors,
        "vjp_forces": minimum.statistics.evaluations.forces,
        "iterations": minimum.statistics.iterations,
    }


def _agreement(minimum: Minimum) -> Record:
    """Relative errors of derivatives of the structure and of the relaxed energy along one direction."""
    theta = minimum.potential.theta
    change = theta * np.random.default_rng(0).standard_normal(len(theta))
    (up, high), (down, low) = (minimum.relaxed_at(sign * STEP * change, 1e-10) for sign in (1, -1))
    derivative = (up - down) / (2 * STEP)
    derivative -= derivative.mean(axis=0)
    size = np.linalg.norm(derivative)
    jacobian = minimum.jacobian().dot(change)
    pull = derivative / size
    slope = (high - low) / (2 * STEP)
    return {
        "jvp_error": float(np.linalg.norm(minimum.jvp(change, TOLERANCE) - derivative) / size),
        "jacobian_error": float(np.linalg.norm(jacobian - jacobian.mean(axis=0) - derivative) / size),
        "vjp_error": float(abs(minimum.vjp(pull, TOLERANCE) @ change - size) / size),
        "gradient_error": float(abs(minimum.energy_gradient() @ change - slope) / abs(slope)),
    }


def rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Rows of the table."""
    return [
        (
            record["system"],
            str(record["atoms"]),
            str(record["parameters"]),
            str(record["vjp_forces"]),
            _mixed(record),
            *(f"{record[name]:.0e}" for name in ERRORS),
        )
        for record in records
    ]


def plot(path: Path, records: Sequence[Record]) -> None:
    """Plot errors and costs for each family."""
    drawn, (costs, errors) = figure(2)
    places = np.arange(len(records))[::-1]
    names = [record["system"] for record in records]
    costs.barh(places, [record["vjp_forces"] for record in records], color="C0")
    costs.set(xlabel=f"force evaluations of a vjp at {TOLERANCE:g}, without those for C")
    costs.set_yticks(places, names, fontsize="small")
    for name, label in ERRORS.items():
        errors.plot([max(record[name], 1e-12) for record in records], places, "o", label=label)
    errors.set(xscale="log", xlabel="error against relaxing again")
    errors.set_yticks(places, [""] * len(places))
    logarithmic(errors.xaxis)
    for axes in (costs, errors):
        axes.grid(alpha=0.3)
    legend(drawn, errors, 4)
    write_figure(path, drawn, overwrite=True)


def _mixed(record: Record) -> str:
    if record["mixed_descriptors"]:
        return f"{record['mixed_descriptors']} of descriptors"
    return str(record["mixed_forces"])


ERRORS = {"jvp_error": "jvp", "vjp_error": "vjp", "jacobian_error": "Jacobian", "gradient_error": "energy gradient"}

BENCHMARK = Benchmark(
    "families",
    "Potential families: cost of a vjp, and errors against relaxing again",
    ("system",),
    ("system", "atoms", "parameters", "vjp forces", "C", "jvp", "vjp", "Jacobian", "dE/dΘ"),
    rows,
    plot,
)
