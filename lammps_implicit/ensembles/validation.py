"""Predictions against the truth: a random part of an ensemble relaxed again, sample by sample."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.linalg import LinAlgError
from pydantic import ValidationError

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.ensembles.ensemble import Ensemble
from lammps_implicit.ensembles.propagation import LIMIT, propagate
from lammps_implicit.ensembles.shards import (
    DONE,
    FAILED,
    PENDING,
    SHARD_KIND,
    Records,
    Settings,
    locked,
    read_records,
    remove_leftovers,
    shard_path,
    write_records,
)
from lammps_implicit.errors import ConvergenceError, LammpsImplicitError, NotAMinimumError, OutputError
from lammps_implicit.files import sha256
from lammps_implicit.mpi.on_root import on_root
from lammps_implicit.observables.bulk import CONSTANTS
from lammps_implicit.observables.config import PER_ATOM, StudySettings
from lammps_implicit.observables.configuration import explained
from lammps_implicit.observables.files import Derivatives
from lammps_implicit.observables.observable import Observable
from lammps_implicit.observables.study import observables_of, open_cells
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.results.format import OBSERVABLES_KIND
from lammps_implicit.stationary.point import StationaryPoint
from lammps_implicit.units import Units

BROKEN = "stopped the relaxation: "

SAME_ENERGY = 1e-6
"""Energy per atom, in the deck's unit, by which an energy may differ from the result's at the result's parameters."""

SAME_LENGTH = 1e-6
"""Relative difference of lengths up to which they are the same: relaxed cells are right to strains of 1e-8."""


def validate(
    derivatives: Derivatives,
    ensemble: Ensemble,
    samples: int,
    shard: int = 0,
    shards: int = 1,
    folder: str | Path = "validation",
    seed: int = 0,
    ftol: float = 1e-8,
    limit: float = LIMIT,
    overwrite: bool = False,
    comm: MPI.Comm | None = None,
    progress: Progress = no_progress,
) -> Path:
    """Relax a shard's share of a random choice of samples again, and keep what comes out beside what was predicted.

    The file is whole after every sample: a shard that was killed goes on where it was.

    Parameters
    ----------
    derivatives : Derivatives
        Of ``sensitivity`` or ``observables``: they name the decks to run.
    ensemble : Ensemble
    samples : int
        Of the whole validation.
    shard, shards : int
    folder : path-like
        For the shards' files.
    seed : int
        Of the choice.
    ftol : float
        eV/Å.
    limit : float
        Of estimated errors, as for `propagate`.
    overwrite : bool
        Whether to begin anew.
    comm : MPI.Comm, optional
    progress : callable
        Called with (done, total) samples.

    Returns
    -------
    Path
        The shard's file.

    Raises
    ------
    LammpsImplicitError
        If the decks are not those of the result, or the file there is of another validation.
    """
    comm = MPI.COMM_WORLD if comm is None else comm
    settings = Settings(
        on_root(comm, lambda: sha256(derivatives.path)), ensemble.digest, samples, seed, ftol, limit, shards
    )
    path = shard_path(Path(folder), shard, shards)
    rows = ensemble.subset(samples, seed)[shard::shards]

    def begin() -> Records:
        known = _begun(path, settings, overwrite)
        if known is None:
            known = _fresh(derivatives, ensemble, rows, limit)
            write_records(path, known, settings, SHARD_KIND, shard=shard)
        return known

    with ExitStack() as alone:
        on_root(comm, lambda: alone.enter_context(locked(path)))
        records = on_root(comm, begin)
        if np.any(records.status == PENDING):
            _relax_pending(path, records, settings, shard, derivatives, ensemble, comm, progress)
    return path


def _relax_pending(
    path: Path,
    records: Records,
    settings: Settings,
    shard: int,
    derivatives: Derivatives,
    ensemble: Ensemble,
    comm: MPI.Comm,
    progress: Progress,
) -> None:
    """Relax what is left of a shard, writing its file after every sample."""
    rows = records.rows
    changes = ensemble.changes(derivatives.parameters.theta)
    with _relaxer(derivatives, comm) as relax:
        progress(int(np.count_nonzero(records.status != PENDING)), len(rows))
        for place in np.flatnonzero(records.status == PENDING):
            _relax_one(records, int(place), changes[rows[place]], relax, settings.ftol)
            on_root(comm, lambda: write_records(path, records, settings, SHARD_KIND, shard=shard))
            if records.reasons[place].startswith(BROKEN):
                raise LammpsImplicitError(
                    f"sample {rows[place]} of the ensemble {records.reasons[place]}; it is kept as failed: run the "
                    "shard again to go on after it"
                )
            progress(int(np.count_nonzero(records.status != PENDING)), len(rows))


