"""Run an inverse problem from its configuration: cells, loss, constraints, files."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.ensembles.ensemble import read_ensemble
from lammps_implicit.errors import LammpsImplicitError, OutputError
from lammps_implicit.evaluators.interface import Evaluations
from lammps_implicit.files import sha256
from lammps_implicit.inverse import config
from lammps_implicit.inverse.config import Cell, Configuration, Function, ParameterSettings, Target
from lammps_implicit.inverse.constraints import correction, free_space
from lammps_implicit.inverse.descent import Descent, minimise
from lammps_implicit.inverse.history import Setting, move_to_structures, read_history, write_history
from lammps_implicit.inverse.places import Place
from lammps_implicit.inverse.plots import plot_history
from lammps_implicit.inverse.problem import Held, Problem
from lammps_implicit.inverse.quantities import Measure, measures_of
from lammps_implicit.inverse.targets import read_positions
from lammps_implicit.inverse.terms import Cells, Number, Positions, Prior, Term, UserTerm, positions
from lammps_implicit.minimum import Minimum
from lammps_implicit.observables.cells import require_same_potential
from lammps_implicit.potentials.labels import select
from lammps_implicit.results.text import write_data, write_xyz

Say = Callable[[str], None]

HISTORY, TUNED, PLOT, STRUCTURES = "history.h5", "tuned", "history.png", "structures"
"""Files in the folder of results."""


@dataclass(frozen=True)
class Inversion:
    """What came of it.

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


def invert(
    configuration: Configuration,
    folder: Path,
    comm: Any = None,
    resume: bool = False,
    say: Say = lambda line: None,
    clear: Callable[[], None] = lambda: None,
) -> Inversion:
    """Tune parameters until relaxed cells are what the loss asks for.

    Parameters
    ----------
    configuration : Configuration
    folder : Path
        Exists; for the history, the tuned potential, and structures.
    comm : mpi4py communicator, optional
    resume : bool
        Whether to go on where the history in the folder ends.
    say : callable
        Told what is being done.
    clear : callable
        Called on rank 0 once everything is read, before anything is written.

    Raises
    ------
    LammpsImplicitError
    """
    with open_cells(configuration, comm, say) as cells:
        first = next(iter(cells.values()))
        measures = measures_of(configuration.observables, cells, configuration.tol)
        digest = _digest(configuration, cells)
        known = first.engine.on_root(lambda: read_history(folder / HISTORY)) if resume else None
        if known is not None and known.setting.digest != digest:
            raise OutputError(f"{folder / HISTORY} is of another configuration, deck or potential")
        now = known.setting.start if known else {name: _number(measure, cells) for name, measure in measures.items()}
        setting = Setting(digest, first.potential.names, first.potential.theta.copy(), now)
        problem = make_problem(configuration, cells, measures, now, setting.theta)
        descent, seen = Descent(radius=configuration.first_step), []
        if known is not None:
            descent = known.descent
            move_to_structures(folder / HISTORY, descent.history[-1].theta, cells, configuration.ftol)
            count, last, fresh = len(descent.history), descent.history[-1], problem.evaluations
            problem.earlier = Evaluations(last.forces - fresh.forces, last.descriptors - fresh.descriptors)
            seen = [{name: float(known.observables[name][k]) for name in measures} for k in range(count)]
            say(f"going on after iteration {count - 1}")
        else:
            _meet_equalities(configuration.parameters, problem)
        first.engine.on_root(clear)
        start = descent.history[0].loss if descent.history else problem.value()
        recorder = _Recorder(folder, configuration, setting, problem, measures, seen, say)
        descent.reason, descent.converged = "", False
        target, limit = configuration.reduction * start, configuration.iterations
        minimise(problem, target, limit, _optimizer(configuration), descent, recorder)
        return recorder.finish(descent)


@contextmanager
def open_cells(configuration: Configuration, comm: Any, say: Say) -> Iterator[dict[str, Minimum]]:
    """Run all decks; the free parameters are those of the minima.

    Raises
    ------
    LammpsImplicitError
        With the name of the cell it is about.
    """
    with ExitStack() as stack:
        cells: dict[str, Minimum] = {}
        for name, cell in configuration.cells.items():
            say(f"relaxing {name}")
            try:
                cells[name] = stack.enter_context(_relaxed(cell, configuration, comm))
            except LammpsImplicitError as error:
                raise type(error)(f"{name}: {error}") from None
        require_same_potential(list(cells.values()))
        yield cells


