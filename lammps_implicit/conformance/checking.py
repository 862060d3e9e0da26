"""`check_deck`: run a deck, measure everything, and report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from mpi4py import MPI

from lammps_implicit.cell.voigt import COMPONENTS
from lammps_implicit.conformance.costs import estimate_costs
from lammps_implicit.conformance.directions import angstrom, line
from lammps_implicit.conformance.finding import Finding, Verdict
from lammps_implicit.conformance.gradients import measure_gradients
from lammps_implicit.conformance.invariance import measure_invariance, measure_lists
from lammps_implicit.conformance.noise import measure_noise
from lammps_implicit.conformance.pressures import allowed_strains, measure_pressures, unit_strain
from lammps_implicit.conformance.ranks import compare_ranks
from lammps_implicit.conformance.report import Conformance
from lammps_implicit.conformance.smoothness import LINES, Smoothness, measure_smoothness
from lammps_implicit.conformance.starting import Started, start_tolerant
from lammps_implicit.conformance.steps import Steps, hessian_steps, strain_steps
from lammps_implicit.conformance.symmetry import measure_asymmetry
from lammps_implicit.errors import DeckError, LammpsImplicitError
from lammps_implicit.evaluators.deck import deck_path
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.units import Units, units_of

FAR = 1e-2
"""eV/Å; with larger forces the report says that the deck does not end at a minimum."""

_STAGES = 10
"""Steps of the progress besides the lines."""


def check_deck(
    deck: str | os.PathLike[str],
    *,
    variables: Mapping[str, str] | None = None,
    parameters: str | None = None,
    evaluator: str = "lammps",
    comm: MPI.Comm | None = None,
    lines: int = LINES,
    ranks: bool = True,
    progress: Progress = no_progress,
) -> Conformance:
    """Measure how far energies, forces and pressures of a deck and its potential can be trusted.

    The potential needs no parameters, and the deck need not end at a minimum. About 600 force evaluations,
    up to 900 where forces and energies differ. Collective.

    Parameters
    ----------
    deck : path-like
        It runs in its own folder, once more to compare numbers of ranks.
    variables : mapping of str to str, optional
        Index variables of the deck.
    parameters : str, optional
        Patterns of the parameters that would be differentiated by.
    evaluator : str
        Registered name of what evaluates.
    comm : MPI.Comm, optional
        Default: ``MPI.COMM_WORLD``.
    lines : int
        Random lines along which forces are scanned.
    ranks : bool
        Whether to compare with another number of ranks.
    progress : callable, optional

    Returns
    -------
    Conformance

    Raises
    ------
    LammpsImplicitError
        If the deck does not run, or its units are not supported. What LAMMPS refuses later is a finding.

    Examples
    --------
    >>> from lammps_implicit.conformance import check_deck
    >>> report = check_deck("lammps_scripts/in.ta_vacancy", variables={"n": "2"})
    >>> report["symmetry of H"].verdict.value
    'good'
    """
    start, path = time.monotonic(), deck_path(deck)
    comm = MPI.COMM_WORLD if comm is None else comm
    if lines < 1:
        raise LammpsImplicitError(f"{lines} lines: take at least one")
    started = start_tolerant(path, comm, variables, parameters, evaluator)
    engine, with_deck = started.engine, time.monotonic() - start
    try:
        units = units_of(engine.deck.units, engine.deck.dimension)
        session = _Session(engine, units, progress, lines + _STAGES)
        largest = session.settle(started.refused)
        about = _about(engine, units, largest, session.energy)
        if session.measurable:
            session.measure(started, lines)
            if ranks and evaluator == "lammps":
                timeout = 60.0 + 20.0 * with_deck
                session.add(
                    "number of ranks",
                    lambda: [compare_ranks(engine, path, variables, timeout).finding(units.energy)],
                )
            session.shears()
        return Conformance(
            path.name,
            about,
            session.findings,
            engine.evaluations.forces,
            time.monotonic() - start,
            session.smoothness,
            tuple(session.steps),
            units.length,
            units.force,
            _remarks(largest, units),
        )
    finally:
        engine.close()


class _Session:
    """Measurements of one engine, one after another, and what they found so far."""

    def __init__(self, engine: Evaluator, units: Units, progress: Progress, total: int) -> None:
        self.engine, self.units = engine, units
        self.findings: list[Finding] = []
        self.steps: list[Steps] = []
        self.smoothness: Smoothness | None = None
        self.measurable, self.energy = True, float("nan")
        self._progress, self._done, self._total = progress, 0, total

    def _advance(self) -> None:
        self._done += 1
        self._progress(min(self._done, self._total), self._total)

    def settle(self, refused: str) -> float:
        """Settle the engine, unless LAMMPS could not be taken over; the largest force component."""
        try:
            if refused:
                raise DeckError(refused)
            forces = np.array(self.engine.settle())
            self.engine.forces()  # raises where a fix moves atoms
        except DeckError as error:
            self._end(Verdict.bad, "fixes", str(error))
            return float("nan")
        self.energy = self.engine.energy
        largest = self.engine.max_abs(forces)
        if not np.isfinite(largest):
            remedy = "Look at the deck: atoms may overlap, or the minimisation have exploded."
            self._end(Verdict.bad, "forces", "not finite at the end of the deck", remedy)
        elif self.engine.max_abs(self.engine.forces(1e-2 * angstrom(self.engine) * line(self.engine, 0))) == 0:
            self._end(Verdict.unmeasured, "forces", "none act on any free atom, also when atoms are moved")
        return largest

    def _end(self, verdict: Verdict, name: str, text: str, remedy: str = "") -> None:
        self.measurable = False
        self.findings.append(Finding(name, verdict, text, remedy))

    def add(self, name: str, measure: Callable[[], list[Finding]]) -> None:
        """Run one measurement, unless the engine has been lost; where it cannot be had its name says why."""
        if not self.measurable:
            return
        engine, before = self.engine, self.engine.evaluations.forces
        try:
            found = measure()
        except LammpsImplicitError as error:
            found = [Finding(name, Verdict.unmeasured, str(error))]
            self._recover()
        for finding in found:
            self.findings.append(replace(finding, evaluations=engine.evaluations.forces - before))
            before = engine.evaluations.forces
        self._advance()

    def _recover(self) -> None:
        """Go on from where an error has left the engine, if its state is known."""
        try:
            self.engine.settle()
        except LammpsImplicitError as error:
            self._end(Verdict.bad, "evaluations", str(error))

    def measure(self, started: Started, lines: int) -> None:
        """All measurements of the engine as it is."""
        engine, units = self.engine, self.units
        names, why = allowed_strains(engine)
        self.add("forces against energy", lambda: [measure_gradients(engine).finding(units.force, units.length)])
        self.add("pressure against energy", lambda: [measure_pressures(engine, names, why).finding()])
        self.add("steps of Hessian products", self._hessian_steps)
        if names:
            self.add("steps of strain derivatives", lambda: self._strain_steps(names))
        self.add("symmetry of H", self._symmetry)
        self.add("smoothness of forces", lambda: self._smoothness(lines))
        self.add("translations", lambda: [found.finding(units.energy) for found in measure_invariance(engine)])
        self.add("neighbour lists", lambda: [measure_lists(engine).finding(units.energy)])
        self.findings += estimate_costs(engine, started.potential, started.reason, len(names)).findings()

    def _hessian_steps(self) -> list[Finding]:
        self.steps.append(hessian_steps(self.engine, self.units.length))
        return [self.steps[-1].finding()]

    def _strain_steps(self, names: list[str]) -> list[Finding]:
        pieces = (share * unit_strain(name) for name, share in zip(names, _SHARES, strict=False))
        self.steps.append(strain_steps(self.engine, sum(pieces, np.zeros((3, 3)))))
        return [self.steps[-1].finding()]

    def _symmetry(self) -> list[Finding]:
        step, accuracy = self.steps[0].best
        found = (
            measure_asymmetry(self.engine, step, accuracy)
            if np.isfinite(accuracy)
            else measure_asymmetry(self.engine, 1e-5 * angstrom(self.engine), np.inf)
        )
        return [found.finding(self.units.length)]

    def _smoothness(self, lines: int) -> list[Finding]:
        noise = measure_noise(self.engine)
        known = self.smoothness = measure_smoothness(self.engine, noise, lines, self._advance)
        return [*known.findings(self.units.length, self.units.energy), noise.finding(self.units.force)]

    def shears(self) -> None:
        """Pressures under the shears that an orthogonal cell could take if it were made triclinic; the last of all."""
        engine = self.engine
        if not self.measurable or engine.triclinic or engine.external:
            return
        name = "shear stress against energy"
        try:
            engine.allow_tilt()
            engine.settle()
            names = [strain for strain in allowed_strains(engine)[0] if strain in COMPONENTS[3:]]
            if names:
                self.add(name, lambda: [replace(measure_pressures(engine, names).finding(), name=name)])
        except LammpsImplicitError as error:
            self.findings.append(Finding(name, Verdict.unmeasured, f"the cell cannot be tilted: {error}"))


_SHARES = (1.0, -0.6, 0.7, 0.5, -0.4, 0.3)
"""Strain of each component in the direction in which steps are tried."""


def _about(engine: Evaluator, units: Units, largest: float, energy: float) -> dict[str, Any]:
    return {
        "atoms": engine.n_atoms,
        "types": engine.n_types,
        "held components": int(engine.sum(int(np.count_nonzero(~engine.free)))),
        "ranks": engine.comm.size,
        "pair style": engine.pair_style,
        "energy": energy,
        "energy unit": units.energy,
        "largest force": largest,
        "force unit": units.force,
        "periodic": "".join("p" if flag else "f" for flag in engine.periodic),
        **engine.versions,
    }


def _remarks(largest: float, units: Units) -> tuple[str, ...]:
    if not largest > FAR * units.force_factor:
        return ()
    return (
        f"The deck does not end at a minimum (largest force {largest:.2g} {units.force}): nothing measured here needs "
        "one, derivatives of relaxed structures do.",
    )
