"""Forces that are to be the derivative of LAMMPS' energy, and those of styles that are of another energy or of none.

Where forces are those of another energy, derivatives of positions would be right, but those of the energy would not
(they rely on forces that vanish being those of this energy), nor would relaxing lower it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from lammps_implicit.errors import DeckError
from lammps_implicit.evaluators.lammps import Engine

_LINES = 5e-3, 5e-4, 5e-5
"""Å; lengths of lines along which forces are compared with the energy. Pairs that cross a cutoff matter less along
short ones, and noise along long ones: one that agrees will do."""

_GRADIENT = 1e-4
"""Largest difference of an energy's change and the work of forces, relative. Measured: below 1e-7 where charges make
the energy of the forces stationary, 1e-5 for ACKS2, whose energy has more of the Coulomb constant, and above 1e-2 where
they belong to another energy; less of that shows where atoms still repel each other strongly. Of pair styles: below
1e-5, and above 1e-3 where the energy lacks a term of the forces."""


_ACCELERATED = r"(/(omp|opt|gpu|intel|kk\S*))?"


@dataclass(frozen=True)
class _Style:
    """Pair styles whose forces are not the derivative of their energy.

    Attributes
    ----------
    names : str
        Regular expression of their names.
    measured : bool
        Whether it depends on their settings, so that it is measured.
    why, remedy : str
    """

    names: str
    measured: bool
    why: str
    remedy: str


_STYLES = (
    _Style(
        "lj/charmm/coul/charmm",
        False,
        "LAMMPS switches its Coulomb forces off, not the Coulomb energy",
        "use lj/charmmfsw/coul/charmmfsh, or lj/charmm/coul/long with a kspace_style",
    ),
    _Style("agni", False, "it has forces and no energy", "take a potential that has one"),
    _Style(
        r"\S*coul/wolf(/cs)?",
        True,
        "LAMMPS' Wolf energy lacks a term of the forces, which vanishes for strong damping",
        "use coul/dsf in its place, or a larger damping parameter: 4 over the cutoff",
    ),
    _Style(
        r"lj/charmmfsw/\S+",
        True,
        "LAMMPS' switched forces are those of another energy, the more the closer the inner cutoff",
        "use lj/charmm/coul/long with a kspace_style, or larger cutoffs",
    ),
    _Style(
        r"gran/\S+|granular|python|sph/\S+|smd/\S+|rheo\S*|lubricate\S*|mesocnt/viscous",
        True,
        "the energy that LAMMPS has is not that of the forces",
        "take a potential whose energy it has",
    ),
)
"""Measured with LAMMPS of July 2025, along a line; forty other styles of pairs agree to 1e-6."""

_OF_CHARGES = (
    "forces are not the derivative of an energy that charges make stationary",
    "supported are ReaxFF with qeq/reaxff, qeq/shielded or acks2/reaxff, and coul/cut with qeq/point, qeq/dynamic or "
    "qeq/fire and the same cutoff; 'unfix' keeps charges as they are",
)


def require_gradient(engine: Engine) -> None:
    """Check that forces are the derivative of the energy, where charges equilibrate or the pair style is of `_STYLES`.

    Costs nothing in other decks, and in these three force evaluations, three for each shorter line that is tried, and
    one to settle.

    Raises
    ------
    DeckError
        If they are not.
    """
    for fix in engine.equilibration.fixes:
        missed = _missed(engine)
        if missed > _GRADIENT:
            what = f"'{fix}' with 'pair_style {' '.join(engine.deck.pair_style)}'"
            raise _no_energy(what, *_OF_CHARGES, missed)
    for word in engine.deck.pair_style:
        style = next((kind for kind in _STYLES if re.fullmatch(f"({kind.names}){_ACCELERATED}", word)), None)
        missed = 1.0 if style is None or not style.measured else _missed(engine)
        if style is not None and missed > _GRADIENT:
            why = f"forces are not the derivative of LAMMPS' energy: {style.why}"
            raise _no_energy(f"pair style '{word}'", why, style.remedy, missed)


def _missed(engine: Engine) -> float:
    """Difference of the energy's change and the work of forces, relative: along a line, by Simpson's rule.

    The line begins off the reference, whose symmetry may hide a difference or, at a cusp, feign one. Three force
    evaluations, and three for each shorter line that is tried; the least that was found.
    """
    engine.settle()
    line = np.cos(np.outer(engine.ids, [1.0, 2.0, 3.0])) * engine.free
    missed = []
    for length in _LINES:
        ends = [(engine.dot(engine.forces(s * length * line), line), engine.energy) for s in (1.0, 1.5, 2.0)]
        slopes, energies = np.array(ends).T
        parts = slopes * [1, 4, 1] * length / 6
        missed.append(abs(energies[2] - energies[0] + parts.sum()) / max(np.abs(parts).sum(), 1e-300))
        if missed[-1] <= _GRADIENT:
            break
    engine.return_to_reference()
    return float(min(missed))


def _no_energy(what: str, why: str, remedy: str, missed: float) -> DeckError:
    measured = "" if missed == 1.0 else f" (they differ by {missed:.1g} of their size)"
    return DeckError(f"{what}: {why}{measured}, and without one there is no minimum to differentiate; {remedy}")