def _relaxed(cell: Cell, configuration: Configuration, comm: Any) -> Minimum:
    return Minimum.from_deck(
        cell.deck,
        comm,
        configuration.parameters.free,
        variables=cell.settings(),
        ftol=configuration.ftol,
        force_limit=np.inf if cell.relax else cell.force_limit,
        cell=cell.cell,
        pressure=cell.pressure,
    )


def make_problem(
    configuration: Configuration,
    cells: dict[str, Minimum],
    measures: dict[str, Measure],
    start: dict[str, float],
    theta: FloatArray,
) -> Problem:
    """Put the problem together; targets of changes count from the observables at the start.

    Parameters
    ----------
    configuration : Configuration
    cells : dict of str to Minimum
    measures : dict of str to callable
    start : dict of str to float
        Observables at the start.
    theta : (P,) float array
        Parameters there.
    """
    names = next(iter(cells.values())).potential.names
    settings, hold = configuration.parameters, configuration.hold
    scale = scales(theta, settings.scale)
    terms: list[Term] = [_positions(term, cells, place) for place, term in enumerate(configuration.loss.positions, 1)]
    for name, aim in configuration.loss.observables.items():
        target = start[name] + aim.change if aim.target is None and aim.change is not None else aim.target
        assert target is not None
        terms.append(Number(name, measures[name], target, aim.scale))
    terms += [
        UserTerm(term.cell, _load(term), f"{term.function} of {term.file.name} ({term.cell})")
        for term in configuration.loss.functions
    ]
    terms += _priors(configuration.loss.prior, next(iter(cells.values())), theta, scale)
    factored = _optimizer(configuration) == "gauss-newton" and any(isinstance(term, Positions) for term in terms)
    return Problem(
        cells,
        terms,
        scale,
        equalities=_equalities(settings, names),
        bounds=_bounds(settings, names, theta),
        held=[Held(name, measures[name], start[name], hold.tol) for name in hold.observables],
        factored=factored,
        tol=configuration.tol,
        ftol=configuration.ftol,
        trust=configuration.trust,
        jump=configuration.jump,
        starts={name: Place.of(cells[name]) for name, cell in configuration.cells.items() if cell.from_start},
    )


def scales(theta: FloatArray, kind: str) -> FloatArray:
    """What counts as a change of size one: |Θ|, a typical one where it vanishes; or that for all, (P,)."""
    sizes = np.abs(theta)
    typical = float(np.median(sizes[sizes > 0])) if sizes.any() else 1.0
    return np.full(len(theta), typical) if kind == "uniform" else np.where(sizes > 0, sizes, typical)


def _optimizer(configuration: Configuration) -> str:
    if configuration.optimizer == "auto":
        return "lbfgs" if configuration.loss.functions else "gauss-newton"
    return configuration.optimizer


def _number(measure: Measure, cells: Cells) -> float:
    return float(measure(cells, 0).value)


def _positions(term: Target, cells: dict[str, Minimum], place: int) -> Positions:
    minimum = cells[term.cell]
    engine, name = minimum.engine, f"positions of {term.cell}"
    target = read_positions(term.target, minimum, term.cell)
    chosen = np.ones(len(minimum.ids), bool)
    if term.ids is not None:
        chosen = np.isin(minimum.ids, term.ids)
        missing = len(set(term.ids)) - int(engine.sum(int(chosen.sum())))
        if missing:
            raise LammpsImplicitError(f"{name}: {missing} of the ids asked for are no atoms of it")
    elif term.near is not None:
        here = (minimum.ids == term.near).astype(float)
        if not engine.sum(float(here.sum())):
            raise LammpsImplicitError(f"{name}: there is no atom {term.near}")
        centre = np.asarray(engine.sum(here @ minimum.positions))
        chosen = np.linalg.norm(engine.nearest_image(minimum.positions - centre), axis=1) <= term.radius
    weights = np.full(int(chosen.sum()), term.weight)
    return positions(cells, term.cell, minimum.ids[chosen], target[chosen], weights, f"{name} ({place})")


def _priors(prior: config.Prior, first: Minimum, theta: FloatArray, scale: FloatArray) -> list[Term]:
    terms: list[Term] = []
    if prior.ridge:
        terms.append(Prior(theta, np.diag(prior.ridge / scale**2), "ridge"))
    if prior.covariance is not None:
        file, parameters = prior.covariance, first.parameters
        covariance = first.engine.on_root(lambda: read_ensemble(file, parameters, allow_singular=True).covariance)
        # Directions without spread: as stiff as the stiffest that has some.
        values, vectors = np.linalg.eigh(covariance * np.outer(1 / scale, 1 / scale))
        inverse = vectors @ np.diag(1 / np.maximum(values, 1e-10 * values[-1])) @ vectors.T
        terms.append(Prior(theta, prior.weight * inverse / np.outer(scale, scale), "covariance"))
    return terms


