"""Saving records as JSON with machine and versions, and showing them as tables and plots."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lammps_implicit.benchmarks.machine import describe_machine
from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.errors import LammpsImplicitError, OutputError
from lammps_implicit.files import refuse_to_overwrite, written_whole

Say = Callable[[str], None]
"""Called with a line of text that says what is measured next."""

WIDTH = 120
"""Width of tables, in characters, if the output is not a terminal."""


@dataclass(frozen=True)
class Benchmark:
    """How the records of one benchmark are identified and shown.

    Attributes
    ----------
    name : str
        Name of its files.
    title : str
        Title of the table.
    key : tuple of str
        Names of the entries that identify a record.
    columns : tuple of str
        Headings of the table.
    rows : callable
        Called with records; returns the rows of the table.
    plot : callable
        Called with (path, records); draws a PNG file.
    """

    name: str
    title: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    rows: Callable[[Sequence[Record]], list[tuple[str, ...]]]
    plot: Callable[[Path, Sequence[Record]], None]

    def files(self, folder: Path) -> tuple[Path, Path]:
        """Paths of the JSON file and the plot."""
        return folder / f"{self.name}.json", folder / f"{self.name}.png"


def publish(
    benchmark: Benchmark, records: Iterable[Record], folder: Path, overwrite: bool = False, add: bool = False
) -> list[Record]:
    """Save each record as soon as it is measured, then draw the plot.

    Parameters
    ----------
    benchmark : Benchmark
    records : iterable of dict
    folder : Path
        Existing folder for the files.
    overwrite : bool
        Replace the files of an earlier run.
    add : bool
        Keep the records of an earlier run on this machine, except those measured again.

    Returns
    -------
    list of dict
        All records, those of the earlier run included.

    Raises
    ------
    OutputError
        If a file exists and may not be replaced, or `add` would mix machines or versions.
    """
    data, picture = benchmark.files(folder)
    machine = describe_machine()
    kept = {_key(benchmark, record): record for record in (_earlier(data, machine) if add else [])}
    for path in (data, picture):
        refuse_to_overwrite(path, overwrite or add)
    for record in records:
        kept[_key(benchmark, record)] = record
        document = {"benchmark": benchmark.title, "machine": machine, "records": list(kept.values())}
        with written_whole(data, True) as temporary:
            temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    benchmark.plot(picture, list(kept.values()))
    return list(kept.values())


def table(benchmark: Benchmark, records: Sequence[Record]) -> Any:
    """Records as a ``rich`` table."""
    from rich import box
    from rich.table import Table

    shown = Table(title=benchmark.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for name in benchmark.columns:
        shown.add_column(name, justify="left" if name in ("system", "method") else "right", overflow="fold")
    for row in benchmark.rows(records):
        shown.add_row(*row)
    return shown


def console() -> Any:
    """A ``rich`` console, wide enough for the tables if the output is not a terminal."""
    from rich.console import Console

    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=WIDTH)


@contextmanager
def narrated(console: Any) -> Iterator[Say]:
    """Yield a `Say` function: it shows a spinner with elapsed seconds on a terminal, and plain lines otherwise."""
    start = time.perf_counter()
    if console.is_terminal:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=None)

            def describe(text: str) -> None:
                bar.reset(task, description=text)

            yield describe
    else:
        yield lambda text: console.print(f"{time.perf_counter() - start:6.0f} s  {text}", markup=False)


def full_size(
    benchmark: Benchmark, description: str | None, measure: Callable[[argparse.Namespace, Say], Iterator[Record]]
) -> None:
    """Command line of a full-size benchmark: measure, save, and print the table.

    Parameters
    ----------
    benchmark : Benchmark
    description : str
        Text for ``--help``.
    measure : callable
        Called with (options, say), where options have ``largest`` and ``smallest`` numbers of atoms and ``ranks``;
        yields records.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results"), help="folder for the results")
    parser.add_argument("--largest", type=int, required=True, metavar="ATOMS", help="leave out cells larger than this")
    parser.add_argument(
        "--smallest",
        type=int,
        default=0,
        metavar="ATOMS",
        help="leave out cells smaller than this, if there are several",
    )
    parser.add_argument("--ranks", type=int, default=1, help="MPI ranks of each measurement (iterations.py only)")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace the records of an earlier run")
    existing.add_argument("--add", action="store_true", help="keep earlier records, except those measured again")
    options = parser.parse_args()
    shown = console()
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        with narrated(shown) as say:
            records = publish(benchmark, measure(options, say), options.output, options.overwrite, options.add)
    except (LammpsImplicitError, OSError) as error:
        sys.exit(f"error: {error}")
    shown.print(table(benchmark, records))


def figure(panels: int) -> tuple[Any, Any]:
    """A figure and a row of axes, without pyplot."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(4.6 * panels, 4.0), layout="constrained", dpi=150)
    return drawn, drawn.subplots(1, panels, squeeze=False)[0]


def atoms_axis(axes: Any, atoms: Iterable[int]) -> None:
    """Make x a logarithmic axis of the number of atoms, with ticks at the sizes measured, thinned out where close."""
    sizes = sorted(set(atoms))
    apart = max((sizes[-1] / sizes[0]) ** 0.125, 1.3)
    ticks = sizes[:1]
    for size in sizes:
        if size >= apart * ticks[-1]:
            ticks.append(size)
    axes.set(xscale="log", xlabel="atoms")
    axes.set_xticks(ticks, [f"{size:,}" for size in ticks], fontsize="small")
    axes.set_xticks([], minor=True)
    axes.grid(alpha=0.3)


def logarithmic(axis: Any, between: tuple[float, ...] = (1.0,)) -> None:
    """Label a logarithmic axis at these multiples of powers of ten, with plain numbers if they are short."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=between, numticks=12))
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.10g}" if 1e-2 <= value < 1e6 else f"{value:.0e}")
    )
    axis.set_minor_formatter(NullFormatter())


def legend(drawn: Any, axes: Any, columns: int) -> None:
    """Put a legend of the curves in `axes` below all panels."""
    handles, labels = axes.get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize="small")


def _key(benchmark: Benchmark, record: Record) -> tuple[Any, ...]:
    return tuple(record[name] for name in benchmark.key)


def _earlier(path: Path, machine: dict[str, Any]) -> list[Record]:
    """Records of an earlier run on this machine."""
    if not path.exists():
        return []
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        known, records = document["machine"], document["records"]
    except (OSError, ValueError, LookupError, TypeError):
        raise OutputError(f"{path} holds no records to add to: start again in another folder") from None
    if known != machine:
        raise OutputError(f"{path} was measured on another machine or with other versions: start in another folder")
    return list(records)
