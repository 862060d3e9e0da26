"""Lattice distortion of random alloys at changed parameters: predictions of three variants against relaxing again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.benchmarks.report import Benchmark, Say, figure, legend
from lammps_implicit.evaluators.images import nearest_image
from lammps_implicit.files import write_figure
from lammps_implicit.minimum import Minimum

SIZES = (3e-2, 1e-2, 3e-3, 1e-3, 3e-4)
"""Relative parameter changes; each parameter changes by a random fraction of its value."""

VARIANTS = ("constant", "homogeneous", "both")
"""Variants of the prediction (see `Expansion.predict`): nothing moves, only the cell does, positions and cell do."""


def measure(alloys: Mapping[str, tuple[Path, Mapping[str, str]]], say: Say, draws: int = 4) -> Iterator[Record]:
    """Yield one record for each alloy, size of the parameter change, and random direction.

    Parameters
    ----------
    alloys : mapping of str to (Path, mapping of str to str)
        Name to deck and index variables; with the variable ``steps`` at 0 the deck leaves atoms on their sites.
    say : callable
        Called with a line of text before each measurement.
    draws : int
        Number of random directions.
    """
    for name, (deck, variables) in alloys.items():
        say(f"distortion: {name}")
        with Minimum.from_deck(deck, variables={**variables, "steps": "0"}, ftol=np.inf, force_limit=np.inf) as ideal:
            inside = (ideal.positions - ideal.engine.origin)[np.argsort(ideal.ids)]
            fractions = np.array(np.linalg.solve(ideal.engine.cell.T, inside.T).T, float)
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


def distortion(positions: FloatArray, cell: FloatArray, sites: FloatArray) -> float:
    """Root-mean-square displacement from ideal sites, without the net translation, Å.

    Parameters
    ----------
    positions : (N, 3) float array
        Å.
    cell : (3, 3) float array
        Å.
    sites : (N, 3) float array
        Fractional coordinates of the ideal sites.
    """
    apart = positions - sites @ cell
    displacement = nearest_image(apart - apart[0], cell, (True, True, True))
    displacement -= displacement.mean(axis=0)
    return float(np.sqrt((displacement**2).sum(axis=1).mean()))


def rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Rows of the table: root-mean-square errors over the directions."""
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
    """Plot errors against the size of the parameter change."""
    groups = _groups(records)
    systems = list(dict.fromkeys(system for system, _ in groups))
    drawn, panels = figure(len(systems))
    for axes, system in zip(panels, systems, strict=True):
        sizes = sorted(size for name, size in groups if name == system)
        for variant, label in zip(VARIANTS, ("constant", "homogeneous", "positions and cell"), strict=True):
            axes.plot(sizes, [_error(groups[system, size], variant) for size in sizes], "o-", label=label)
        axes.set(xscale="log", yscale="log", xlabel="relative parameter change", ylabel="error, Å")
        axes.set_title(system, fontsize="medium")
        axes.grid(alpha=0.3)
    legend(drawn, panels[0], 3)
    drawn.suptitle("Lattice distortion: predictions against relaxing again")
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
