"""Run an inverse problem from its configuration: cells, loss, constraints, files."""

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
from lammps_implicit.inverse.history import History, Setting, move_to_structures, read_history, write_history
from lammps_implicit.inverse.loss import LossContext
from lammps_implicit.inverse.places import Place
from lammps_implicit.inverse.plots import plot_history
from lammps_implicit.inverse.problem import Held, Problem
from lammps_implicit.inverse.terms import Positions, Term
from lammps_implicit.minimum import Minimum
from lammps_implicit.observables.cells import require_same_potential
from lammps_implicit.observables.kind import Cells, Measure, measures_of
from lammps_implicit.potentials.labels import select
from lammps_implicit.results.format import __version__
from lammps_implicit.results.text import write_data, write_xyz

Say = Callable[[str], None]

HISTORY, TUNED, PLOT, STRUCTURES = "history.h5", "tuned", "history.png", "structures"
"""Files in the folder of results."""


@dataclass(frozen=True)
class Inversion:
    """Outcome of an inversion.

    Attributes
    ----------
    descent : Descent
    start, end : dict of str to float
        Observables.
    names : tuple of str
    change : (P,) float array
        Of the parameters.
    scale : (P,) float array
    files : list of Path
    """

    descent: Descent
    start: dict[str, float]
    end: dict[str, float]
    names: tuple[str, ...]
    change: FloatArray
    scale: FloatArray
    files: list[Path]

    def rows(self) -> list[tuple[str, str]]:
        """Rows of a table: why it ended, and what changed."""
        first, last = self.descent.history[0], self.descent.history[-1]
        shares = self.change / self.scale
        most = int(np.argmax(np.abs(shares)))
        terms = first.terms if len(first.terms) > 1 else {}
        return [
            ("ended", self.descent.reason),
            ("iterations", str(last.number)),
            ("loss", f"{first.loss:.6g} -> {last.loss:.6g}"),
            *((f"loss: {name}", f"{value:.6g} -> {last.terms[name]:.6g}") for name, value in terms.items()),
            *((name, f"{value:.8g} -> {self.end[name]:.8g}") for name, value in self.start.items()),
            ("change of the parameters", f"{np.linalg.norm(shares):.3g} in units of their scales"),
            ("most of it", f"{self.names[most]} by {shares[most]:+.3g} of its scale"),
            ("evaluations", f"{last.forces} forces, {last.descriptors} descriptors"),
        ]


def invert(
    settings: InversionSettings,
    folder: Path,
    comm: MPI.Comm | None = None,
    resume: bool = False,
    say: Say = lambda line: None,
    clear: Callable[[], None] = lambda: None,
) -> Inversion:
    """Tune parameters until relaxed cells are what the loss asks for.

    Parameters
    ----------
    settings : InversionSettings
    folder : Path
        Exists; for the history, the tuned potential, and structures.
    comm : MPI.Comm, optional
    resume : bool
        Whether to go on where the history in the folder ends.
    say : callable
        Called with what is being done.
    clear : callable
        Called on rank 0 once everything is read, before anything is written.

    Raises
    ------
    LammpsImplicitError
    """
    for term in settings.loss.all_terms():
        term.prepare()
    with open_cells(settings, comm, say) as cells:
        for term in settings.loss.all_terms():
            term.check(cells)
        first = next(iter(cells.values()))
        measures = measures_of(settings.observables, cells, settings.tol)
        digest = _digest(settings, cells)
        known = first.engine.on_root(lambda: read_history(folder / HISTORY)) if resume else None
        if known is not None and known.setting.digest != digest:
            raise OutputError(f"{folder / HISTORY} is of another configuration, deck or potential")
        now = known.setting.start if known else {name: _number(measure, cells) for name, measure in measures.items()}
        setting = Setting(digest, first.potential.names, first.potential.theta.copy(), now)
        problem = make_problem(settings, cells, measures, now, setting.theta)
        descent, seen = Descent(radius=settings.first_step), []
        if known is not None:
            descent = known.descent
            move_to_structures(folder / HISTORY, descent.history[-1].theta, cells, settings.ftol)
            count, last, fresh = len(descent.history), descent.history[-1], problem.evaluations
            problem.earlier = Evaluations(last.forces - fresh.forces, last.descriptors - fresh.descriptors)
            seen = [{name: float(known.observables[name][k]) for name in measures} for k in range(count)]
            say(f"going on after iteration {count - 1}")
        else:
            _meet_equalities(settings.parameters, problem)
        first.engine.on_root(clear)
        start = descent.history[0].loss if descent.history else problem.value()
        recorder = _Recorder(folder, settings, setting, problem, measures, seen, say)
        descent.reason, descent.converged = "", False
        target, limit = settings.reduction * start, settings.iterations
        minimise(problem, target, limit, _optimizer(settings), descent, recorder)
        return recorder.finish(descent)


