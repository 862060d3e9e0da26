"""Charges that LAMMPS equilibrates: a second set of unknowns, eliminated at every evaluation.

Charges q make U(X, q; Θ) stationary at a given total charge, so ∂U/∂q vanishes along every change they may make, and
the forces at converged charges are the total derivative -dU/dX of U(X, q(X, Θ); Θ). Their differences, in X and in Θ,
contain the response of the charges exactly: H and C are those of the block system of positions, charges and a row for
the total charge, from which the charges have been eliminated. That system itself would need ∂²U/∂q² and ∂²U/∂q∂X, which
LAMMPS does not give. All that elimination takes is charges converged to round-off at every step. Forces are then noisy
by 1e-14 of their size with ``qeq/reaxff`` (measured), so that differences keep their steps; charges take 14 iterations
in place of 6.

The energy that LAMMPS reports is not that of the forces. Pair styles such as ``coul/cut`` leave out the cost of
charging atoms, Σ χq + ½ηq². ReaxFF has it, but its Coulomb constant is 332.06371/23.02 eV Å where the fixes have 14.4:
charges are stationary, and forces a gradient, with costs of charging that are larger by 0.17 %. `Equilibration` knows
what is missing; `energies.require_gradient` measures whether forces are the derivative of the sum. With some pair
styles they are those of no energy.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.errors import DeckError
from lammps_implicit.evaluators.deck import Deck, Fix
from lammps_implicit.evaluators.fixes import EQUILIBRATING

_TIGHT = "1e-14"
"""Tolerance of charges, relative. Measured for ReaxFF: forces found again after others agree to 5e-13 of up to
1e3 kcal/mol/Å, and to 3e-4 with 1e-6, the tolerance of many decks."""

_TIGHTER = "1e-24"
"""The same for ACKS2, which measures by larger unknowns. Measured for 64 molecules of water: forces agree to 4e-11 of
up to 230 kcal/mol/Å in 126 iterations, and to 5e-8 in 93 with 1e-18."""

_ITERATIONS = "5000"
"""Limit on the iterations of charges, far above what they take where they converge at all."""

NEUTRAL = 1e-5
"""Sum of all charges, relative to that of their sizes, up to which a deck counts as neutral: charges are rounded."""

OTHER_ENERGY = (
    "charges are equilibrated: energies here have what charging atoms costs, as the charges see it, so that forces are "
    "their derivative; LAMMPS' 'pe' is another"
)
"""Said once where `Equilibration` adds to LAMMPS' energy."""

COMPUTE = "li_charges"
"""ID of our compute of ReaxFF's energies."""

_CHARGING = 13
"""Index of the cost of charging atoms among ReaxFF's energies (LAMMPS documentation of ``pair_style reaxff``)."""

_MATRIX = 14.4
"""Coulomb constant, eV Å, with which ``qeq/shielded`` and ReaxFF's fixes find charges (LAMMPS source)."""

_REAXFF_EXCESS = 332.06371 / 23.02 / _MATRIX - 1
"""By how much ReaxFF's own Coulomb constant is larger, relative (LAMMPS source)."""

_COMPLETE = ("coul/streitz", "coul/ctip", "comb", "comb3")
"""Pair styles whose energies contain the cost of charging atoms."""


@dataclass(frozen=True)
class Equilibration:
    """How a deck's charges are equilibrated, and the part of the energy that LAMMPS leaves out.

    Attributes
    ----------
    fixes : tuple of Fix
        Fixes that equilibrate charges, at every evaluation and to round-off.
    reaxff : str
        Name of ReaxFF's pair style; empty if the deck has another.
    group : str
        Group of atoms whose cost of charging is missing in LAMMPS' energy.
    costs : (types + 1, 2) float array
        χ and η of each type, counted from 1, divided by the Coulomb constant with which charges are found; empty if
        nothing is missing.
    """

    fixes: tuple[Fix, ...] = ()
    reaxff: str = ""
    group: str = "all"
    costs: FloatArray = field(default_factory=lambda: np.empty((0, 2)))

    @property
    def commands(self) -> tuple[str, ...]:
        """Commands that define the fixes. A fix keeps numbers of the potential that it has read: issue them with it."""
        return tuple(fix.command() for fix in self.fixes)

    def of_energies(self, energies: FloatArray) -> float:
        """What is missing in ReaxFF's energy, in its unit, given its parts, (14,)."""
        return float(_REAXFF_EXCESS * energies[_CHARGING])

    def of_charges(self, charges: FloatArray, types: IntArray, constant: float) -> float:
        """Cost of charging atoms, Σ χq + ½ηq².

        Parameters
        ----------
        charges, types : (n,) arrays
        constant : float
            Coulomb constant of the deck's units.
        """
        chi, eta = self.costs[types].T
        return float(constant * (chi @ charges + 0.5 * eta @ charges**2))


def equilibration(deck: Deck, pair_style: str, types: int) -> Equilibration:
    """How the charges of a deck with a pair style and so many atom types are equilibrated; reads files of the deck.

    Raises
    ------
    DeckError
        If several fixes equilibrate charges, or the file with their parameters cannot be read.
    """
    fixes = [_converged(fix) for fix in deck.fixes.values() if EQUILIBRATING.match(fix.style)]
    if not fixes:
        return Equilibration()
    if len(fixes) > 1:
        raise DeckError(f"'{fixes[0]}' and '{fixes[1]}' both equilibrate charges: keep one of them")
    fix, styles = fixes[0], pair_style.split()
    reaxff = next((word for word in styles if word.split("/omp")[0] == "reaxff"), "")
    if reaxff or any(word in _COMPLETE for word in styles):
        return Equilibration((fix,), reaxff)
    constant = _MATRIX if "reax" in fix.style or fix.style.startswith("qeq/shielded") else 1.0
    return Equilibration((fix,), group=fix.group, costs=_costs(fix, types) / constant)


def _converged(fix: Fix) -> Fix:
    """The same fix, acting at every step until charges have converged, with paths of files that are valid anywhere."""
    args = ["1", *fix.args[1:4], *(_absolute(fix.directory, word) for word in fix.args[4:])]
    if fix.style.startswith("qeq/comb"):
        args = ["1", _TIGHT]
    elif "reax" in fix.style:
        args[3] = _TIGHTER if fix.style.startswith("acks2") else _TIGHT
        if "maxiter" in args:
            where = args.index("maxiter")
            del args[where : where + 2]
        args += ["maxiter", _ITERATIONS]
    else:
        args[2:4] = [_TIGHT, _ITERATIONS]
    return replace(fix, args=tuple(args))


def _absolute(directory: Path, word: str) -> str:
    return str(directory / word) if (directory / word).is_file() else word


def _costs(fix: Fix, types: int) -> FloatArray:
    """χ and η of each type from the file that a fix names, (types + 1, 2)."""
    costs = np.zeros((types + 1, 2))
    try:
        rows = [line.split("#")[0].split() for line in Path(fix.args[4]).read_text(encoding="utf-8").splitlines()]
        for words in filter(None, rows):
            costs[_range(words[0], types)] = float(words[1]), float(words[2])
    except (OSError, ValueError, IndexError) as error:
        raise DeckError(f"'{fix}': what it costs to charge atoms cannot be read: {error}") from None
    return costs


def _range(word: str, types: int) -> slice:
    """Types that a number or a range such as ``2*4`` names."""
    first, star, last = word.partition("*")
    return slice(int(first or 1), (int(last or types) if star else int(first)) + 1)
