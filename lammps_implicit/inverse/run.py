"""The command ``invert``: set up an inverse problem from its configuration, solve it, and record the results."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from mpi4py import MPI

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import LammpsImplicitError, OutputError
from lammps_implicit.evaluators.interface import Evaluations
from lammps_implicit.files import sha256, write_figure
from lammps_implicit.inverse.config import CellSettings, InversionSettings, ParameterSettings, inputs
from lammps_implicit.inverse.constraints import correction, free_space
from lammps_implicit.inverse.descent import Descent, minimise
from lammps_implicit.inverse.history import History, InitialState, move_to_structures, read_history, write_history
from lammps_implicit.inverse.loss import LossContext
from lammps_implicit.inverse.plots import plot_history
from lammps_implicit.inverse.problem import Held, Problem
from lammps_implicit.inverse.saved_structure import SavedStructure
from lammps_implicit.inverse.terms import Number, Positions, Term
from lammps_implicit.minimum import Minimum
from lammps_implicit.observables.error_context import errors_about
from lammps_implicit.observables.kind import Cells, Measure, measures_of
from lammps_implicit.potentials.labels import select
from lammps_implicit.response.statistics import Statistics, combined
from lammps_implicit.results.format import __version__
from lammps_implicit.results.text import write_data, write_xyz
from lammps_implicit.stationary.comparable import require_same_potential

Say = Callable[[str], None]
"""Prints or logs a one-line message."""

HISTORY, TUNED, PLOT, STRUCTURES = "history.h5", "tuned", "history.png", "structures"
"""Names in the folder of results: two files, the stem of the tuned potential, and a folder."""


@dataclass(frozen=True)
class Inversion:
    """Outcome of an inversion.

    Attributes
    ----------
    descent : Descent
        With the history of all iterations.
    start, end : dict of str to float
        Initial and final values of the observables.
    targets : dict of str to float
        Of those that have one.
    units : dict of str to str
        Their units.
    names : tuple of str
        Labels of the free parameters.
    change : (P,) float array
        Change of the parameters.
    scale : (P,) float array
        Unit of changes of each parameter.
    files : list of Path
        Files written, besides structures.
    quality : Statistics
        What checks found of the derivatives at the end, in all cells.
    """

    descent: Descent
    start: dict[str, float]
    end: dict[str, float]
    targets: dict[str, float]
    units: dict[str, str]
    names: tuple[str, ...]
    change: FloatArray
    scale: FloatArray
    files: list[Path]
    quality: Statistics

    def rows(self) -> list[tuple[str, str]]:
        """Rows of a table: why the descent ended, and what changed."""
        first, last = self.descent.history[0], self.descent.history[-1]
        shares = self.change / self.scale
        most = int(np.argmax(np.abs(shares)))
        terms = first.terms if len(first.terms) > 1 else {}
        return [
            ("ended", self.descent.reason),
            ("iterations", str(last.number)),
            ("loss", f"{first.loss:.6g} -> {last.loss:.6g}"),
            *((f"loss: {name}", f"{value:.6g} -> {last.terms[name]:.6g}") for name, value in terms.items()),
            *((name, self._change_of(name)) for name in self.start),
            ("change of the parameters", f"{np.linalg.norm(shares):.3g} in units of their scales"),
            ("largest change", f"{self.names[most]} by {shares[most]:+.3g} of its scale"),
            ("evaluations", f"{last.forces} forces, {last.descriptors} descriptors"),
            ("accuracy of derivatives", self.quality.finding),
        ]

    def _change_of(self, name: str) -> str:
        """Initial and final value of an observable, and its target."""
        target = f" (target {self.targets[name]:.8g})" if name in self.targets else ""
        return f"{self.start[name]:.8g} -> {self.end[name]:.8g} {self.units[name]}{target}"


def invert(
    settings: InversionSettings,
    folder: Path,
    comm: MPI.Comm | None = None,
    resume: bool = False,
    say: Say = lambda line: None,
    clear: Callable[[], None] = lambda: None,
) -> Inversion:
    """Tune the parameters of a potential to minimise a loss over relaxed cells.

    Parameters
    ----------
    settings : InversionSettings
    folder : Path
        Folder for the history, the tuned potential and structures; it exists at the latest after `clear`.
    comm : MPI.Comm, optional
        Default: all ranks.
    resume : bool
        Whether to continue from the last iteration of the history in the folder.
    say : callable
        Called with a line for each step.
    clear : callable
        Called on rank 0 after all input has been read, and the loss evaluated, before anything is written.

    Returns
    -------
    Inversion

    Raises
    ------
    LammpsImplicitError
        If settings contradict each other or the cells, a deck fails, or the history belongs to another configuration.
    """
    for term in settings.loss.all_terms():
        for file in term.code():
            say(f"running the Python code in {file}")
        term.prepare()
    with open_cells(settings, comm, say) as cells:
        for term in settings.loss.all_terms():
            term.check(cells)
        first = next(iter(cells.values()))
        measures = measures_of(settings.observables, cells, settings.tol)
        digest = _digest(settings, cells)
        known = first.engine.on_root(lambda: read_history(folder / HISTORY)) if resume else None
        if known is not None and known.version == 0:
            raise OutputError(
                f"{folder / HISTORY} was begun by version 0.1.0, whose settings were recorded in another way: start "
                "anew with --overwrite from the tuned potential in that folder, or resume with that version"
            )
        if known is not None and known.initial.digest != digest:
            raise OutputError(
                f"{folder / HISTORY} is of another configuration, deck or potential: choose another folder or "
                "--overwrite"
            )
        values = known.initial.observables if known else _values(measures, cells)
        initial = InitialState(digest, first.potential.names, first.potential.theta.copy(), values)
        problem = make_problem(settings, cells, measures, values, initial.theta)
        descent, seen = Descent(radius=settings.first_step), []
        if known is not None:
            descent = known.descent
            move_to_structures(folder / HISTORY, descent.history[-1].theta, cells, settings.ftol)
            # Evaluations to open the cells again are not counted: the history continues with its last count.
            count, last, spent = len(descent.history), descent.history[-1], problem.evaluations
            problem.previous = Evaluations(last.forces - spent.forces, last.descriptors - spent.descriptors)
            seen = [{name: float(known.observables[name][k]) for name in measures} for k in range(count)]
            say(f"resuming after iteration {count - 1}")
        else:
            _meet_equalities(settings.parameters, problem)
        start = descent.history[0].loss if descent.history else problem.value()
        first.engine.on_root(clear)  # from here on files are written: whatever can be refused has been
        recorder = _Recorder(folder, settings, initial, problem, measures, seen, say)
        descent.reason, descent.converged = "", False
        target, limit = settings.reduction * start, settings.iterations
        minimise(problem, target, limit, _optimizer(settings), descent, recorder)
        return recorder.finish(descent)


@contextmanager
def open_cells(settings: InversionSettings, comm: MPI.Comm | None, say: Say) -> Iterator[dict[str, Minimum]]:
    """Run all decks of a configuration, and close the cells at the end.

    Parameters
    ----------
    settings : InversionSettings
    comm : MPI.Comm or None
        None: all ranks.
    say : callable
        Called with a line for each deck.

    Yields
    ------
    dict of str to Minimum
        Cells by name; their parameters are the free ones.

    Raises
    ------
    LammpsImplicitError
        If a deck fails, with the name of its cell, or the cells have different potentials.
    """
    with ExitStack() as stack:
        cells: dict[str, Minimum] = {}
        for name, cell in settings.cells.items():
            say(f"relaxing {name}")
            with errors_about(name):
                cells[name] = stack.enter_context(_relaxed(cell, settings, comm))
        require_same_potential(list(cells.values()))
        yield cells


def _relaxed(cell: CellSettings, settings: InversionSettings, comm: MPI.Comm | None) -> Minimum:
    return Minimum.from_deck(
        cell.deck,
        comm,
        settings.parameters.free,
        variables=cell.index_variables(),
        ftol=settings.ftol,
        force_limit=cell.force_limit,
        cell=cell.cell,
        pressure=cell.pressure,
        accept_accuracy=cell.accept_accuracy,
        relax=cell.relax,
        differentiable=True,
    )


def make_problem(
    settings: InversionSettings,
    cells: dict[str, Minimum],
    measures: dict[str, Measure],
    start: dict[str, float],
    theta: FloatArray,
) -> Problem:
    """Set up the problem that a configuration describes.

    Parameters
    ----------
    settings : InversionSettings
    cells : dict of str to Minimum
    measures : dict of str to callable
        Functions that measure the observables of the configuration; see `measures_of`.
    start : dict of str to float
        Initial values of the observables: held values, and the reference of changes.
    theta : (P,) float array
        Initial parameters.

    Returns
    -------
    Problem

    Raises
    ------
    LammpsImplicitError
        If terms, bounds or equalities do not fit the cells or their parameters.
    """
    names = next(iter(cells.values())).potential.names
    parameters, hold = settings.parameters, settings.hold
    scale = _scales(theta, parameters.scale)
    terms = _terms(settings, LossContext(cells, measures, start, theta, scale))
    factored = _optimizer(settings) == "gauss-newton" and any(isinstance(term, Positions) for term in terms)
    return Problem(
        cells,
        terms,
        scale,
        equalities=_equalities(parameters, names),
        bounds=_bounds(parameters, names, theta),
        held=[Held(name, measures[name], start[name], hold.tol) for name in hold.observables],
        factored=factored,
        tol=settings.tol,
        ftol=settings.ftol,
        trust=settings.trust,
        jump=settings.jump,
        starts={name: SavedStructure.of(cells[name]) for name, cell in settings.cells.items() if cell.from_start},
    )


def _scales(theta: FloatArray, kind: str) -> FloatArray:
    """Units of changes of the parameters, (P,): |Θ|, with the median for zeros; the median for all if 'uniform'."""
    sizes = np.abs(theta)
    typical = float(np.median(sizes[sizes > 0])) if sizes.any() else 1.0
    return np.full(len(theta), typical) if kind == "uniform" else np.where(sizes > 0, sizes, typical)


def _optimizer(settings: InversionSettings) -> str:
    if settings.optimizer == "auto":
        return "gauss-newton" if all(term.least_squares for term in settings.loss.all_terms()) else "lbfgs"
    return settings.optimizer


def _values(measures: dict[str, Measure], cells: Cells) -> dict[str, float]:
    return {name: float(measure(cells, 0).value) for name, measure in measures.items()}


def _terms(settings: InversionSettings, context: LossContext) -> list[Term]:
    terms: list[Term] = []
    numbers: Counter[str] = Counter()
    for kind in settings.loss.all_terms():
        numbers[kind.kind] += 1
        built = kind.build(replace(context, number=numbers[kind.kind]))
        terms += built if isinstance(built, list) else [built]
    return terms


def _equalities(settings: ParameterSettings, names: tuple[str, ...]) -> FloatArray | None:
    rows = np.zeros((len(settings.equalities), len(names)))
    for row, equality in zip(rows, settings.equalities, strict=True):
        for label, weight in equality.coefficients.items():
            if label not in names:
                raise LammpsImplicitError(
                    f"equalities: there is no free parameter {label}; choose from {names[0]} to {names[-1]}"
                )
            row[names.index(label)] = weight
    return rows if len(rows) else None


def _meet_equalities(settings: ParameterSettings, problem: Problem) -> None:
    """Change the parameters such that all equalities hold."""
    if problem.equalities is None:
        return
    present = problem.equalities @ problem.theta
    required = [
        e.value if e.value is not None else value for e, value in zip(settings.equalities, present, strict=True)
    ]
    missing = np.array(required) - present
    if np.abs(missing).max() <= 1e-14 * np.abs(present).max(initial=1e-300):  # they hold to round-off
        return
    allowed = free_space(problem.first.potential.names, problem.scale)
    change = correction(problem.equalities, missing, problem.scale, allowed)
    if np.abs(problem.equalities @ change - missing).max() > 1e-8 * np.abs(missing).max():
        raise LammpsImplicitError("equalities: they contradict each other; remove or change one")
    with problem.trial(change) as trial:
        problem.correct(problem.held_gradients())
        trial.keep()
    try:
        problem.require_within_bounds()
    except LammpsImplicitError:
        raise LammpsImplicitError("equalities: they cannot be met within the bounds; change either") from None


def _bounds(
    settings: ParameterSettings, names: tuple[str, ...], theta: FloatArray
) -> tuple[FloatArray, FloatArray] | None:
    if not settings.bounds:
        return None
    low, high = np.full(len(names), -np.inf), np.full(len(names), np.inf)
    for pattern, bound in settings.bounds.items():
        chosen = select(names, pattern)
        if bound.within is not None:
            room = bound.within * np.abs(theta[chosen])
            low[chosen], high[chosen] = theta[chosen] - room, theta[chosen] + room
        else:
            low[chosen] = -np.inf if bound.low is None else bound.low
            high[chosen] = np.inf if bound.high is None else bound.high
    outside = np.flatnonzero((theta < low) | (theta > high))
    if len(outside):
        raise LammpsImplicitError(
            f"bounds: {names[outside[0]]} starts at {theta[outside[0]]:g}, outside its bounds; widen them"
        )
    return low, high


def _digest(settings: InversionSettings, cells: dict[str, Minimum]) -> str:
    """SHA-256 of everything that a history depends on; the limits of the descent may differ when it is resumed."""
    dumped = settings.model_dump(mode="json", exclude={"iterations", "reduction", "structures"})
    files = inputs(settings)
    text = json.dumps(dumped, sort_keys=True)
    for folder in sorted({str(file.parent) for file in files}, key=len, reverse=True):
        text = text.replace(folder, "")  # the digest must not change when all files are moved together
    first = next(iter(cells.values()))
    contents = first.engine.on_root(lambda: [sha256(file) for file in files])
    states = {name: f"{cell.engine.n_atoms} {cell.energy:.6g}" for name, cell in cells.items()}
    known = [text, contents, first.potential.text, dict(first.potential.fixed), states]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


class _Recorder:
    """Callback of the descent: writes every iteration to files and reports it."""

    def __init__(
        self,
        folder: Path,
        settings: InversionSettings,
        initial: InitialState,
        problem: Problem,
        measures: dict[str, Measure],
        seen: list[dict[str, float]],
        say: Say,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.initial = initial
        self.problem = problem
        self.measures = measures
        self.seen = seen
        self.say = say
        self.began = time.monotonic()
        self.first = len(seen)

    def __call__(self, descent: Descent) -> None:
        cells, last = self.problem.cells, descent.history[-1]
        self.seen.append(_values(self.measures, cells))
        if self.settings.structures:
            for name, cell in cells.items():
                stem = self.folder / STRUCTURES / f"{last.number:03d}_{name}"
                write_data(
                    stem.with_name(stem.name + ".data"), cell, f"{name}, iteration {last.number}", overwrite=True
                )
                write_xyz(stem.with_name(stem.name + ".xyz"), cell, overwrite=True)
        self._write_potential(descent)
        write_history(self.folder / HISTORY, self._history(descent), cells)
        start = descent.history[0].loss
        share = last.loss / start if start > 0 else 0.0
        self.say(
            f"iteration {last.number}: loss {last.loss:.4g} ({share:.2g} of the initial one), step {last.step:.2g}, "
            f"{last.forces} force evaluations{self._remaining(descent)}"
        )

    def _history(self, descent: Descent) -> History:
        observables = {name: np.array([values[name] for values in self.seen]) for name in self.measures}
        return History(self.initial, descent, observables)

    def _remaining(self, descent: Descent) -> str:
        """Estimated remaining time, from the rate at which the loss decreased in the last three iterations."""
        losses = [iteration.loss for iteration in descent.history]
        done = len(losses) - 1 - max(self.first - 1, 0)
        target = self.settings.reduction * losses[0]
        if done < 1 or not losses[-1] > target > 0:
            return ""
        each = (time.monotonic() - self.began) / (done + 1)
        rate = np.log(losses[max(len(losses) - 4, 0)] / losses[-1]) / min(3, len(losses) - 1)
        left = self.settings.iterations - len(losses) + 1
        steps = min(left, np.log(losses[-1] / target) / rate) if rate > 0 else left
        return f", about {steps * each:.0f} s remain"

    def _write_potential(self, descent: Descent) -> list[Path]:
        first, last = self.problem.first, descent.history[-1]
        decks = ", ".join(f"{name}: {cell.deck_name}" for name, cell in self.problem.cells.items())
        comments = [
            f"Tuned by lammps-implicit {__version__}, iteration {last.number}: loss {last.loss:.6g}, initially "
            f"{descent.history[0].loss:.6g}",
            f"Free parameters: {self.settings.parameters.free}; decks {decks}",
        ]
        stem = self.folder / TUNED
        return first.engine.on_root(lambda: first.potential.write(stem, comments, overwrite=True))

    def finish(self, descent: Descent) -> Inversion:
        """Write the final state and the figure."""
        cells = self.problem.cells
        write_history(self.folder / HISTORY, self._history(descent), cells)
        files = [self.folder / HISTORY, *self._write_potential(descent)]
        first = self.problem.first
        plot = self.folder / PLOT
        first.engine.on_root(lambda: write_figure(plot, plot_history(self._history(descent)), overwrite=True))
        for name, cell in cells.items():
            for doubt in cell.absurdities():
                self.say(f"warning: {name}: {doubt}")
        initial, change = self.initial, self.problem.theta - self.initial.theta
        targets = {term.name: term.target for term in self.problem.terms if isinstance(term, Number)}
        units = {name: measure(cells, 0).units for name, measure in self.measures.items()}
        return Inversion(
            descent,
            initial.observables,
            self.seen[-1],
            targets,
            units,
            initial.names,
            change,
            self.problem.scale,
            [*files, plot],
            combined({name: cell.overall for name, cell in cells.items()}),
        )