def _begun(path: Path, settings: Settings, overwrite: bool) -> Records | None:
    """Records of a shard that was begun."""
    remove_leftovers(path)
    if overwrite or not path.exists():
        return None
    records, made_with = read_records(path, SHARD_KIND)
    if difference := settings.difference(made_with):
        raise OutputError(f"{path} was begun with other settings: {difference}; choose another folder or --overwrite")
    return records


def _fresh(derivatives: Derivatives, ensemble: Ensemble, rows: IntArray, limit: float) -> Records:
    propagation = propagate(
        derivatives.observables, derivatives.parameters.theta, ensemble, limit, derivatives.response_metric
    )
    names = _taken_again(derivatives)
    distributions = [propagation.distributions[name] for name in names]
    estimates = np.full((len(rows), len(distributions), 3), np.nan)
    for column, distribution in enumerate(distributions):
        estimates[:, column, : len(distribution.orders)] = distribution.estimates[:, rows].T
    return Records(
        names=tuple(names),
        units=tuple(distribution.units for distribution in distributions),
        rows=rows,
        true=np.full((len(rows), len(distributions)), np.nan),
        estimates=estimates,
        errors=np.stack([distribution.error[rows] for distribution in distributions], axis=1),
        flagged=propagation.flagged[rows],
        status=np.full(len(rows), PENDING),
        moved=np.full(len(rows), np.nan),
        forces=np.zeros(len(rows), np.int64),
        seconds=np.zeros(len(rows)),
        reasons=[""] * len(rows),
        values=np.array([distribution.value for distribution in distributions]),
        spread=np.array([distribution.spread for distribution in distributions]),
    )


def _taken_again(derivatives: Derivatives) -> list[str]:
    """Names of observables that are taken of every sample: not those that would take evaluations of their own."""
    costly = set(CONSTANTS)
    if derivatives.kind == OBSERVABLES_KIND:
        costly |= {name for name, kind in _settings(derivatives).observables.items() if kind.costly}
    # Stabilities, which have a bound, take solves.
    return [name for name, known in derivatives.observables.items() if name not in costly and known.bound is None]


class _Relaxer:
    """Cells that are relaxed again together, and the observables that they give."""

    def __init__(self, cells: list[StationaryPoint], values: Callable[[], dict[str, float]]) -> None:
        self.cells = cells
        self.values = values

    @property
    def forces(self) -> int:
        """Force evaluations of all cells so far."""
        return sum(cell.engine.evaluations.forces for cell in self.cells)

    def at(self, dtheta: FloatArray, ftol: float) -> tuple[dict[str, float], float]:
        """Observables at Θ + δΘ, and the largest distance that an atom moved, Å."""
        with ExitStack() as away:
            moved = 0.0
            for cell in self.cells:
                away.enter_context(cell.excursion(dtheta))
                moved = max(moved, cell.relax_away(ftol, cell.cell, leave_saddles=True))
            return self.values(), moved


def _relax_one(records: Records, place: int, dtheta: FloatArray, relax: _Relaxer, ftol: float) -> None:
    start, forces = time.perf_counter(), relax.forces
    try:
        values, records.moved[place] = relax.at(dtheta, ftol)
        records.true[place] = [values[name] for name in records.names]
        records.status[place] = DONE
    except (ConvergenceError, NotAMinimumError) as error:
        records.status[place], records.reasons[place] = FAILED, str(error)
    except (LammpsImplicitError, LinAlgError, ValueError, FloatingPointError) as error:
        # LAMMPS may be left unusable: the next run of this shard goes on after this sample.
        records.status[place], records.reasons[place] = FAILED, f"{BROKEN}{error}"
    records.forces[place] = relax.forces - forces
    records.seconds[place] = time.perf_counter() - start


@contextmanager
def _relaxer(derivatives: Derivatives, comm: MPI.Comm) -> Iterator[_Relaxer]:
    """Open the cells of a result, and check that they are the same."""
    opened = _study if derivatives.kind == OBSERVABLES_KIND else _single
    with opened(derivatives, comm) as relaxer:
        now, cells = relaxer.values(), relaxer.cells
        gone = [name for name in _taken_again(derivatives) if name not in now]
        if gone:
            raise LammpsImplicitError(f"{gone[0]} of {derivatives.path.name} cannot be taken from its decks any more")
        largest = max((cell for cell in cells), key=lambda cell: cell.engine.n_atoms)
        tolerances = Tolerances(
            largest.units, largest.engine.n_atoms, max(cell.engine.volume for cell in cells), largest.potential.theta
        )
        require_same_values(derivatives, now, tolerances)
        yield relaxer


