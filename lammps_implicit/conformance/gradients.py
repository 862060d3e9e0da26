"""Whether forces are minus the derivative of the energy: along random lines, and by atoms where they are not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.conformance.causes import grid_remedy, what_jumps
from lammps_implicit.conformance.directions import angstrom, free_count, line
from lammps_implicit.conformance.extrapolation import extrapolated
from lammps_implicit.conformance.finding import Finding, Verdict
from lammps_implicit.conformance.scans import scan
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.mpi.ownership import first_row

LINES = 5
"""Number of lines."""

AWAY = 0.02
"""Å; displacement at which forces are compared, so that they do not vanish at a minimum."""

STEPS = 1e-3, 1e-4, 1e-5
"""Å; longest of three steps, each half the one before. Shorter ones are tried where longer ones find a mismatch, for
they may carry pairs across a cutoff, where forces jump."""

PATH, PATHS = 0.02, 9
"""Å; length and number of paths from the reference over which energies are compared with the work of forces where
steps disagree: so long that errors between the points of a table average out."""

AGREE = 0.1
"""Share of the mismatch by which it may differ between steps if it is the forces'."""

BEAM = 3
"""Number of groups of atoms followed while the atoms with the largest mismatch are searched by bisection."""

GOOD, ROUGH, LIMITED = 1e-6, 1e-4, 1e-3
"""Relative mismatch up to which forces are those of the energy; up to which an energy is smooth, where the mismatch is
within its noise; up to which forces that differ from the energy's are not yet wrong (PPPM)."""


@dataclass(frozen=True)
class Compared:
    """Forces against energies along a few lines, with steps of one length.

    Attributes
    ----------
    step : float
        The longest, in the deck's unit of length.
    relative : tuple of float
        Mismatch along each line, relative to ‖F‖‖v‖/√n with n free components, or of a path to its work.
    noise : tuple of float
        What the extrapolated differences themselves are uncertain by, likewise.
    """

    step: float
    relative: tuple[float, ...]
    noise: tuple[float, ...]

    @property
    def sizes(self) -> tuple[float, ...]:
        """The mismatches without their signs."""
        return tuple(abs(mismatch) for mismatch in self.relative)

    @property
    def middle(self) -> float:
        """Median of the sizes."""
        return float(np.median(self.sizes))

    @property
    def wrong(self) -> bool:
        """Whether forces and energies differ by more than the differences are uncertain by, along most lines."""
        clear = [
            not mismatch <= max(GOOD, 5 * uncertain) for mismatch, uncertain in zip(self.sizes, self.noise, strict=True)
        ]
        return 2 * sum(clear) > len(clear)

    @property
    def alike(self) -> bool:
        """Whether it is wrong by about as much along most lines, as jumps and tables are not."""
        middle = float(np.median(self.relative))
        near = np.abs(np.subtract(self.relative, middle)) <= abs(middle) / 2
        return self.wrong and 2 * int(np.count_nonzero(near)) > len(near)

    @property
    def settled(self) -> bool:
        """Whether shorter steps need not be tried."""
        return not self.wrong and max(self.sizes) <= ROUGH

    def agrees(self, other: Compared) -> bool:
        """Whether another step has found the same mismatch."""
        gap = np.abs(np.subtract(self.relative, other.relative)) - np.add(self.noise, other.noise)
        return bool(np.max(gap) <= AGREE * max(self.sizes))


@dataclass(frozen=True)
class GradientMismatch:
    """Forces against differences of energies.

    Attributes
    ----------
    tried : tuple of Compared
        With each of the steps, longest first.
    path : Compared or None
        Over long paths; None where steps agree.
    atoms : tuple of (id, type, mismatch)
        Atoms with the largest mismatch, in the deck's unit of force; searched where all steps find one.
    jumps : str
        What may jump, in words.
    remedy : str
        What the deck's commands suggest besides.
    """

    tried: tuple[Compared, ...]
    path: Compared | None = None
    atoms: tuple[tuple[int, int, float], ...] = ()
    jumps: str = "forces or energies jump at a cutoff"
    remedy: str = ""

    @property
    def best(self) -> Compared:
        """The steps with the least mismatch: that of the forces is there with all of them."""
        return min(self.tried, key=lambda one: max(np.add(one.sizes, one.noise)))

    @property
    def size(self) -> float:
        """Mismatch that is there whatever the step, and over long paths."""
        return self.best.middle if self.path is None else float(np.fmin(self.best.middle, self.path.middle))

    @property
    def wrong(self) -> bool:
        """Whether forces and energies differ whatever the step."""
        return self.best.wrong if self.path is None else self.path.alike and self.size > LIMITED

    def finding(self, force: str, length: str) -> Finding:
        """Report it; `force` and `length` are the units."""
        best = self.best
        noise = float(np.median(best.noise))
        text = (
            f"mismatch {best.middle:.1e} of the typical force, largest {max(best.sizes):.1e} (uncertain by "
            f"{noise:.0e}), steps of {best.step:.0e} {length}"
        )
        numbers = {
            "relative": list(best.sizes),
            "noise": list(best.noise),
            "step": best.step,
            "steps": [{"step": one.step, "relative": list(one.sizes), "noise": list(one.noise)} for one in self.tried],
            "atoms": [list(atom) for atom in self.atoms],
        }
        if self.path is not None:
            numbers["path"] = {"length": self.path.step, "relative": list(self.path.sizes)}
        verdict, remedy = Verdict.good, ""
        if self.wrong:
            verdict = Verdict.limited if self.size <= LIMITED else Verdict.bad
            if self.path is not None:
                text += f"; over paths of {self.path.step:.0e} {length} their work is off by {self.path.middle:.1e}"
            shown = ", ".join(f"{id_} (type {kind}): {size:.1e}" for id_, kind, size in self.atoms)
            text += f"; worst atoms, {force}: {shown}" if shown else ""
            remedy = (
                f"Derivatives of energies and of relaxed structures agree to {self.size:.0e} only."
                if verdict is Verdict.limited
                else "The forces are not those of the energy: correct the potential's files or its pair style; relaxed "
                "structures follow the forces, derivatives of energies do not."
            ) + self.remedy
        elif max(best.sizes) > ROUGH:
            verdict = Verdict.limited
            text += f"; it depends on the step: {self.jumps}"
            remedy = f"See smoothness.{self.remedy}"
        elif best is not self.tried[0]:
            text += f"; in longer steps {self.jumps}"
        return Finding("forces against energy", verdict, text, remedy, numbers)


