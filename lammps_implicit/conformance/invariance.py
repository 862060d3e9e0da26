"""Energy and forces under translations and rotations, and where neighbour lists are built again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.conformance.causes import grid_remedy, has_grid
from lammps_implicit.conformance.directions import angstrom, line
from lammps_implicit.conformance.finding import Finding, Verdict, graded, worse
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.mpi.ownership import fetch

AWAY = 0.02
"""Å; forces are compared at this displacement, so that they do not vanish at a minimum."""

SHARE = 0.2
"""Length of translations and rotations, and of the displacement whose lists are built again, in skins."""

GOOD, LIMITED = 1e-8, 1e-3


@dataclass(frozen=True)
class Invariance:
    """What changes under a motion that should change nothing.

    Attributes
    ----------
    name : str
        Of the motion.
    forces : float
        Change of the forces, relative to the forces at a displacement of `AWAY`.
    energy : float
        Change of the energy, in its unit.
    work : float
        Energy of that displacement, which changes of the energy are compared with, beyond its round-off.
    reason : str
        Why nothing was measured; empty if something was.
    wrong : str
        What it means if it changes, and what to do.
    grid : bool
        Whether sums on a grid explain changes of the energy.
    """

    name: str
    forces: float = float("nan")
    energy: float = float("nan")
    work: float = float("nan")
    reason: str = ""
    wrong: str = ""
    grid: bool = False

    @property
    def share(self) -> float:
        """Change of the energy relative to `work`."""
        return abs(self.energy) / self.work if self.work > 0 else 0.0

    def finding(self, energy: str) -> Finding:
        """Report it; `energy` is the unit."""
        if self.reason:
            return Finding(self.name, Verdict.unmeasured, self.reason)
        # On a grid energies of all structures change alike: what their derivatives feel is the change of the forces.
        of_energy = Verdict.limited if self.grid and self.share > GOOD else graded(self.share, GOOD, LIMITED)
        verdict = worse(graded(self.forces, GOOD, LIMITED), of_energy)
        text = f"forces change by {self.forces:.1e} of their size, the energy by {self.energy:.1e} {energy}"
        if self.energy:
            text += f", {self.share:.1e} of that of displacements by {AWAY} Å"
        remedy = f"Derivatives are consistent to {self.forces:.0e}. " if self.grid else ""
        return Finding(
            self.name,
            verdict,
            text,
            "" if verdict is Verdict.good else remedy + self.wrong,
            {"forces": self.forces, "energy": self.energy, "work": self.work, "energy_share": self.share},
        )


@dataclass(frozen=True)
class _Start:
    """Forces and energy at a small displacement, with which those after a motion are compared."""

    away: FloatArray
    forces: FloatArray
    energy: float
    size: float
    work: float


def measure_invariance(engine: Evaluator) -> list[Invariance]:
    """Translate and rotate all atoms, and sum the forces: about seven evaluations.

    Parameters
    ----------
    engine : Evaluator
        Left at its reference.
    """
    start = _start(engine)
    found = [_translated(engine, start), *_rotated(engine, start), _net_force(engine, start)]
    engine.return_to_reference()
    return found


def measure_lists(engine: Evaluator) -> Invariance:
    """Compare forces with those after neighbour lists are built again, atoms wrapped into the cell: five evaluations.

    Parameters
    ----------
    engine : Evaluator
        Its reference is restored: atoms may have changed owner or order on the way.
    """
    name, wrong = (
        "neighbour lists",
        "Lists miss pairs: enlarge the skin ('neighbor') and communication cutoff of the deck.",
    )
    displacement, before = SHARE * engine.skin * line(engine, 450), engine.reference()
    start, ids = _start(engine), engine.ids
    forces = np.array(engine.forces(displacement))
    energy = engine.energy
    try:
        engine.shift(displacement)
        again = np.array(engine.settle())
        change = engine.norm(fetch(engine.comm, engine.ids, again, ids) - forces)
        share = change / max(engine.norm(forces), np.finfo(float).tiny)
        found = Invariance(name, share, _difference(engine, energy), start.work, "", wrong)
    finally:
        engine.set_reference(before)
        engine.forces()
    return found


def _start(engine: Evaluator) -> _Start:
    forces, energy = np.array(engine.forces()), engine.energy
    away = AWAY * angstrom(engine) * line(engine, 400)
    moved = np.array(engine.forces(away))
    work = max(abs(engine.energy - energy), 0.5 * abs(engine.dot(moved - forces, away)))
    return _Start(away, moved, engine.energy, max(engine.norm(moved), np.finfo(float).tiny), work)


def _difference(engine: Evaluator, energy: float) -> float:
    """Change of the energy beyond its round-off."""
    change = engine.energy - energy
    return change if abs(change) > 1e-13 * abs(energy) else 0.0


def _compared(engine: Evaluator, name: str, start: _Start, forces: FloatArray, expected: FloatArray) -> Invariance:
    change = engine.norm(forces - expected) / start.size
    grid = has_grid(engine.deck)
    cause = (
        f"the grid of reciprocal sums.{grid_remedy(engine.deck)}" if grid else "a field, or an error of the potential."
    )
    wrong = f"Something depends on where the atoms are: {cause}"
    return Invariance(name, change, _difference(engine, start.energy), start.work, "", wrong, grid)


def _translated(engine: Evaluator, start: _Start) -> Invariance:
    if engine.external:
        return Invariance("translations", reason="external forces act: energies depend on where the atoms are")
    shift = SHARE * engine.skin * np.array([0.5, -0.3, 0.0 if engine.deck.dimension == 2 else 0.4])
    return _compared(engine, "translations", start, np.array(engine.forces(start.away + shift)), start.forces)


def _rotated(engine: Evaluator, start: _Start) -> list[Invariance]:
    """Rotations about the axes across which nothing is periodic; none for crystals."""
    axes = [axis for axis in range(3) if not any(engine.periodic[other] for other in range(3) if other != axis)]
    if engine.deck.dimension == 2:
        axes = [axis for axis in axes if axis == 2]
    if not axes:
        return []
    name = "rotations"
    if engine.external:
        return [Invariance(name, reason="external forces act: energies depend on how the atoms are turned")]
    partly = engine.free.any(axis=1) & ~engine.alone[:, : engine.deck.dimension].all(axis=1)
    if engine.any(bool(partly.any())):
        return [Invariance(name, reason="some atoms are held along one direction and free along another")]
    centre = engine.sum(engine.positions.sum(axis=0)) / engine.n_atoms
    arms = engine.positions + start.away - centre
    angle = SHARE * engine.skin / max(engine.max(float(np.linalg.norm(arms, axis=1).max(initial=0.0))), 1e-300)
    turn = np.eye(3)
    for axis in axes:
        turn = turn @ _rotation(axis, min(angle, 0.3) / len(axes))
    forces = np.array(engine.forces(centre + arms @ turn.T - engine.positions))
    return [_compared(engine, name, start, forces, start.forces @ turn.T * engine.free)]


def _rotation(axis: int, angle: float) -> FloatArray:
    matrix = np.eye(3)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


def _net_force(engine: Evaluator, start: _Start) -> Invariance:
    name = "net force"
    held = engine.any(bool((~engine.free[:, : engine.deck.dimension]).any()))
    if held or engine.external:
        return Invariance(name, reason="atoms are held, or external forces act: forces need not sum to zero")
    total = np.linalg.norm(engine.sum(start.forces.sum(axis=0)))
    wrong = f"Forces do not sum to zero: correct the potential.{grid_remedy(engine.deck)}"
    return Invariance(name, float(total) / start.size, 0.0, start.work, "", wrong)
