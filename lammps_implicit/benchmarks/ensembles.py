"""Distributions of defect energies and volumes over an ensemble, from derivatives and by relaxing every sample again.

Runs the commands a user would run, each in a separate process.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.benchmarks.report import Benchmark, Say, figure, legend
from lammps_implicit.ensembles.agreement import agreement
from lammps_implicit.ensembles.shards import DONE, MERGED_KIND, read_records
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.files import write_figure
from lammps_implicit.observables.files import read_derivatives

MANY = 100_000
"""Number of samples for timing the propagation."""


@dataclass(frozen=True)
class Case:
    """Defects described by one potential, and an ensemble of its parameters.

    Attributes
    ----------
    name : str
        Name in tables and legends.
    configuration : Path
        YAML file for ``lammps-implicit observables``.
    ensemble : Path or float
        A file of samples, or the relative standard deviation of independent normal changes of each parameter.
    samples : int
        Number of samples to relax again.
    """

    name: str
    configuration: Path
    ensemble: Path | float
    samples: int


def measure(cases: Sequence[Case], shards: int, folder: Path, say: Say) -> Iterator[Record]:
    """Yield one record for each case and observable.

    Parameters
    ----------
    cases : sequence of Case
    shards : int
        Number of processes that relax samples in parallel.
    folder : Path
        For the files the commands write.
    say : callable
        Called with a line of text before each measurement.
    """
    for number, case in enumerate(cases):
        here = folder / f"case{number}"
        here.mkdir()
        yield from _measure_case(case, shards, here, say)


def _measure_case(case: Case, shards: int, here: Path, say: Say) -> Iterator[Record]:
    out, ensemble, samples = here / "out.h5", case.ensemble, case.samples
    if isinstance(ensemble, float):
        say(f"{case.name}: parameters")
        _run("observables", case.configuration, "-o", here / "plain.h5")
        ensemble = _normal(here / "plain.h5", here / "ensemble.npy", ensemble, samples)
    say(f"{case.name}: derivatives")
    _run("observables", case.configuration, "-o", out, "--ensemble", ensemble)
    derivatives = read_derivatives(out)
    say(f"{case.name}: {MANY:,} samples propagated")
    many = _normal(out, here / "many.npy", np.load(ensemble) if ensemble.suffix == ".npy" else ensemble, MANY)
    start = time.perf_counter()
    _, memory = _run("propagate", out, "--ensemble", many, "-o", here / "many.h5")
    seconds = time.perf_counter() - start
    say(f"{case.name}: {samples} samples relaxed again")
    arguments = ["validate", out, "--ensemble", ensemble, "--samples", samples, "-o", here / "shards"]
    running = [_start(*arguments, "--shard", f"{shard}/{shards}") for shard in range(shards)]
    for process in running:
        _finish(process)
    _run("merge", here / "shards", "-o", here / "merged.h5")
    records, settings = read_records(here / "merged.h5", MERGED_KIND)
    for one in agreement(records, settings.limit):
        yield {
            "case": case.name,
            "observable": one.name,
            "units": one.units,
            "parameters": len(derivatives.parameters.theta),
            "samples": len(records.rows),
            "flagged": int(records.flagged.sum()),
            "failed": int(np.count_nonzero(records.status != DONE)),
            "mean": one.mean,
            "deviation": one.deviation,
            "errors": np.asarray(one.errors).tolist(),
            "large": one.large,
            "caught": one.caught,
            "study_forces": int(derivatives.attributes["force_evaluations"]),
            "study_descriptors": int(derivatives.attributes["descriptor_evaluations"]),
            "validation_forces": int(records.forces.sum()),
            "validation_seconds": float(records.seconds.sum()),
            "propagation_seconds": seconds,
            "propagation_gib": memory,
        }


def _normal(result: Path, target: Path, like: object, count: int) -> Path:
    """Draw samples around a result's parameters, with a relative width or with the covariance of other samples."""
    theta, rng = read_derivatives(result).parameters.theta, np.random.default_rng(1)
    if isinstance(like, float):
        samples = theta * (1 + like * rng.standard_normal((count, len(theta))))
    else:
        known = np.load(like)["samples"] if isinstance(like, Path) else np.asarray(like)
        chosen = rng.choice(len(known), (2, count))
        # The difference of two random members over √2 has the covariance of the ensemble.
        samples = known.mean(axis=0) + (known[chosen[0]] - known[chosen[1]]) / np.sqrt(2)
    np.save(target, samples)
    return target


