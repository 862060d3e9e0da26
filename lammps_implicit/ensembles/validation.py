"""Validation of predictions: a random selection of samples of an ensemble is relaxed again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.linalg import LinAlgError

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.ensembles.ensemble import Ensemble
from lammps_implicit.ensembles.propagation import LIMIT, propagate
from lammps_implicit.ensembles.reopening import SAME_LENGTH, ReopenedCells, reopened_cells, study_settings
from lammps_implicit.ensembles.shards import (
    CHANGED,
    DONE,
    FAILED,
    PENDING,
    SHARD_KIND,
    Records,
    ValidationSettings,
    read_records,
    remove_leftovers,
    shard_path,
    write_records,
)
from lammps_implicit.errors import ConvergenceError, LammpsImplicitError, NotAMinimumError, OutputError
from lammps_implicit.files import locked, sha256
from lammps_implicit.mpi.on_root import on_root
from lammps_implicit.observables.bulk import CUBIC_CONSTANTS
from lammps_implicit.observables.config import ENERGIES_PER_ATOM
from lammps_implicit.observables.files import Derivatives
from lammps_implicit.observables.observable import Observable
from lammps_implicit.observables.opening import Say
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.results.format import OBSERVABLES_KIND
from lammps_implicit.units import Units

_STOPPED = "stopped the relaxation: "
"""Prefix of the reason of a failure after which LAMMPS may be unusable."""

SAME_ENERGY = 1e-6
"""Tolerance of energies per atom, in the deck's unit, when a result is reproduced from its decks.

