"""`check_deck`: run a deck, measure everything, and report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from mpi4py import MPI

from lammps_implicit.conformance.costs import estimate_costs
from lammps_implicit.conformance.finding import Finding, Verdict
from lammps_implicit.conformance.gradients import measure_gradients
from lammps_implicit.conformance.invariance import measure_invariance, measure_lists
from lammps_implicit.conformance.noise import measure_noise
from lammps_implicit.conformance.pressures import allowed_strains, measure_pressures, unit_strain
from lammps_implicit.conformance.ranks import compare_ranks
from lammps_implicit.conformance.report import Conformance
from lammps_implicit.conformance.smoothness import LINES, Smoothness, measure_smoothness
from lammps_implicit.conformance.starting import start_tolerant
from lammps_implicit.conformance.steps import Steps, hessian_steps, strain_steps
from lammps_implicit.conformance.symmetry import measure_asymmetry
from lammps_implicit.errors import DeckError, LammpsImplicitError
from lammps_implicit.evaluators.deck import deck_path
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.progress import Progress, no_progress
from lammps_implicit.units import Units, units_of

FAR = 1e-2
"""eV/Å; with larger forces the report says that the deck does not end at a minimum."""

_STAGES = 9
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

    The potential needs no parameters, and the deck need not end at a minimum. About 600 force evaluations. Collective.

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
        If the deck does not run, or its units are not supported.

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
    engine, potential, reason = start_tolerant(path, comm, variables, parameters, evaluator)
    with_deck = time.monotonic() - start
    try:
        units = units_of(engine.deck.units)
        session = _Session(engine, units, progress, lines + _STAGES)
        largest = session.settle()
        about = _about(engine, units, largest)
        if np.isfinite(largest):
            session.measure(potential, reason, lines)
            if ranks and evaluator == "lammps":
                timeout = 60.0 + 20.0 * with_deck
                session.add(lambda: [compare_ranks(engine, path, variables, timeout).finding(units.energy)])
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
        self._progress, self._done, self._total = progress, 0, total

    def advance(self) -> None:
        """Report one more step."""
        self._done += 1
        self._progress(min(self._done, self._total), self._total)

    def settle(self) -> float:
        """Settle the engine; the largest force component."""
        largest = self.engine.max_abs(self.engine.settle())
        if not np.isfinite(largest):
            text = "forces are not finite at the end of the deck"
            remedy = "Look at the deck: atoms may overlap, or the minimisation have exploded."
            self.findings.append(Finding("forces", Verdict.bad, text, remedy))
        return largest

    def add(self, measure: Callable[[], list[Finding]]) -> None:
        """Run one measurement; its findings share the evaluations it took."""
        before = self.engine.evaluations.forces
        for finding in measure():
            spent = self.engine.evaluations.forces - before
            self.findings.append(
                Finding(finding.name, finding.verdict, finding.text, finding.remedy, finding.numbers, spent)
            )
            before = self.engine.evaluations.forces
        self.advance()

    def measure(self, potential: Any, reason: str, lines: int) -> None:
        """All measurements of the engine as it is."""
        engine, units = self.engine, self.units
        noise = measure_noise(engine)
        names, why = allowed_strains(engine)
        self.add(lambda: [measure_gradients(engine).finding(units.force)])
        self.add(lambda: [measure_pressures(engine, names, why).finding()])
        self.add(lambda: self._steps(names))
        best = self.steps[0].best
        step = best if np.isfinite(best).all() else (1e-5, np.inf)
        self.add(lambda: [measure_asymmetry(engine, *step).finding(units.length)])
        self.smoothness = measure_smoothness(engine, noise, lines, self.advance)
        known = self.smoothness
        self.add(lambda: known.findings(units.length, units.energy))
        self.add(lambda: [noise.finding(units.force)])
        self.add(lambda: [found.finding(units.energy) for found in measure_invariance(engine)])
        self.add(lambda: [measure_lists(engine).finding(units.energy)])
        self.findings += estimate_costs(engine, potential, reason, len(names)).findings()

    def _steps(self, names: list[str]) -> list[Finding]:
        self.steps.append(hessian_steps(self.engine, self.units.length))
        if names:
            strain = sum(
                (share * unit_strain(name) for name, share in zip(names, _SHARES, strict=False)), np.zeros((3, 3))
            )
            self.steps.append(strain_steps(self.engine, strain))
        return [steps.finding() for steps in self.steps]

    def shears(self) -> None:
        """Pressures under the shears that an orthogonal cell could take if it were made triclinic; the last of all."""
        engine = self.engine
        if engine.triclinic or engine.external or engine.deck.dimension == 2 or not any(engine.periodic):
            return
        try:
            engine.allow_tilt()
            engine.settle()
            names = [name for name in allowed_strains(engine)[0] if name in ("yz", "xz", "xy")]
            finding = measure_pressures(engine, names).finding() if names else None
        except DeckError as error:
            finding = Finding("", Verdict.unmeasured, f"the cell cannot be tilted: {error}")
        if finding is not None:
            self.findings.append(
                Finding("shear stress against energy", finding.verdict, finding.text, finding.remedy, finding.numbers)
            )


_SHARES = (1.0, -0.6, 0.7, 0.5, -0.4, 0.3)
"""Strain of each component in the direction in which steps are tried."""


def _about(engine: Evaluator, units: Units, largest: float) -> dict[str, Any]:
    return {
        "atoms": engine.n_atoms,
        "types": engine.n_types,
        "held components": int(engine.sum(int(np.count_nonzero(~engine.free)))),
        "ranks": engine.comm.size,
        "pair style": " ".join(engine.deck.pair_style),
        "energy": engine.energy,
        "energy unit": units.energy,
        "largest force": largest,
        "force unit": units.force,
        "periodic": "".join("p" if flag else "f" for flag in engine.periodic),
        **engine.versions,
    }


def _remarks(largest: float, units: Units) -> tuple[str, ...]:
    if largest <= FAR * units.force_factor:
        return ()
    return (
        f"The deck does not end at a minimum (largest force {largest:.2g} {units.force}): nothing measured here needs "
        "one, derivatives of relaxed structures do.",
    )