def _run(*arguments: object) -> tuple[str, float]:
    """Run a command; return its output and its peak memory, GiB."""
    return _finish(_start(*arguments))


def _start(*arguments: object) -> subprocess.Popen[str]:
    watch = (
        "import resource, sys; from lammps_implicit.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    command = [sys.executable, "-c", watch, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _finish(process: subprocess.Popen[str]) -> tuple[str, float]:
    output, errors = process.communicate()
    if process.returncode:
        raise LammpsImplicitError(f"a command of the benchmark failed: {errors.strip().splitlines()[0]}")
    peak = re.findall(r"peak (\d+)", errors)
    return output, int(peak[-1]) / 2**20 if peak else float("nan")


def rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Rows of the table."""
    return [
        (
            record["case"],
            f"{record['observable']} ({record['units']})",
            f"{record['mean'][0]:.6g}",
            f"{record['mean'][1]:.6g}",
            f"{record['deviation'][0]:.4g}",
            f"{record['deviation'][1]:.4g}",
            " / ".join(f"{error:.2%}" for error in record["errors"]),
            f"{record['flagged']} of {record['samples']}",
            f"{record['caught']} of {record['large']}",
            f"{_gain(record):.0f}",
        )
        for record in records
    ]


def _gain(record: Record) -> float:
    """Force evaluations for relaxing 1,000 samples again, relative to those for the derivatives."""
    return float(1000 * record["validation_forces"] / record["samples"] / record["study_forces"])


def plot(path: Path, records: Sequence[Record]) -> None:
    """Plot errors by order, and the cost of either way."""
    drawn, panels = figure(2)
    drawn.set_size_inches(11, 6)
    labels = [f"{record['case']}: {record['observable']}" for record in records]
    for order, name in enumerate(("first", "second", "third")):
        places = [place for place, record in enumerate(records) if len(record["errors"]) > order]
        errors = [records[place]["errors"][order] for place in places]
        panels[0].plot(errors, places, "o", ms=4, color=f"C{order}", label=f"{name} order")
    panels[0].set(xscale="log")
    panels[0].set_xlabel("rms error / standard deviation", fontsize="small")
    panels[0].set_yticks(range(len(labels)), labels, fontsize="x-small")
    cases = list(dict.fromkeys(record["case"] for record in records))
    for number, case in enumerate(cases):
        record = next(record for record in records if record["case"] == case)
        panels[1].barh([number - 0.2], [record["study_forces"]], 0.35, color="C0")
        panels[1].barh([number + 0.2], [_gain(record) * record["study_forces"]], 0.35, color="C3")
    panels[1].set(xscale="log")
    panels[1].set_xlabel("force evaluations\nblue: derivatives\nred: relaxing 1,000 samples again", fontsize="small")
    panels[1].set_yticks(range(len(cases)), cases, fontsize="x-small")
    legend(drawn, panels[0], 3)
    write_figure(path, drawn, overwrite=True)


BENCHMARK = Benchmark(
    "ensembles",
    "Ensembles propagated by derivatives against relaxing again",
    ("case", "observable"),
    (
        "case",
        "observable",
        "mean",
        "true",
        "deviation",
        "true",
        "rms error by order",
        "flagged",
        "caught",
        "× cheaper than 1,000",
    ),
    rows,
    plot,
)
