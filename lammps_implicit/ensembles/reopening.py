"""The cells of a result, made from its decks again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar, Union

import numpy as np
from mpi4py import MPI
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lammps_implicit.arrays import FloatArray
from lammps_implicit.ensembles.same_structure import FAR, Structure
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.deck import deck_path
from lammps_implicit.files import sha256
from lammps_implicit.mpi.on_root import on_root
from lammps_implicit.observables.barrier_derivatives import BACKWARD, FORWARD, VOLUME
from lammps_implicit.observables.config import StudySettings
from lammps_implicit.observables.configuration import describe_errors
from lammps_implicit.observables.error_context import errors_about
from lammps_implicit.observables.files import Derivatives
from lammps_implicit.observables.opening import Say
from lammps_implicit.observables.study import observables_of, open_cells
from lammps_implicit.results.format import BARRIER_KIND, OBSERVABLES_KIND
from lammps_implicit.saddles.barrier import Barrier
from lammps_implicit.saddles.followed import no_saddle_any_more
from lammps_implicit.stationary.point import StationaryPoint

T = TypeVar("T")

_REMEDY = "run the command that wrote it again"

SAME_LENGTH = 1e-6
"""Relative tolerance of lengths when a result is reproduced: relaxed cells are accurate to strains of 1e-8."""

PREDICTOR_TOLERANCE = 1e-2
"""Relative residual of the predictions from which saddles are searched for. Chosen: the search corrects their error."""

REACH = 0.5
"""Å; largest displacement of an atom in such a prediction. Chosen: a fifth of a bond."""


class ReopenedCells:
    """Cells that are relaxed again together, and their observables."""

    def __init__(self, cells: dict[str, StationaryPoint], values: Callable[[], dict[str, float]]) -> None:
        self.cells = cells
        self.values = values
        self.structures = {name: Structure.of(cell) for name, cell in cells.items()}

    @property
    def forces(self) -> int:
        """Force evaluations of all cells so far."""
        return sum(cell.engine.evaluations.forces for cell in self.cells.values())

    def relaxed_at(self, dtheta: FloatArray, ftol: float) -> tuple[dict[str, float], float, str]:
        """Relax at Θ + δΘ.

        Returns
        -------
        values : dict of str to float
            Observables.
        moved : float
            Largest displacement of an atom, beyond the strain of its cell, Å.
        change : str
            In what a structure is another one than before; empty if all are the same.
        """
        with ExitStack() as excursions:
            moved, changes = 0.0, []
            for name, cell in self.cells.items():
                before = self.structures[name]
                excursions.enter_context(cell.excursion(dtheta, *(_predicted(cell, dtheta) if cell.saddle else ())))
                with errors_about(f"{name}: no saddle is found from its prediction") if cell.saddle else nullcontext():
                    cell.relax_away(ftol, cell.cell, leave_saddles=True, within=FAR * before.graph.spacing)
                moved = max(moved, before.moved(cell))
                if change := before.difference(cell) or (no_saddle_any_more(cell) if cell.saddle else ""):
                    changes.append(f"{name}: {change}")
            return self.values(), moved, "; ".join(changes)


def _predicted(saddle: StationaryPoint, dtheta: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Displacement and strain of a saddle to first order, shortened where they are long: searches start near it."""
    displacement, strain = saddle.predicted_at(dtheta, PREDICTOR_TOLERANCE, saddle.cell)
    share = min(1.0, REACH / max(saddle.engine.max_abs(displacement), REACH))
    return share * displacement, share * strain


class Recipe(BaseModel):
    """Arguments of `StationaryPoint.from_deck`, as a result keeps them; it may come from anybody."""

    model_config = ConfigDict(extra="forbid")

    path: Path
    parameters: Union[str, list[str], None] = None
    variables: dict[str, str] = Field(default_factory=dict)
    ftol: float = 1e-8
    force_limit: float = 1e-2
    saddle: bool = False
    cell: str = "none"
    pressure: Union[float, str, list[float], list[list[float]], None] = None
    evaluator: str = "lammps"
    accept_accuracy: float = 0.0


@contextmanager
def reopened_cells(derivatives: Derivatives, comm: MPI.Comm, say: Say) -> Iterator[ReopenedCells]:
    """Open the cells of a result: run its decks, relax what they end with, and search its saddles.

    Raises
    ------
    LammpsImplicitError
        If decks, potential or cells are others than those of the result.
    """
    kinds = {OBSERVABLES_KIND: _cells_of_study, BARRIER_KIND: _states_of_barrier}
    with kinds.get(derivatives.kind, _cell_of_sensitivity)(derivatives, comm, say) as cells:
        yield cells


