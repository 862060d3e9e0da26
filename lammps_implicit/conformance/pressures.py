"""Whether the pressure is the derivative of the energy by strains, for all strains that the cell allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.cell.freedom import require_tiltable, strain_freedom
from lammps_implicit.cell.voigt import COMPONENTS, PLACES
from lammps_implicit.conformance.extrapolation import extrapolated
from lammps_implicit.conformance.finding import Finding, Verdict
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.interface import Evaluator

STEP = 2e-4
"""Longest of the three strains, each half the one before."""

TYPICAL = 5e-3
"""Strain under which the pressure changes by what mismatches are relative to, where the pressure itself is smaller."""

GOOD, LIMITED = 1e-6, 1e-3


@dataclass(frozen=True)
class PressureMismatch:
    """Pressures against differences of energies.

    Attributes
    ----------
    relative, noise : mapping of str to float
        Mismatch of each strain component, and what the differences are uncertain by, relative to the pressure or to its
        change under a strain of `TYPICAL`.
    reason : str
        Why nothing was measured; empty if something was.
    long_ranged : bool
        Whether sums over the reciprocal lattice may be the cause.
    """

    relative: Mapping[str, float]
    noise: Mapping[str, float]
    reason: str = ""
    long_ranged: bool = False

    def finding(self) -> Finding:
        """Report it."""
        name = "pressure against energy"
        if self.reason:
            return Finding(name, Verdict.unmeasured, self.reason)
        clear = {key: value for key, value in self.relative.items() if not value <= max(GOOD, 5 * self.noise[key])}
        largest = max(self.relative.values())
        verdict = Verdict.good
        if not largest <= GOOD:
            verdict = Verdict.bad if any(not value <= LIMITED for value in clear.values()) else Verdict.limited
        sums = ", or sums over the reciprocal lattice are rough" if self.long_ranged else ""
        remedies = {
            Verdict.good: "",
            Verdict.limited: f"Energies or forces jump at a cutoff, or are interpolated{sums}.",
            Verdict.bad: "The virial is not that of the energy: cells relaxed with this potential are wrong.",
        }
        return Finding(
            name,
            verdict,
            "relative mismatch " + ", ".join(f"{key} {value:.0e}" for key, value in self.relative.items()),
            remedies[verdict],
            {"relative": dict(self.relative), "noise": dict(self.noise)},
        )


def unit_strain(name: str) -> FloatArray:
    """Strain of size 1 of one component, (3, 3), upper triangular."""
    strain = np.zeros((3, 3))
    strain[PLACES[COMPONENTS.index(name)]] = 1.0
    return strain


def allowed_strains(engine: Evaluator) -> tuple[list[str], str]:
    """Strain components that the cell can take as it is, and why it cannot take the others."""
    names, reason = [], ""
    for name in COMPONENTS:
        try:
            require_tiltable(engine, strain_freedom(name, np.zeros((3, 3)), engine))
            names.append(name)
        except LammpsImplicitError as error:
            reason = reason or str(error)
    return names, reason


def measure_pressures(engine: Evaluator, names: list[str], reason: str = "") -> PressureMismatch:
    """Compare pressures with energies: six evaluations for each strain component, and a few.

    Parameters
    ----------
    engine : Evaluator
        Left at its reference.
    names : list of str
        Strain components, of `allowed_strains`.
    reason : str
        Why there are none, where there are none.
    """
    if not names:
        return PressureMismatch({}, {}, reason)
    engine.return_to_reference()
    start, volume = np.array(engine.pressure), engine.volume
    change, found = 0.0, {}
    steps = [STEP / 2**k for k in range(3)]
    try:
        for name in names:
            plain = []
            for step in steps:
                energies = []
                for sign in (1, -1):
                    engine.strained_forces(sign * step * unit_strain(name))
                    energies.append(engine.energy)
                    change = max(change, float(np.abs(engine.pressure - start).max()) / step)
                plain.append((energies[1] - energies[0]) / (2 * step * volume))
            value, uncertain = extrapolated(plain)
            round_off = 4 * np.finfo(float).eps * abs(engine.energy) / steps[-1] / volume
            found[name] = value, uncertain + round_off
    finally:
        engine.unstrain()
    size = max(float(np.abs(start).max()), TYPICAL * change, np.finfo(float).tiny)
    place = {name: PLACES[COMPONENTS.index(name)] for name in names}
    return PressureMismatch(
        {name: float(abs(value - start[place[name]])) / size for name, (value, _) in found.items()},
        {name: uncertain / size for name, (_, uncertain) in found.items()},
        long_ranged=bool(engine.deck.kspace),
    )
