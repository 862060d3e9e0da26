"""Predicted positions, volumes and enthalpies against relaxing again, for each variant and order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lammps_implicit.benchmarks.cells import Cell
from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.benchmarks.report import Benchmark, Say, figure, legend
from lammps_implicit.files import write_figure
from lammps_implicit.minimum import Minimum

SIZES = (3e-2, 9.5e-3, 3e-3, 9.5e-4, 3e-4)
"""Relative parameter changes over two decades; each parameter changes by a random fraction of its value."""

ORDERS = (1, 2, 3)
"""Orders of the expansion of the enthalpy."""


@dataclass(frozen=True)
class Case:
    """A cell to expand.

    Attributes
    ----------
    cell : Cell
    freedom : str
        Strains the cell may take, as for `Minimum.relax`.
    pressure : float
        Target pressure, GPa.
    """

    cell: Cell
    freedom: str
    pressure: float = 0.0


def measure(cases: Sequence[Case], say: Say) -> Iterator[Record]:
    """Yield one record for each case and size of the parameter change.

    Parameters
    ----------
    cases : sequence of Case
    say : callable
        Called with a line of text before each measurement.
    """
    for case in cases:
        say(f"expansions: {case.cell.system}, cell {case.freedom}, {case.pressure:g} GPa")
        yield from _measure_case(case)


def _measure_case(case: Case) -> Iterator[Record]:
    pressure_text = f"{case.pressure} GPa"
    with Minimum.from_deck(
        case.cell.deck, variables=case.cell.variables, cell=case.freedom, pressure=pressure_text, ftol=1e-9
    ) as minimum:
        theta, pressure = minimum.potential.theta, minimum.target[0, 0]
        direction = theta * np.random.default_rng(3).standard_normal(len(theta))
        models = {order: minimum.expansion(order, case.freedom, tol=1e-7) for order in ORDERS}
        for size in SIZES:
            change = size * direction
            relaxed = minimum.relaxed_at(change, 1e-10, cell=case.freedom)
            volume = float(np.linalg.det(relaxed.cell))
            predicted = {name: models[2].predict(change, name) for name in models[2].variants}
            error = predicted["both"].displacement - relaxed.displacement
            enthalpies = [float(models[order].predict(change).enthalpy) for order in ORDERS]
            true = relaxed.energy + pressure * volume
            yield {
                "system": case.cell.system,
                "atoms": minimum.engine.n_atoms,
                "cell": case.freedom,
                "pressure": case.pressure,
                "change": size,
                "volume_change": volume - minimum.engine.volume,
                "volume_errors": {name: float(p.volume) - volume for name, p in predicted.items()},
                "position_error": float(np.linalg.norm(error - error.mean(axis=0))),
                "enthalpy_errors": [enthalpy - true for enthalpy in enthalpies],
            }


def rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Rows of the table."""
    return [
        (
            f"{record['system']} ({record['atoms']}), {record['cell']}, {record['pressure']:g} GPa",
            f"{record['change']:.0e}",
            f"{record['volume_change']:+.3f}",
            f"{record['volume_errors']['homogeneous']:+.0e}",
            f"{record['volume_errors']['both']:+.0e}",
            f"{abs(record['volume_errors']['homogeneous'] / record['volume_errors']['both']):.3g}",
            f"{record['position_error']:.0e}",
            *(f"{error:+.0e}" for error in record["enthalpy_errors"]),
        )
        for record in sorted(records, key=_order)
    ]


def plot(path: Path, records: Sequence[Record]) -> None:
    """Plot errors of volumes, positions and enthalpies against the size of the parameter change."""
    drawn, panels = figure(3)
    for number, system in enumerate(dict.fromkeys(_label(record) for record in records)):
        curve = sorted((r for r in records if _label(r) == system), key=lambda record: record["change"])
        sizes = [record["change"] for record in curve]
        style = {"color": f"C{number}", "ms": 4}
        for name, line in (("homogeneous", "s--"), ("both", "o-")):
            errors = [abs(record["volume_errors"][name]) for record in curve]
            panels[0].plot(sizes, errors, line, label=system if name == "both" else None, **style)
        panels[1].plot(sizes, [record["position_error"] for record in curve], "o-", **style)
        for order, line in zip(ORDERS, ("v:", "s--", "o-"), strict=True):
            errors = [abs(record["enthalpy_errors"][order - 1]) for record in curve]
            panels[2].plot(sizes, errors, line, **style)
    titles = ("volume; dashed: cell alone", "positions, norm", "enthalpy; order 1 dotted, 2 dashed, 3 solid")
    for axes, title, unit in zip(panels, titles, ("Å³", "Å", "eV"), strict=True):
        axes.set(xscale="log", yscale="log", xlabel="relative parameter change", ylabel=f"error ({unit})")
        axes.set_title(title, fontsize="medium")
        axes.grid(alpha=0.3)
    panels[2].set_ylim(bottom=1e-13)
    legend(drawn, panels[0], 4)
    write_figure(path, drawn, overwrite=True)


def _label(record: Record) -> str:
    return f"{record['system']}, {record['cell']}, {record['pressure']:g} GPa"


def _order(record: Record) -> tuple[str, str, float, float]:
    return record["system"], record["cell"], record["pressure"], -record["change"]


BENCHMARK = Benchmark(
    "expansions",
    "Predicted volumes, positions and enthalpies against relaxing again",
    ("system", "atoms", "cell", "pressure", "change"),
    (
        "system",
        "change",
        "ΔV (Å³)",
        "homog.",
        "coupled",
        "ratio",
        "positions",
        "1st",
        "2nd",
        "3rd",
    ),
    rows,
    plot,
)
