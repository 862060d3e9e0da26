"""Report of a propagated ensemble: tables for the terminal, and a self-contained HTML page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from lammps_implicit.ensembles import plots
from lammps_implicit.ensembles.agreement import agreement, agreement_rows, outcome_lines
from lammps_implicit.ensembles.files import Propagated
from lammps_implicit.ensembles.propagation import LIMIT, QUANTILES, Distribution
from lammps_implicit.ensembles.shards import Records
from lammps_implicit.errors import LammpsImplicitError

_STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0; font-size: 90% } td, th { padding: .25em .8em; text-align: right }
th { border-bottom: 1px solid #888 } td:first-child, th:first-child { text-align: left }
tr:nth-child(even) { background: #f4f4f4 } img { max-width: 100% } h2 { margin-top: 2em }
"""


def summary_rows(distributions: Mapping[str, Distribution]) -> list[tuple[str, ...]]:
    """Rows of a table, starting with the header: mean, standard deviation and quantiles of every observable."""
    rows: list[tuple[str, ...]] = [("observable", "order", "mean", "deviation", *(f"{q:.1%}" for q in QUANTILES))]
    for name, found in distributions.items():
        for number, order in enumerate(found.orders):
            quantiles = np.quantile(found.estimates[number], QUANTILES)
            shown = [f"{value:.7g}" for value in (found.mean[number], found.deviation[number], *quantiles)]
            rows.append((f"{name} ({found.units})" if number == 0 else "", order, *shown))
    return rows


def driver_rows(
    distributions: Mapping[str, Distribution], names: Sequence[str], shown: int = 5
) -> list[tuple[str, ...]]:
    """Rows of a table, starting with the header: the main sources of the variance of each observable.

    Parameters
    ----------
    distributions : mapping of str to Distribution
    names : sequence of str
        Labels of the parameters.
    shown : int
        Number of parameters and of principal directions listed.
    """
    rows: list[tuple[str, ...]] = [("observable", "share of the variance: parameters", "principal directions")]
    for name, found in distributions.items():
        ranked = np.argsort(np.abs(found.parameter_shares))[::-1][:shown]
        leading = np.argsort(found.direction_shares)[::-1][:shown]
        rows.append(
            (
                name,
                ", ".join(f"{names[index]} {found.parameter_shares[index]:.0%}" for index in ranked),
                ", ".join(f"{index + 1}: {found.direction_shares[index]:.0%}" for index in leading),
            )
        )
    return rows


def html_report(propagated: Propagated, records: Records | None = None, limit: float = LIMIT) -> str:
    """Compose the report as an HTML page.

    Parameters
    ----------
    propagated : Propagated
    records : Records, optional
        Merged validation.
    limit : float
        Relative error that counts as large in the validation; see `agreement`.

    Returns
    -------
    str
        HTML with the figures embedded.

    Raises
    ------
    LammpsImplicitError
        If validation and propagation have no observable in common.
    """
    if records is not None and not set(records.names) & set(propagated.distributions):
        raise LammpsImplicitError(
            "the validation has none of the observables that were propagated; give one of the same result"
        )
    known = propagated.attributes
    parts = [
        f"<h1>{escape(propagated.path.stem)}</h1>",
        f"<p>{known['samples']:,} samples of {len(propagated.names)} parameters from {escape(str(known['ensemble']))}, "
        f"derivatives from {escape(str(known['from']))} ({known['force_evaluations']:,} force evaluations; "
        f"accuracy: {escape(str(known.get('verdict', 'not checked')))}). {_trust(propagated)}</p>",
        "<h2>Distributions</h2>",
        _table(summary_rows(propagated.distributions)),
        _figure(plots.histograms(propagated.distributions, records)),
        "<h2>Sources of the variance</h2>",
        _table(driver_rows(propagated.distributions, propagated.names)),
        _figure(plots.drivers(propagated.distributions, propagated.names)),
        _figure(plots.corner(propagated)),
    ]
    if propagated.deviations is not None:
        parts += ["<h2>Uncertainty of the structure</h2>", _figure(plots.sensitivity_map(propagated))]
    if records is not None:
        parts += [
            "<h2>Validation</h2>",
            *(f"<p>{escape(line)}</p>" for line in outcome_lines(records)),
            f"<p>{int(records.forces.sum()):,} force evaluations.</p>",
            _table(agreement_rows(agreement(records, limit))),
            _figure(plots.parity(records)),
        ]
    title = escape(propagated.path.stem)
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f"<!doctype html><html><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _table(rows: Sequence[Iterable[str]]) -> str:
    head, *body = rows
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body]
    return f"<table>{''.join(lines)}</table>"


def _trust(propagated: Propagated) -> str:
    known = propagated.attributes
    if all(np.isnan(found.error).all() for found in propagated.distributions.values()):
        return "Errors were not estimated: the derivatives were taken without an ensemble."
    return (
        f"{int(known['flagged']):,} samples are outside the trust range: for some observable the estimated error "
        f"exceeds {float(known['limit']):.0%} of the change and of the ensemble's spread, or the stiffness of a "
        "softest mode changes by half, or that of one of the next modes falls below a quarter."
    )


def _figure(figure: Any) -> str:
    if figure is None:
        return ""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return f'<p><img src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"></p>'
