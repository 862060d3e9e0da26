"""Whether forces are minus the derivative of the energy: along random lines, and by atoms where they are not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.conformance.directions import angstrom, free_count, line
from lammps_implicit.conformance.extrapolation import extrapolated
from lammps_implicit.conformance.finding import Finding, Verdict
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.mpi.ownership import first_row

LINES = 5
"""Number of lines."""

AWAY = 0.02
"""Å; displacement at which forces are compared, so that they do not vanish at a minimum."""

STEP = 1e-3
"""Å; longest of the three steps, each half the one before."""

BEAM = 3
"""Number of groups of atoms followed while the atoms with the largest mismatch are searched by bisection."""

GOOD, ROUGH, LIMITED = 1e-6, 1e-4, 1e-3
"""Relative mismatch up to which forces are those of the energy; up to which an energy is smooth, where the mismatch is
within its noise; up to which forces that differ from the energy's are not yet wrong (PPPM)."""


@dataclass(frozen=True)
class GradientMismatch:
    """Forces against differences of energies.

    Attributes
    ----------
    relative : tuple of float
        Mismatch along each line, relative to ‖F‖‖v‖/√n with n free components.
    noise : tuple of float
        What the extrapolated differences themselves are uncertain by, likewise.
    atoms : tuple of (id, type, mismatch)
        Atoms with the largest mismatch, in the deck's unit of force; searched where there is one.
    """

    relative: tuple[float, ...]
    noise: tuple[float, ...]
    atoms: tuple[tuple[int, int, float], ...] = ()

    @property
    def wrong(self) -> bool:
        """Whether forces and energies differ by more than the differences are uncertain by, along most lines."""
        return _wrong(self.relative, self.noise)

    def finding(self, force: str) -> Finding:
        """Report it; `force` is the unit."""
        middle, noise = float(np.median(self.relative)), float(np.median(self.noise))
        numbers = {"relative": list(self.relative), "noise": list(self.noise), "atoms": [list(a) for a in self.atoms]}
        text = f"relative mismatch {middle:.1e}, largest {max(self.relative):.1e} (noise of the check {noise:.0e})"
        remedy = ""
        if self.wrong or not np.isfinite(middle):
            verdict = Verdict.bad if not middle <= LIMITED else Verdict.limited
            shown = ", ".join(f"{id_} (type {kind}): {size:.1e}" for id_, kind, size in self.atoms)
            text += f"; worst atoms, {force}: {shown}" if shown else ""
            remedy = (
                "The forces are not those of the energy: correct the potential's files or its pair style, tighten "
                "'kspace_style'; relaxed structures follow the forces, derivatives of energies do not."
            )
        elif max(self.relative) > ROUGH:
            verdict = Verdict.limited
            remedy = "The energy is not smooth (it jumps, or is interpolated): see smoothness; shift it at its cutoff."
        else:
            verdict = Verdict.good
        return Finding("forces against energy", verdict, text, remedy, numbers)


def measure_gradients(engine: Evaluator) -> GradientMismatch:
    """Compare forces with energies along `LINES` random lines: six evaluations each, and one.

    Where they differ, the atoms are searched by bisection: about 12 log₂N evaluations more.

    Parameters
    ----------
    engine : Evaluator
        Left at its reference.
    """
    away = AWAY * angstrom(engine) * line(engine, 600)
    forces = np.array(engine.forces(away))
    typical = engine.norm(forces) / max(free_count(engine), 1) ** 0.5
    relative, noise = [], []
    for number in range(1, LINES + 1):
        v = line(engine, 600 + number)
        slope, uncertain = _slope(engine, away, v)
        size = max(typical * engine.norm(v), np.finfo(float).tiny)
        relative.append(abs(slope + engine.dot(forces, v)) / size)
        noise.append(uncertain / size)
    atoms = _search(engine, away, forces) if _wrong(relative, noise) else ()
    engine.return_to_reference()
    return GradientMismatch(tuple(relative), tuple(noise), atoms)


def _wrong(relative: tuple[float, ...] | list[float], noise: tuple[float, ...] | list[float]) -> bool:
    clear = [mismatch > max(GOOD, 5 * uncertain) for mismatch, uncertain in zip(relative, noise, strict=True)]
    return 2 * sum(clear) > len(clear)


def _slope(engine: Evaluator, away: FloatArray, v: FloatArray) -> tuple[float, float]:
    """Derivative of the energy along v by central differences with three steps, and its uncertainty.

    Extrapolated where the energy is smooth; where it is interpolated from a table, the mean of the differences is
    better.
    """
    steps = [STEP * angstrom(engine) / 2**k for k in range(3)]
    plain = [_difference(engine, away, step * v) / (2 * step) for step in steps]
    value, uncertain = min(
        extrapolated(plain), (float(np.mean(plain)), float(np.std(plain))), key=lambda found: found[1]
    )
    return value, uncertain + 4 * np.finfo(float).eps * abs(engine.energy) / steps[-1]


def _difference(engine: Evaluator, away: FloatArray, step: FloatArray) -> float:
    engine.forces(away + step)
    plus = engine.energy
    engine.forces(away - step)
    return plus - engine.energy


def _search(engine: Evaluator, away: FloatArray, forces: FloatArray) -> tuple[tuple[int, int, float], ...]:
    """Ids, types and mismatches of the atoms whose forces differ most from the energy's, by bisection of all rows."""
    v, step = line(engine, 650), STEP * angstrom(engine) / 2
    rows = first_row(engine.comm, len(engine.ids)) + np.arange(len(engine.ids))

    def mismatch(low: int, high: int) -> float:
        part = v * ((rows >= low) & (rows < high))[:, None]
        return abs(_difference(engine, away, step * part) / (2 * step) + engine.dot(forces, part))

    groups = {(0, engine.n_atoms): 0.0}
    while any(high - low > 1 for low, high in groups):
        halves = {half for low, high in groups for half in ((low, (low + high) // 2), ((low + high) // 2, high))}
        found = {half: mismatch(*half) for half in sorted(halves) if half[1] > half[0]}
        groups = dict(sorted(found.items(), key=lambda item: -item[1])[:BEAM])
    atoms = []
    for (low, _), size in groups.items():
        mine = rows == low
        id_, kind = (int(engine.sum(int(values[mine].sum()))) for values in (engine.ids, engine.types))
        length = engine.norm(v * mine[:, None])
        if length > 0:
            atoms.append((id_, kind, size / length))
    return tuple(sorted(atoms, key=lambda atom: -atom[2]))
