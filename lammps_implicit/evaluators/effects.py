"""Effects of a deck's fixes and pair coefficients, compared with those of the commands as they were read.

LAMMPS tells the names of what is defined, not its numbers. So the commands that were read are issued once more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lammps_implicit.arrays import FloatArray
from lammps_implicit.errors import DeckError
from lammps_implicit.evaluators.deck import Fix
from lammps_implicit.evaluators.energies import require_gradient
from lammps_implicit.evaluators.fixes import has_energy, removed
from lammps_implicit.evaluators.lammps import Engine

_FREEZING = ("setforce", "lineforce", "planeforce", "enforce2d", "freeze", "aveforce")
"""Styles of fixes that hold atoms, and nothing else: issued again under the same ID they act as before."""

_REMEMBERING = ("spring/self",)
"""Styles whose energy depends on where atoms were when the fix was defined."""

_SHIFT = np.array([0.011, 0.017, 0.023])
"""Å by which all atoms are moved for the curvature of an energy; any small vector without symmetry does."""

_DISTORTION = 1e-3
"""Å by which atoms are moved apart for the forces of bonds that are at rest."""

_SAME = 1e-6
"""Difference of two energies or forces of one command, relative, that is due to rounding."""


def require_effects_as_read(engine: Engine) -> None:
    """Check that fixes hold atoms and have energies as the commands that were read from the deck make them.

    Costs an evaluation if fixes hold atoms, one to three if fixes have energies, and what `require_gradient` costs. The
    engine has been taken over; afterwards it has been settled.

    Raises
    ------
    DeckError
        If a fix does something else, or forces are those of no energy.
    """
    fixes = [fix for fix in engine.deck.fixes.values() if not removed(fix)]
    holding = [fix for fix in fixes if fix.style in _FREEZING]
    acting = [fix for fix in fixes if has_energy(fix)]
    if holding or acting:
        forces = engine.settle()
        if holding:
            for fix in holding:
                engine.command(fix.command())
            again = engine.settle()
            _require_same(engine, forces, again, ", ".join(f"'{fix}'" for fix in holding))
        if acting:
            _require_energies(engine, acting)
    require_gradient(engine)


def require_potential_as_read(engine: Engine) -> None:
    """Check that the commands of the potential that were read from the deck, issued again, give its forces and energy.

    These are the commands with which parameters are changed and restored, `Engine.installed`. Costs an evaluation, and
    one for each alternative that LAMMPS accepts; in a deck with bonded interactions two each, as bonds at rest have
    no forces: the other one is at other positions.

    Raises
    ------
    DeckError
        If they do not.
    """
    forces, energy = engine.settle(), engine.energy
    what, alternatives = _commands_of(engine), engine.installed
    bonded = bool(engine.deck.bonded_coeffs)
    elsewhere = _distorted_forces(engine) if bonded else forces
    for lines in alternatives:
        try:
            again = engine.reissue(lines)
        except DeckError:  # its installation reports that, if it is wanted
            engine.require_valid()
            continue
        _require_same(engine, forces, again, what)
        if not abs(engine.energy - energy) <= _SAME * max(abs(energy), 1e-3):
            raise _misread(what, f"the energy is {energy:.10g}, and with them {engine.energy:.10g}")
        if bonded:
            _require_same(engine, elsewhere, _distorted_forces(engine), what)
    engine.installed = alternatives


def _commands_of(engine: Engine) -> str:
    """What the commands that were read are called, and where else they may come from."""
    if engine.deck.from_restart:
        return (
            "the coefficients of its restart file, of which LAMMPS tells six digits only (write the 'pair_style', "
            "'pair_coeff', 'bond_coeff', … lines after 'read_restart')"
        )
    what = "the 'pair_style', 'pair_coeff' and 'pair_modify' lines"
    if engine.deck.bonded_coeffs:
        what += " and those of bonded interactions"
    if engine.deck.from_data:
        what += " and the sections of coefficients in its data file"
    return what


def _distorted_forces(engine: Engine) -> FloatArray:
    """Forces where free atoms are moved, each by its own vector, (n, 3). One force evaluation."""
    phases = np.outer(engine.ids, [1.0, 2.0, 3.0]) % 7.3
    return engine.forces(_DISTORTION * np.sin(phases) * engine.free)


def _require_energies(engine: Engine, fixes: Sequence[Fix]) -> None:
    """Compare the energies of fixes with those of copies of them; three force evaluations with `_REMEMBERING`."""
    copies = [f"li_copy_{number}" for number, _ in enumerate(fixes)]
    for fix, copy in zip(fixes, copies, strict=True):
        engine.command(fix.command(copy))
    try:
        moved = [fix.style in _REMEMBERING for fix in fixes]
        engine.command("run 0 post no")
        energies = [_energies(engine, fixes, copies)]
        for sign in (1, -1) if any(moved) else ():
            engine.forces(np.tile(sign * _SHIFT, (len(engine.ids), 1)))
            energies.append(_energies(engine, fixes, copies))
    finally:
        for copy in copies:
            engine.command(f"unfix {copy}")
    engine.settle()
    for number, fix in enumerate(fixes):
        here, has, would = energies[0][number], energies[0][number][0], energies[0][number][1]
        if moved[number]:
            has, would = energies[1][number] + energies[2][number] - 2 * here
        if not abs(has - would) <= _SAME * max(abs(has), abs(would)) + 1e-12 * np.abs(here).max():
            raise _misread(f"'{fix}'", f"its energy is {has:.8g}, and would be {would:.8g}")


def _energies(engine: Engine, fixes: Sequence[Fix], copies: Sequence[str]) -> FloatArray:
    """Energy of each fix and of its copy, (m, 2)."""
    return np.array(
        [[engine.fix_energy(fix.id), engine.fix_energy(copy)] for fix, copy in zip(fixes, copies, strict=True)]
    )


def _require_same(engine: Engine, forces: FloatArray, again: FloatArray, what: str) -> None:
    """Check that forces, (n, 3), are finite, and the same once commands have been issued again."""
    if not np.isfinite(engine.max_abs(forces)):
        raise DeckError("forces are not finite: atoms are at one place, or so close that energies overflow; move them")
    largest = max(engine.max_abs(forces), engine.max_abs(again), 1e-3)
    change = engine.max_abs(again - forces)
    if not np.isfinite(change):
        raise DeckError(
            "forces are not finite: atoms are at one place, or a number of the potential makes no sense; mend the deck"
        )
    if not change <= _SAME * largest:
        raise _misread(what, f"forces change by up to {change:.3g} when they are issued again")


def _misread(what: str, how: str) -> DeckError:
    return DeckError(
        f"the deck was misread: {what}, as read from the commands that LAMMPS echoed, are not what it has: {how}; "
        "remove 'print' and 'fix print' lines whose text looks like a command, and a 'pair_style' that is repeated "
        "after 'pair_coeff' lines"
    )