@contextmanager
def open_cells(settings: InversionSettings, comm: MPI.Comm | None, say: Say) -> Iterator[dict[str, Minimum]]:
    """Run all decks; the free parameters are those of the minima.

    Raises
    ------
    LammpsImplicitError
        With the name of the cell it is about.
    """
    with ExitStack() as stack:
        cells: dict[str, Minimum] = {}
        for name, cell in settings.cells.items():
            say(f"relaxing {name}")
            try:
                cells[name] = stack.enter_context(_relaxed(cell, settings, comm))
            except LammpsImplicitError as error:
                raise type(error)(f"{name}: {error}") from None
        require_same_potential(list(cells.values()))
        yield cells


def _relaxed(cell: CellSettings, settings: InversionSettings, comm: MPI.Comm | None) -> Minimum:
    return Minimum.from_deck(
        cell.deck,
        comm,
        settings.parameters.free,
        variables=cell.index_variables(),
        ftol=settings.ftol,
        force_limit=np.inf if cell.relax else cell.force_limit,
        cell=cell.cell,
        pressure=cell.pressure,
    )


def make_problem(
    settings: InversionSettings,
    cells: dict[str, Minimum],
    measures: dict[str, Measure],
    start: dict[str, float],
    theta: FloatArray,
) -> Problem:
    """Put the problem together; targets of changes count from the observables at the start.

    Parameters
    ----------
    settings : InversionSettings
    cells : dict of str to Minimum
    measures : dict of str to callable
    start : dict of str to float
        Observables at the start.
    theta : (P,) float array
        Parameters there.
    """
    names = next(iter(cells.values())).potential.names
    parameters, hold = settings.parameters, settings.hold
    scale = scales(theta, parameters.scale)
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
        starts={name: Place.of(cells[name]) for name, cell in settings.cells.items() if cell.from_start},
    )


def scales(theta: FloatArray, kind: str) -> FloatArray:
    """What counts as a change of size one: |Θ|, a typical one where it vanishes; or that for all, (P,)."""
    sizes = np.abs(theta)
    typical = float(np.median(sizes[sizes > 0])) if sizes.any() else 1.0
    return np.full(len(theta), typical) if kind == "uniform" else np.where(sizes > 0, sizes, typical)


def _optimizer(settings: InversionSettings) -> str:
    if settings.optimizer == "auto":
        return "gauss-newton" if all(term.least_squares for term in settings.loss.all_terms()) else "lbfgs"
    return settings.optimizer


def _number(measure: Measure, cells: Cells) -> float:
    return float(measure(cells, 0).value)


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
                raise LammpsImplicitError(f"equalities: there is no free parameter {label}: {names[0]} to {names[-1]}")
            row[names.index(label)] = weight
    return rows if len(rows) else None


def _meet_equalities(settings: ParameterSettings, problem: Problem) -> None:
    """Step to where all equalities hold."""
    if problem.equalities is None:
        return
    now = problem.equalities @ problem.theta
    wanted = [e.value if e.value is not None else is_ for e, is_ in zip(settings.equalities, now, strict=True)]
    missing = np.array(wanted) - now
    if np.abs(missing).max() <= 1e-14 * np.abs(now).max(initial=1e-300):
        return
    allowed = free_space(problem.first.potential.names, problem.scale)
    change = correction(problem.equalities, missing, problem.scale, allowed)
    if np.abs(problem.equalities @ change - missing).max() > 1e-8 * np.abs(missing).max():
        raise LammpsImplicitError("equalities: they contradict each other")
    with problem.trial(change) as trial:
        problem.correct(problem.held_gradients())
        trial.keep()
    try:
        problem.require_within_bounds()
    except LammpsImplicitError:
        raise LammpsImplicitError("equalities: they hold only beyond the bounds") from None


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
        raise LammpsImplicitError(f"bounds: {names[outside[0]]} starts at {theta[outside[0]]:g}, outside them")
    return low, high