Relaxation leaves errors of second order in the forces, far below; a change of the structure or the potential exceeds
it.
"""


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
    say: Say = lambda line: None,
) -> Path:
    """Relax one shard of a random selection of samples again, and record the results beside the predictions.

    The file is complete after every sample, so that an interrupted shard resumes where it stopped.

    Parameters
    ----------
    derivatives : Derivatives
        From a result of ``sensitivity`` or ``observables``, which names the decks to run.
    ensemble : Ensemble
    samples : int
        Number of samples of all shards together.
    shard, shards : int
        Index of this shard, from 0, and number of shards.
    folder : path-like
        Folder for the files of the shards.
    seed : int
        Seed of the selection.
    ftol : float
        Largest force component of relaxed samples, eV/Å.
    limit : float
        Relative estimated error above which samples are flagged, as for `propagate`.
    overwrite : bool
        Whether to start again although there is a file.
    comm : MPI.Comm, optional
        Default: all ranks.
    progress : callable
        Called with (done, total) samples.
    say : callable
        Called with a line for each deck that is run; the result names them.

    Returns
    -------
    Path
        File of the shard.

    Raises
    ------
    LammpsImplicitError
        If the decks are others than those of the result or do not reproduce it, the file belongs to another validation,
        or LAMMPS fails at a sample.
    """
    comm = MPI.COMM_WORLD if comm is None else comm
    settings = ValidationSettings(
        on_root(comm, lambda: sha256(derivatives.path)), ensemble.digest, samples, seed, ftol, limit, shards
    )
    path = shard_path(Path(folder), shard, shards)
    rows = ensemble.subset(samples, seed)[shard::shards]

    def begin() -> Records:
        records = _resumed_records(path, settings, overwrite)
        return _new_records(derivatives, ensemble, rows, limit) if records is None else records

    with ExitStack() as lock:
        on_root(comm, lambda: lock.enter_context(locked(path)))
        records = on_root(comm, begin)
        if np.any(records.status == PENDING):
            _relax_pending(path, records, settings, shard, derivatives, ensemble, comm, progress, say)
        elif not path.exists():  # a shard without samples
            on_root(comm, lambda: write_records(path, records, settings, SHARD_KIND, shard=shard))
    return path


def _relax_pending(
    path: Path,
    records: Records,
    settings: ValidationSettings,
    shard: int,
    derivatives: Derivatives,
    ensemble: Ensemble,
    comm: MPI.Comm,
    progress: Progress,
    say: Say,
) -> None:
    """Relax the pending samples of a shard, and write its file after each."""
    rows = records.rows
    changes = ensemble.changes(derivatives.parameters.theta)
    with _opened_cells(derivatives, comm, say) as cells:
        progress(int(np.count_nonzero(records.status != PENDING)), len(rows))
        for index in np.flatnonzero(records.status == PENDING):
            _relax_one(records, int(index), changes[rows[index]], cells, settings.ftol)
            on_root(comm, lambda: write_records(path, records, settings, SHARD_KIND, shard=shard))
            if records.reasons[index].startswith(_STOPPED):
                raise LammpsImplicitError(
                    f"sample {rows[index]} of the ensemble {records.reasons[index]}; it is recorded as failed: run the "
                    "shard again to continue after it"
                )
            progress(int(np.count_nonzero(records.status != PENDING)), len(rows))


def _resumed_records(path: Path, settings: ValidationSettings, overwrite: bool) -> Records | None:
    """Records of a shard that was started before, if any."""
    remove_leftovers(path)
    if overwrite or not path.exists():
        return None
    records, made_with = read_records(path, SHARD_KIND)
    if difference := settings.difference(made_with):
        raise OutputError(f"{path} was started with other settings: {difference}; choose another folder or --overwrite")
    return records


def _new_records(derivatives: Derivatives, ensemble: Ensemble, rows: IntArray, limit: float) -> Records:
    """Records of a new shard: predictions only."""
    propagation = propagate(
        derivatives.observables, derivatives.parameters.theta, ensemble, limit, derivatives.response_metric
    )
    names = _validated_names(derivatives)
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


def _validated_names(derivatives: Derivatives) -> list[str]:
    """Names of the observables that are validated: those that need no force evaluations besides the relaxation."""
    costly = set(CUBIC_CONSTANTS)
    if derivatives.kind == OBSERVABLES_KIND:
        costly |= {name for name, kind in study_settings(derivatives).observables.items() if kind.costly}
    # Stabilities, the observables with a bound or a floor, need solves.
    costly |= {name for name, known in derivatives.observables.items() if (known.bound, known.floor) != (None, None)}
    return [name for name in derivatives.observables if name not in costly]


def _relax_one(records: Records, index: int, dtheta: FloatArray, cells: ReopenedCells, ftol: float) -> None:
    start, forces = time.perf_counter(), cells.forces
    try:
        values, records.moved[index], records.reasons[index] = cells.relaxed_at(dtheta, ftol)
        records.true[index] = [values[name] for name in records.names]
        records.status[index] = CHANGED if records.reasons[index] else DONE
    except (ConvergenceError, NotAMinimumError) as error:
        records.status[index], records.reasons[index] = FAILED, str(error)
    except (LammpsImplicitError, LinAlgError, ValueError, FloatingPointError) as error:
        # LAMMPS may be unusable now; the next run of this shard continues after this sample.
        records.status[index], records.reasons[index] = FAILED, f"{_STOPPED}{error}"
    records.forces[index] = cells.forces - forces
    records.seconds[index] = time.perf_counter() - start


@contextmanager
def _opened_cells(derivatives: Derivatives, comm: MPI.Comm, say: Say) -> Iterator[ReopenedCells]:
    """Open the cells of a result, and check that they reproduce it."""
    with reopened_cells(derivatives, comm, say) as cells:
        values = cells.values()
        missing = [name for name in _validated_names(derivatives) if name not in values]
        if missing:
            raise LammpsImplicitError(
                f"{missing[0]} of {derivatives.path.name} is no longer an observable of its decks; run the command "
                "that wrote it again"
            )
        largest = max(cells.cells.values(), key=lambda cell: cell.engine.n_atoms)
        volume = max(cell.engine.volume for cell in cells.cells.values())
        tolerances = Tolerances(largest.units, largest.engine.n_atoms, volume, largest.potential.theta)
        require_same_values(derivatives, values, tolerances)
        yield cells


@dataclass(frozen=True)
class Tolerances:
    """Tolerances of observables when a result is reproduced from its decks, for each kind of quantity.

    Attributes
    ----------
    units : Units
    atoms : int
        Number of atoms of the largest cell.
    volume : float
        Largest volume of a cell, Å³; volumes of defects are differences of such volumes.
    theta : (P,) float array
        The parameters.
    """

    units: Units
    atoms: int
    volume: float
    theta: FloatArray

    def of(self, name: str, observable: Observable) -> float:
        """Tolerance of an observable, in its units.

        `SAME_ENERGY` per atom for energies; `SAME_LENGTH` relative to lengths, to the volume of the largest cell for
        volumes, and for other quantities to the larger of the value and Σ |Θ_k dA/dΘ_k|, since the value may vanish.
        """
        value, units = abs(float(observable.value)), observable.units
        if units == self.units.energy:
            return SAME_ENERGY * (1 if name in ENERGIES_PER_ATOM else self.atoms)
        if units == self.units.volume:
            return 3 * SAME_LENGTH * self.volume  # dV/V = 3 dl/l
        if units == self.units.length:
            return SAME_LENGTH * value
        return SAME_LENGTH * max(value, float(np.abs(self.theta * observable.gradient).sum()))


def require_same_values(derivatives: Derivatives, values: Mapping[str, float], tolerances: Tolerances) -> None:
    """Check that observables measured again agree with a result.

    Parameters
    ----------
    derivatives : Derivatives
        The result.
    values : mapping of str to float
        Observables measured again, by name.
    tolerances : Tolerances

    Raises
    ------
    LammpsImplicitError
        If one differs.
    """
    for name, observable in derivatives.observables.items():
        if name in values and abs(values[name] - float(observable.value)) > tolerances.of(name, observable):
            raise LammpsImplicitError(
                f"the decks no longer lead to the minimum of the result: {name} is {values[name]:.9g}, in the result "
                f"{float(observable.value):.9g}; run the command that wrote {derivatives.path.name} again"
            )
