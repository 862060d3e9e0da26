"""What each fix that a deck leaves defined does here, in words."""

from __future__ import annotations

from dataclasses import dataclass

from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.evaluators.deck import Fix
from lammps_implicit.evaluators.fixes import EQUILIBRATING, frozen_components, has_energy, removed, told_removed


@dataclass(frozen=True)
class FixRole:
    """A fix and what becomes of it.

    Attributes
    ----------
    fix : str
        Its command.
    role : str
        ``freezes``, ``energy``, ``charges``, ``removed``, ``kept`` or ``refused``.
    text : str
        The same as a sentence.
    """

    fix: str
    role: str
    text: str


def role_of(fix: Fix) -> FixRole:
    """Say what becomes of a fix."""
    if told_removed(fix):
        return FixRole(str(fix), "removed", "taken off: it acts as time goes on, and a minimum does not depend on it")
    if removed(fix):
        return FixRole(str(fix), "removed", "taken off: it observes, or acted while the deck minimised")
    try:
        held = frozen_components(fix)
    except LammpsImplicitError as error:
        return FixRole(str(fix), "refused", str(error))
    if held:
        return FixRole(str(fix), "freezes", f"holds {', '.join('xyz'[axis] for axis in held)} of group {fix.group}")
    if EQUILIBRATING.match(fix.style):
        return FixRole(str(fix), "charges", "charges are equilibrated at every evaluation")
    if has_energy(fix):
        return FixRole(str(fix), "energy", "its energy is part of what is minimised and differentiated")
    return FixRole(str(fix), "kept", "stays, and moves nothing")