def _digest(settings: InversionSettings, cells: dict[str, Minimum]) -> str:
    """Of everything that the history depends on; how far it is to go may change."""
    dumped = settings.model_dump(mode="json", exclude={"iterations", "reduction", "structures"})
    files = inputs(settings)
    text = json.dumps(dumped, sort_keys=True)
    for folder in sorted({str(file.parent) for file in files}, key=len, reverse=True):
        text = text.replace(folder, "")  # what was moved as a whole is the same
    first = next(iter(cells.values()))
    contents = first.engine.on_root(lambda: [sha256(file) for file in files])
    states = {name: f"{cell.engine.n_atoms} {cell.energy:.6g}" for name, cell in cells.items()}
    known = [text, contents, first.potential.text, dict(first.potential.fixed), states]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


class _Recorder:
    """Callback of the descent: writes every iteration to files, and says how far it is."""

    def __init__(
        self,
        folder: Path,
        settings: InversionSettings,
        setting: Setting,
        problem: Problem,
        measures: dict[str, Measure],
        seen: list[dict[str, float]],
        say: Say,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.setting = setting
        self.problem = problem
        self.measures = measures
        self.seen = seen
        self.say = say
        self.began = time.monotonic()
        self.first = len(seen)

    def __call__(self, descent: Descent) -> None:
        cells, last = self.problem.cells, descent.history[-1]
        self.seen.append({name: _number(measure, cells) for name, measure in self.measures.items()})
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
            f"iteration {last.number}: loss {last.loss:.4g} ({share:.2g} of the first), step {last.step:.2g}, "
            f"{last.forces} force evaluations{self._remaining(descent)}"
        )

    def _history(self, descent: Descent) -> History:
        observables = {name: np.array([values[name] for values in self.seen]) for name in self.measures}
        return History(self.setting, descent, observables)

    def _remaining(self, descent: Descent) -> str:
        """Estimate of the time left, from how fast the loss falls."""
        losses = [iteration.loss for iteration in descent.history]
        done = len(losses) - 1 - max(self.first - 1, 0)
        wanted = self.settings.reduction * losses[0]
        if done < 1 or not losses[-1] > wanted > 0:
            return ""
        each = (time.monotonic() - self.began) / (done + 1)
        fallen = np.log(losses[max(len(losses) - 4, 0)] / losses[-1]) / min(3, len(losses) - 1)
        left = self.settings.iterations - len(losses) + 1
        steps = min(left, np.log(losses[-1] / wanted) / fallen) if fallen > 0 else left
        return f", about {steps * each:.0f} s remain"

    def _write_potential(self, descent: Descent) -> list[Path]:
        first, last = self.problem.first, descent.history[-1]
        decks = ", ".join(f"{name}: {cell.deck_name}" for name, cell in self.problem.cells.items())
        comments = [
            f"Tuned by lammps-implicit {__version__}, iteration {last.number}: loss {last.loss:.6g}, at first "
            f"{descent.history[0].loss:.6g}",
            f"Parameters that were free: {self.settings.parameters.free}; decks {decks}",
        ]
        stem = self.folder / TUNED
        return first.engine.on_root(lambda: first.potential.write(stem, comments, overwrite=True))

    def finish(self, descent: Descent) -> Inversion:
        """Write the last state, and the figure."""
        cells = self.problem.cells
        write_history(self.folder / HISTORY, self._history(descent), cells)
        files = [self.folder / HISTORY, *self._write_potential(descent)]
        first = self.problem.first
        plot = self.folder / PLOT
        first.engine.on_root(lambda: write_figure(plot, plot_history(self._history(descent)), overwrite=True))
        change = self.problem.theta - self.setting.theta
        return Inversion(
            descent, self.setting.start, self.seen[-1], self.setting.names, change, self.problem.scale, [*files, plot]
        )