def measure_gradients(engine: Evaluator) -> GradientMismatch:
    """Compare forces with energies along `LINES` random lines: six evaluations each, and one.

    Where they differ, shorter steps are tried, and long paths unless these agree; the atoms are searched by bisection:
    about 12 log₂N evaluations more.

    Parameters
    ----------
    engine : Evaluator
        Left at its reference.
    """
    away = AWAY * angstrom(engine) * line(engine, 600)
    forces = np.array(engine.forces(away))
    tried = [_compared(engine, away, forces, STEPS[0] * angstrom(engine))]
    for step in STEPS[1:]:
        if tried[-1].settled:
            break
        tried.append(_compared(engine, away, forces, step * angstrom(engine)))
    path: Compared | None = None
    atoms: tuple[tuple[int, int, float], ...] = ()
    if not tried[-1].settled:
        if all(one.wrong and tried[0].agrees(one) for one in tried):
            atoms = _search(engine, away, forces)
        else:
            path = _along_paths(engine)
    engine.return_to_reference()
    return GradientMismatch(tuple(tried), path, atoms, what_jumps(engine.deck), grid_remedy(engine.deck))


def _compared(engine: Evaluator, away: FloatArray, forces: FloatArray, longest: float) -> Compared:
    """Forces at a displacement against central differences of energies with three steps.

    Extrapolated where the energy is smooth; where it is interpolated from a table, the mean of the differences is
    better.
    """
    typical = engine.norm(forces) / max(free_count(engine), 1) ** 0.5
    steps = [longest / 2**k for k in range(3)]
    round_off = 4 * np.finfo(float).eps * abs(engine.energy) / steps[-1]
    relative, noise = [], []
    for number in range(1, LINES + 1):
        v = line(engine, 600 + number)
        plain = [_difference(engine, away, step * v) / (2 * step) for step in steps]
        slope, uncertain = min(
            extrapolated(plain), (float(np.mean(plain)), float(np.std(plain))), key=lambda found: found[1]
        )
        size = max(typical * engine.norm(v), np.finfo(float).tiny)
        relative.append((slope + engine.dot(forces, v)) / size)
        noise.append((uncertain + round_off) / size)
    return Compared(longest, tuple(relative), tuple(noise))


def _along_paths(engine: Evaluator) -> Compared:
    """Energies against the work of forces from the reference along lines: the trapezoidal rule, extrapolated."""
    length = PATH * angstrom(engine)
    t = length * np.linspace(0, 1, 9)
    relative, noise = [], []
    for number in range(1, PATHS + 1):
        found = scan(engine, 600 + number, t)
        pulls = found.projections[:, 0]
        work, uncertain = extrapolated([float(np.trapezoid(pulls[::skip], t[::skip])) for skip in (4, 2, 1)])
        relative.append((found.energies[-1] - found.energies[0] + work) / (work or np.finfo(float).tiny))
        noise.append((uncertain + 4 * np.finfo(float).eps * abs(engine.energy)) / max(abs(work), np.finfo(float).tiny))
    return Compared(length, tuple(relative), tuple(noise))


def _difference(engine: Evaluator, away: FloatArray, step: FloatArray) -> float:
    engine.forces(away + step)
    plus = engine.energy
    engine.forces(away - step)
    return plus - engine.energy


def _search(engine: Evaluator, away: FloatArray, forces: FloatArray) -> tuple[tuple[int, int, float], ...]:
    """Ids, types and mismatches of the atoms whose forces differ most from the energy's, by bisection of all rows."""
    v, step = line(engine, 650), STEPS[0] * angstrom(engine) / 2
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
