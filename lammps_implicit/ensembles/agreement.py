"""Agreement of predictions with samples that were relaxed again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.ensembles.shards import CHANGED, DONE, FAILED, Records

SHOWN = 3
"""Samples of each kind of failure that are named."""


@dataclass(frozen=True)
class Agreement:
    """Predictions of one observable compared with relaxed samples.

    Attributes
    ----------
    name, units : str
        Of the observable.
    trusted : int
        Number of samples that were relaxed again, are the same structure, and were not flagged.
    mean, deviation : (float, float)
        Mean and standard deviation over the trusted samples: predicted to the highest order, and true.
    errors : (O,) float array
        Root mean square error of the predictions to each order over the trusted samples, relative to the true standard
        deviation.
    large : int
        Number of samples with a large error: one above `limit` times the larger of their change and the ensemble's
        spread. Samples that could not be relaxed, or became another structure, count as large.
    caught : int
        Number of samples with a large error that were flagged.
    """

    name: str
    units: str
    trusted: int
    mean: tuple[float, float]
    deviation: tuple[float, float]
    errors: FloatArray
    large: int
    caught: int


def agreement(records: Records, limit: float) -> list[Agreement]:
    """Compare predictions with relaxed samples for every observable.

    Parameters
    ----------
    records : Records
        From a merged validation.
    limit : float
        Relative error that counts as large; see `Agreement.large`.

    Returns
    -------
    list of Agreement
        One for each observable.
    """
    done, lost = records.status == DONE, np.isin(records.status, (FAILED, CHANGED))
    trusted = done & ~records.flagged
    found = []
    for column, (name, units) in enumerate(zip(records.names, records.units, strict=True)):
        true, orders = records.true[:, column], records.estimates[:, column]
        orders = orders[:, ~np.isnan(orders).all(axis=0)]
        best = orders[:, -1]
        allowed = limit * np.maximum(np.abs(true - records.values[column]), records.spread[column])
        large = lost | (done & (np.abs(best - true) > allowed))
        found.append(
            Agreement(
                name,
                units,
                int(trusted.sum()),
                (_statistic(np.mean, best[trusted]), _statistic(np.mean, true[trusted])),
                (_statistic(np.std, best[trusted]), _statistic(np.std, true[trusted])),
                _errors(orders[trusted], true[trusted]),
                int(large.sum()),
                int((large & records.flagged).sum()),
            )
        )
    return found


def agreement_rows(agreements: list[Agreement]) -> list[tuple[str, ...]]:
    """Rows of a table of agreements, starting with the header."""
    rows: list[tuple[str, ...]] = [
        ("observable", "trusted", "mean", "true mean", "deviation", "true deviation", "rms error by order", "caught")
    ]
    for one in agreements:
        errors = ", ".join(f"{error:.2%}" for error in one.errors)
        moments = [f"{value:.6g}" for value in (*one.mean, *one.deviation)]
        rows.append((f"{one.name} ({one.units})", str(one.trusted), *moments, errors, f"{one.caught} of {one.large}"))
    return rows


def outcome_lines(records: Records) -> list[str]:
    """Tell how many samples were relaxed again, and what became of those that cannot be compared, with examples."""
    told = [f"{len(records.rows):,} samples relaxed again, {int(records.flagged.sum()):,} flagged"]
    for status, what in ((FAILED, "found no minimum nearby"), (CHANGED, "became another structure")):
        lost = np.flatnonzero(records.status == status)
        told[0] += f", {len(lost):,} {what}"
        told += [f"sample {records.rows[row]} {what}: {records.reasons[row]}" for row in lost[:SHOWN]]
    return told


def _statistic(function: Callable[[FloatArray], Any], values: FloatArray) -> float:
    return float(function(values)) if len(values) else float("nan")


def _errors(orders: FloatArray, true: FloatArray) -> FloatArray:
    """Root mean square error of each order, (O,), relative to the true standard deviation."""
    spread = float(true.std()) if len(true) else 0.0
    if spread == 0:
        return np.full(orders.shape[1], np.nan)
    return np.sqrt(((orders - true[:, None]) ** 2).mean(axis=0)) / spread
