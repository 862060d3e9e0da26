"""Lattice distortion of random alloys at changed parameters: predicted by what may answer, against relaxing again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.benchmarks.report import Benchmark, Say, figure, legend
from lammps_implicit.evaluators.images import nearest_image
from lammps_implicit.files import write_figure
from lammps_implicit.minimum import Minimum

SIZES = (3e-2, 1e-2, 3e-3, 1e-3, 3e-4)
"""Relative changes of the parameters, each by a random share of its value."""

VARIANTS = ("constant", "homogeneous", "both")


def measure(alloys: Mapping[str, tuple[Path, Mapping[str, str]]], say: Say, draws: int = 4) -> Iterator[Record]:
    """Yield one record for each alloy, size of the change, and random direction.

    Parameters
    ----------
    alloys : mapping of str to (Path, mapping of str to str)
        Decks and their index variables; ``steps`` 0 leaves atoms on their sites.
    say : callable
    draws : int
        Directions.
    """
    for name, (deck, variables) in alloys.items():
        say(f"distortion: {name}")
        with Minimum.from_deck(deck, variables={**variables, "steps": "0"}, ftol=np.inf, force_limit=np.inf) as ideal:
            order = np.argsort(ideal.ids)
            fractions = np.linalg.solve(ideal.engine.cell.T, (ideal.positions - ideal.engine.origin)[order].T).T
        with Minimum.from_deck(deck, variables=variables, ftol=1e-9, cell="iso") as minimum:
            sites = fractions[np.argsort(np.argsort(minimum.ids))]
            model, theta = minimum.expansion(2, "iso"), minimum.potential.theta
            for draw in range(draws):
                direction = theta * np.random.default_rng(draw).standard_normal(len(theta))
                for size in SIZES:
                    change = size * direction
                    relaxed = minimum.relaxed_at(change, 1e-9, cell="iso")
                    true = distortion(minimum.positions + relaxed.displacement, relaxed.cell, sites)
                    predicted = {variant: model.predict(change, variant) for variant in VARIANTS}
                    yield {
                        "system": name,
                        "atoms": minimum.engine.n_atoms,
                        "parameters": len(theta),
                        "draw": draw,
                        "change": size,
                        "distortion": true,
                        "distortion_before": distortion(minimum.positions, minimum.engine.cell, sites),
                        "errors": {v: distortion(p.positions, p.cell, sites) - true for v, p in predicted.items()},
                    }


def distortion(positions: NDArray[Any], cell: NDArray[Any], sites: NDArray[Any]) -> float:
    """Root of the mean square displacement from ideal sites (fractional, (N, 3)), the net translation removed, Å."""
    apart = positions - sites @ cell
    moved = nearest_image(apart - apart[0], cell, (True, True, True))
    moved -= moved.mean(axis=0)
    return float(np.sqrt((moved**2).sum(axis=1).mean()))


def rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Rows of the table: root mean square errors over directions."""
    return [
        (
            f"{system} ({group[0]['atoms']})",
            f"{size:.0e}",
            f"{group[0]['distortion_before']:.4f}",
            *(f"{_error(group, variant):.1e}" for variant in VARIANTS),
        )
        for (system, size), group in _groups(records).items()
    ]


def plot(path: Path, records: Sequence[Record]) -> None:
    """Draw errors against the size of the change."""
    groups = _groups(records)
    systems = list(dict.fromkeys(system for system, _ in groups))
    drawn, panels = figure(len(systems))
    for axes, system in zip(panels, systems, strict=True):
        sizes = sorted(size for name, size in groups if name == system)
        for variant, label in zip(VARIANTS, ("constant", "homogeneous", "positions and cell"), strict=True):
            axes.plot(sizes, [_error(groups[system, size], variant) for size in sizes], "o-", label=label)
        axes.set(xscale="log", yscale="log", xlabel="relative change of the parameters", ylabel="error, Å")
        axes.set_title(system, fontsize="medium")
        axes.grid(alpha=0.3)
    legend(drawn, panels[0], 3)
    drawn.suptitle("Lattice distortion, predicted against relaxed again")
    write_figure(path, drawn, overwrite=True)


def _groups(records: Sequence[Record]) -> dict[tuple[str, float], list[Record]]:
    groups: dict[tuple[str, float], list[Record]] = {}
    for record in records:
        groups.setdefault((record["system"], record["change"]), []).append(record)
    return groups


def _error(group: Sequence[Record], variant: str) -> float:
    return float(np.sqrt(np.mean([record["errors"][variant] ** 2 for record in group])))


BENCHMARK = Benchmark(
    "distortion",
    "Lattice distortion of random alloys",
    ("system", "draw", "change"),
    ("system", "change", "Å", "constant", "homogeneous", "coupled"),
    rows,
    plot,
)