def _load(term: Function) -> Callable[[Minimum], tuple[float, FloatArray]]:
    """Import a user's function from a file."""
    spec = importlib.util.spec_from_file_location(f"loss_in_{term.file.stem}", term.file)
    if spec is None or spec.loader is None:
        raise LammpsImplicitError(f"{term.file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    try:
        spec.loader.exec_module(module)
        found = getattr(module, term.function)
    except Exception as error:  # whatever the user's file raises
        raise LammpsImplicitError(f"{term.file}: {term.function} cannot be imported ({error})") from None
    return found


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


def _digest(configuration: Configuration, cells: dict[str, Minimum]) -> str:
    """Of everything that the history depends on; how far it is to go may change."""
    settings = configuration.model_dump(mode="json", exclude={"iterations", "reduction", "structures"})
    files = config.inputs(configuration)
    text = json.dumps(settings, sort_keys=True)
    for folder in sorted({str(file.parent) for file in files}, key=len, reverse=True):
        text = text.replace(folder, "")  # what was moved as a whole is the same
    first = next(iter(cells.values()))
    contents = first.engine.on_root(lambda: [sha256(file) for file in files])
    states = {name: f"{cell.engine.n_atoms} {cell.energy:.6g}" for name, cell in cells.items()}
    known = [text, contents, first.potential.text, dict(first.potential.fixed), states]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


class _Recorder:
    """Called with every iteration: writes it down and tells of it."""

    def __init__(
        self,
        folder: Path,
        configuration: Configuration,
        setting: Setting,
        problem: Problem,
        measures: dict[str, Measure],
        seen: list[dict[str, float]],
        say: Say,
    ) -> None:
        self.folder = folder
        self.configuration = configuration
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
        if self.configuration.structures:
            for name, cell in cells.items():
                stem = self.folder / STRUCTURES / f"{last.number:03d}_{name}"
                write_data(
                    stem.with_name(stem.name + ".data"), cell, f"{name}, iteration {last.number}", overwrite=True
                )
                write_xyz(stem.with_name(stem.name + ".xyz"), cell, overwrite=True)
        self._write_potential(descent)
        write_history(self.folder / HISTORY, self.setting, descent, self.seen, cells)
        start = descent.history[0].loss
        share = last.loss / start if start > 0 else 0.0
        self.say(
            f"iteration {last.number}: loss {last.loss:.4g} ({share:.2g} of the first), step {last.step:.2g}, "
            f"{last.forces} force evaluations{self._remaining(descent)}"
        )

    def _remaining(self, descent: Descent) -> str:
        """Estimate of the time left, from how fast the loss falls."""
        losses = [iteration.loss for iteration in descent.history]
        done = len(losses) - 1 - max(self.first - 1, 0)
        wanted = self.configuration.reduction * losses[0]
        if done < 1 or not losses[-1] > wanted > 0:
            return ""
        each = (time.monotonic() - self.began) / (done + 1)
        fallen = np.log(losses[max(len(losses) - 4, 0)] / losses[-1]) / min(3, len(losses) - 1)
        left = self.configuration.iterations - len(losses) + 1
        steps = min(left, np.log(losses[-1] / wanted) / fallen) if fallen > 0 else left
        return f", about {steps * each:.0f} s remain"

    def _write_potential(self, descent: Descent) -> list[Path]:
        from lammps_implicit.results.format import __version__

        first, last = self.problem.first, descent.history[-1]
        decks = ", ".join(f"{name}: {cell.deck_name}" for name, cell in self.problem.cells.items())
        comments = [
            f"Tuned by lammps-implicit {__version__}, iteration {last.number}: loss {last.loss:.6g}, at first "
            f"{descent.history[0].loss:.6g}",
            f"Parameters that were free: {self.configuration.parameters.free}; decks {decks}",
        ]
        stem = self.folder / TUNED
        return first.engine.on_root(lambda: first.potential.write(stem, comments, overwrite=True))

    def finish(self, descent: Descent) -> Inversion:
        """Write the end down."""
        cells = self.problem.cells
        write_history(self.folder / HISTORY, self.setting, descent, self.seen, cells)
        files = [self.folder / HISTORY, *self._write_potential(descent)]
        first = self.problem.first
        plot = self.folder / PLOT
        first.engine.on_root(lambda: plot_history(plot, read_history(self.folder / HISTORY)))
        change = self.problem.theta - self.setting.theta
        return Inversion(
            descent, self.setting.start, self.seen[-1], self.setting.names, change, self.problem.scale, [*files, plot]
        )