@contextmanager
def _cell_of_sensitivity(derivatives: Derivatives, comm: MPI.Comm, say: Say) -> Iterator[ReopenedCells]:
    recipe = _read(derivatives, "recipe", TypeAdapter(Recipe))
    _require_known_decks([recipe.path], [str(derivatives.attributes.get("deck_sha256"))], derivatives, comm, say)
    with StationaryPoint.from_deck(**recipe.model_dump(), comm=comm) as minimum:
        _require_same_cells({minimum.deck_name: minimum}, derivatives)

        def values() -> dict[str, float]:
            if minimum.cell == "none":
                return {"energy": minimum.energy}
            pressure = float(np.trace(minimum.target)) / 3
            volume = minimum.engine.volume
            return {"enthalpy": minimum.energy + pressure * volume, "volume": volume}

        yield ReopenedCells({minimum.deck_name: minimum}, values)


@contextmanager
def _states_of_barrier(derivatives: Derivatives, comm: MPI.Comm, say: Say) -> Iterator[ReopenedCells]:
    recipes = _read(derivatives, "recipes", TypeAdapter(list[Recipe]))
    hashes = [str(line).rpartition(" ")[2] for line in derivatives.attributes.get("decks", ())]
    _require_known_decks([recipe.path for recipe in recipes], hashes, derivatives, comm, say)
    with ExitStack() as stack:
        initial, final = (
            stack.enter_context(StationaryPoint.from_deck(**recipe.model_dump(), comm=comm)) for recipe in recipes
        )
        say("searching for the saddle")
        found = stack.enter_context(Barrier.between(initial, final, ftol=float(derivatives.attributes["ftol"])))
        cells = {"initial": initial, "saddle": found.saddle, "final": final}
        _require_same_cells(cells, derivatives)

        def values() -> dict[str, float]:
            migration = found.saddle.engine.volume - initial.engine.volume
            return {FORWARD: found.forward, BACKWARD: found.backward, VOLUME: migration}

        yield ReopenedCells(cells, values)


def _read(derivatives: Derivatives, name: str, kind: TypeAdapter[T]) -> T:
    """How to run the decks of a result, from an attribute in JSON."""
    text = str(derivatives.attributes.get(name, "{}"))
    if text in ("{}", "[{}, {}]"):
        raise LammpsImplicitError(
            f"{derivatives.path.name} was not computed from a deck, so nothing can be relaxed again; give a result of "
            "'lammps-implicit sensitivity DECK'"
        )
    try:
        return kind.validate_json(text)
    except ValidationError as error:
        raise LammpsImplicitError(
            f"how to run the deck of {derivatives.path.name} cannot be read ({describe_errors(error)}): {_REMEDY}"
        ) from None


@contextmanager
def _cells_of_study(derivatives: Derivatives, comm: MPI.Comm, say: Say) -> Iterator[ReopenedCells]:
    settings = study_settings(derivatives)
    hashes = [str(line).rpartition(" ")[2] for line in derivatives.attributes.get("decks", ())]
    decks = [cell.deck for cell in settings.cells().values() if cell.deck is not None]
    _require_known_decks(decks, hashes, derivatives, comm, say)
    with open_cells(settings, comm) as cells:
        _require_same_cells(cells.named(), derivatives)
        yield ReopenedCells(
            cells.named(),
            lambda: {name: float(found.value) for name, found in observables_of(cells, settings, 0).items()},
        )


def study_settings(derivatives: Derivatives) -> StudySettings:
    """Configuration of a study, as stored in its result."""
    try:
        return StudySettings.model_validate_json(str(derivatives.attributes.get("configuration", "")))
    except ValidationError as error:
        raise LammpsImplicitError(
            f"the configuration in {derivatives.path.name} cannot be read ({describe_errors(error)}): {_REMEDY}"
        ) from None


def _require_known_decks(
    paths: Sequence[Path], hashes: Sequence[str], derivatives: Derivatives, comm: MPI.Comm, say: Say
) -> None:
    """Check, before any of them runs, that the SHA-256 of the decks are those of a result, and say which will run."""
    result = derivatives.path.name
    found = on_root(comm, lambda: [sha256(deck_path(path)) for path in paths])
    if len(hashes) != len(found):
        raise LammpsImplicitError(f"{result} does not say which decks it was computed from: {_REMEDY}")
    for path, known, digest in zip(paths, hashes, found, strict=True):
        if digest != known:
            raise LammpsImplicitError(f"the deck {path} has changed since {result} was written: {_REMEDY}")
    for path, digest in dict(zip(paths, found, strict=True)).items():
        say(f"running the deck {path}, SHA-256 {digest[:12]}…")


def _require_same_cells(cells: dict[str, StationaryPoint], derivatives: Derivatives) -> None:
    """Check that the parameters and the cell vectors are those of a result."""
    result = derivatives.path.name
    for name, cell in cells.items():
        if cell.potential.text != derivatives.parameters.text:
            raise LammpsImplicitError(
                f"the coefficient file of {name} has changed since {result} was written: {_REMEDY}"
            )
        known = derivatives.cell_vectors.get(name)
        if known is not None and not _same_cell(cell.engine.cell, known):
            raise LammpsImplicitError(f"the cell of {name} is no longer that of {result}: {_REMEDY}")


def _same_cell(vectors: FloatArray, known: FloatArray) -> bool:
    return bool(np.abs(vectors - known).max() <= SAME_LENGTH * np.linalg.norm(known, axis=1).max())