@dataclass(frozen=True)
class Tolerances:
    """By how much observables may differ from a result's, each kind of quantity with a tolerance of its own.

    Attributes
    ----------
    units : Units
    atoms : int
        Of the largest cell.
    volume : float
        Of the largest cell, Å³: volumes of defects are differences of those of cells.
    theta : (P,) float array
    """

    units: Units
    atoms: int
    volume: float
    theta: FloatArray

    def of(self, name: str, observable: Observable) -> float:
        """Of an energy per atom, a length or a volume relative; of others relative to how they depend on Θ."""
        value, units = abs(float(observable.value)), observable.units
        if units == self.units.energy:
            return SAME_ENERGY * (1 if name in PER_ATOM else self.atoms)
        if units == f"{self.units.length}^3":
            return 3 * SAME_LENGTH * self.volume
        if units == self.units.length:
            return SAME_LENGTH * value
        return SAME_LENGTH * max(value, float(np.abs(self.theta * observable.gradient).sum()))


def require_same_values(derivatives: Derivatives, now: Mapping[str, float], tolerances: Tolerances) -> None:
    """Check that observables measured again, by name, are those of a result.

    Raises
    ------
    LammpsImplicitError
    """
    for name, observable in derivatives.observables.items():
        if name in now and abs(now[name] - float(observable.value)) > tolerances.of(name, observable):
            raise LammpsImplicitError(
                f"the decks do not lead to the result's minimum any more: {name} is {now[name]:.9g}, in the result "
                f"{float(observable.value):.9g}; run the command that wrote {derivatives.path.name} again"
            )


@contextmanager
def _single(derivatives: Derivatives, comm: MPI.Comm) -> Iterator[_Relaxer]:
    recipe = json.loads(str(derivatives.attributes.get("recipe", "{}")))
    if not recipe:
        raise LammpsImplicitError(f"{derivatives.path.name} does not come from a deck: nothing can be run again")
    with StationaryPoint.from_deck(**recipe, comm=comm) as minimum:
        _require_same_deck({minimum.deck_name: minimum}, [str(derivatives.attributes["deck_sha256"])], derivatives)

        def values() -> dict[str, float]:
            if minimum.cell == "none":
                return {"energy": minimum.energy}
            held = float(np.trace(minimum.target)) / 3
            volume = minimum.engine.volume
            return {"enthalpy": minimum.energy + held * volume, "volume": volume}

        yield _Relaxer([minimum], values)


@contextmanager
def _study(derivatives: Derivatives, comm: MPI.Comm) -> Iterator[_Relaxer]:
    settings = _settings(derivatives)
    with open_cells(settings, comm) as cells:
        hashes = [str(line).rsplit(" ", 1)[1] for line in derivatives.attributes["decks"]]
        _require_same_deck(cells.named(), hashes, derivatives)
        yield _Relaxer(
            list(cells.named().values()),
            lambda: {name: float(found.value) for name, found in observables_of(cells, settings, 0).items()},
        )


def _settings(derivatives: Derivatives) -> StudySettings:
    """Configuration of a study, from its result."""
    try:
        return StudySettings.model_validate_json(str(derivatives.attributes["configuration"]))
    except ValidationError as error:
        raise LammpsImplicitError(
            f"the configuration in {derivatives.path.name} cannot be read ({explained(error)}): run the command that "
            "wrote it again"
        ) from None


def _require_same_deck(cells: dict[str, StationaryPoint], hashes: list[str], derivatives: Derivatives) -> None:
    """Check decks, by their SHA-256, parameters and cells."""
    result = derivatives.path.name
    for (name, cell), sha in zip(cells.items(), hashes, strict=True):
        if cell.deck_sha256 != sha:
            raise LammpsImplicitError(f"the deck of {name} has changed since {result} was written")
        if cell.potential.text != derivatives.parameters.text:
            raise LammpsImplicitError(f"the coefficient file of {name} has changed since {result}")
        known = derivatives.cell_vectors.get(name)
        if known is not None and not same_cell(cell.engine.cell, known):
            raise LammpsImplicitError(
                f"the cell of {name} is not that of {result} any more; run the command that wrote it again"
            )


def same_cell(now: FloatArray, known: FloatArray) -> bool:
    """Whether cell vectors, as rows, differ by round-off at most."""
    return bool(np.abs(now - known).max() <= SAME_LENGTH * np.linalg.norm(known, axis=1).max())
