"""Saddles by ASE on this package's calculator: bands with a climbing image, the dimer, and Sella where it is installed.

Of several settings of a method the best one counts; one that exceeds the best so far is stopped.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lammps_implicit.benchmarks.cells import Cell
from lammps_implicit.benchmarks.end_states import IMAGES, LIMIT, MOST, end_states
from lammps_implicit.benchmarks.processes import Record
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.minimum import Minimum

ROUGH = 0.1
"""eV/Å; largest force on a band before its highest image climbs, or is left to a method for single structures."""


class _Enough(Exception):  # noqa: N818 - ends an optimiser, and is no error
    """The goal is reached, or too many evaluations have been made."""


@dataclass
class _Run:
    """One attempt, which counts its evaluations."""

    start: Minimum
    images: list[Any]
    limit: int

    def __post_init__(self) -> None:
        self._before = self.start.engine.evaluations.forces

    @property
    def evaluations(self) -> int:
        """Force evaluations so far."""
        return self.start.engine.evaluations.forces - self._before

    @property
    def highest(self) -> int:
        """Number of the highest image between the ends."""
        return 1 + int(np.argmax([image.get_potential_energy() for image in self.images[1:-1]]))

    def band(self, method: str, climb: bool) -> Any:
        """ASE's band of the images."""
        from ase.mep import NEB

        return NEB(self.images, method=method, climb=climb)

    def drive(self, driver: Any, reached: Callable[[], bool]) -> None:
        """Run an optimiser until it is where it should be, or has made too many evaluations."""

        def check() -> None:
            if self.evaluations >= self.limit or reached():
                raise _Enough

        driver.attach(check)
        try:
            driver.run(fmax=0.0, steps=MOST)
        except _Enough:
            return

    def relax(self, optimiser: str, method: str) -> None:
        """Relax the band without climbing until no force on an image exceeds `ROUGH`."""
        band = self.band(method, False)
        self.drive(_optimiser(optimiser)(band, logfile=None), lambda: bool(band.get_residual() <= ROUGH))

    def found(self, structure: Any) -> Record:
        """What was reached at a structure that has been evaluated."""
        return {
            "force_evaluations": self.evaluations,
            "max_force": _largest(structure),
            "barrier": float(structure.get_potential_energy() - self.start.energy),
        }


def climbing_band(optimiser: str, method: str, rough: bool, run: _Run) -> Record:
    """ASE's band with a climbing image."""
    if rough:
        run.relax(optimiser, method)
    driver = _optimiser(optimiser)(run.band(method, True), logfile=None)
    run.drive(driver, lambda: _largest(run.images[run.highest]) <= LIMIT)
    return run.found(run.images[run.highest])


def dimer(optimiser: str, method: str, run: _Run) -> Record:
    """ASE's dimer from the highest image of a relaxed band, along which it lies at first."""
    from ase.mep import DimerControl, MinModeAtoms, MinModeTranslate

    run.relax(optimiser, method)
    top = run.highest
    along = run.images[top + 1].positions - run.images[top - 1].positions
    settings = DimerControl(logfile=None, eigenmode_logfile=None)
    structure = MinModeAtoms(run.images[top], settings, eigenmodes=[along / np.linalg.norm(along)])
    run.drive(MinModeTranslate(structure, logfile=None), lambda: _largest(run.images[top]) <= LIMIT)
    return run.found(run.images[top])


def sella(optimiser: str, method: str, run: _Run) -> Record:
    """Sella from the highest image of a relaxed band."""
    from sella import Sella

    run.relax(optimiser, method)
    structure = run.images[run.highest]
    run.drive(Sella(structure, order=1, internal=False, logfile=None), lambda: _largest(structure) <= LIMIT)
    return run.found(structure)


BANDS: dict[str, Callable[[_Run], Record]] = {
    f"{optimiser}, {method}, {'climbs at once' if not rough else f'climbs from {ROUGH:g} eV/Å'}": partial(
        climbing_band, optimiser, method, rough
    )
    for optimiser, method, rough in (
        ("LBFGS", "improvedtangent", True),
        ("LBFGS", "aseneb", True),
        ("LBFGS", "aseneb", False),
        ("FIRE", "aseneb", True),
        ("ode12r", "aseneb", True),
        ("ode12r", "string", True),
    )
}
"""Settings of bands, the quickest of trials first. BFGS needs as many evaluations as LBFGS, and far more seconds."""

DIMERS = {"from a band by LBFGS, improvedtangent": partial(dimer, "LBFGS", "improvedtangent")}

SELLA = {"from a band by LBFGS, improvedtangent": partial(sella, "LBFGS", "improvedtangent")}


def best_of(settings: Mapping[str, Callable[[_Run], Record]], cell: Cell) -> Record:
    """The best of several settings of a method; ``tried`` says what came of each."""
    tried: list[Record] = []
    best: Record = {}
    with end_states(cell) as (start, end), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, attempt in settings.items():
            begun = time.perf_counter()
            run = _Run(start, _line(start, end), best["force_evaluations"] if _reached(best) else MOST)
            try:
                found = attempt(run)
            except Exception as error:  # whatever ASE raises: other settings may do
                tried.append({"settings": name, "failed": f"{type(error).__name__}: {error}"[:200]})
                continue
            found |= {"settings": name, "seconds": time.perf_counter() - begun}
            tried.append(found)
            if not best or _rank(found) < _rank(best):
                best = found
        if not best:
            raise LammpsImplicitError(f"no settings work: {tried[-1]['failed']}")
        return {"atoms": start.engine.n_atoms, **best, "tried": tried}


def _line(start: Minimum, end: Minimum) -> list[Any]:
    """Images from one end to the other, by ASE's linear interpolation between nearest periodic images."""
    from ase.mep import NEB

    first, last = start.calculator().get_atoms(), end.calculator().get_atoms()
    images = [first, *(first.copy() for _ in range(IMAGES)), last]
    for image in images[1:]:
        image.calc = start.calculator()
    NEB(images).interpolate(mic=True)
    return images


def _reached(found: Record) -> bool:
    return bool(found) and found["max_force"] <= LIMIT


def _rank(found: Record) -> tuple[float, float]:
    """Evaluations where the limit was reached, else the force that was left."""
    return (0.0, found["force_evaluations"]) if _reached(found) else (1.0, found["max_force"])


def _largest(structure: Any) -> float:
    return float(np.abs(structure.get_forces(apply_constraint=False)).max())


def _optimiser(name: str) -> Callable[..., Any]:
    from ase import optimize
    from ase.mep.neb import NEBOptimizer

    return NEBOptimizer if name == "ode12r" else getattr(optimize, name)
