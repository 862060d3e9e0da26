"""Atoms that are more than points: energies that depend on how they are turned, or on their spins, are refused."""

from __future__ import annotations

from lammps_implicit.errors import DeckError

_TURNED = ("gayberne", "resquared", "ylz", "tri/", "line/", "body/", "oxdna", "oxrna", "brownian", "lubricate")
"""Beginnings of names of pair styles whose energy, or forces, depend on orientations (LAMMPS documentation)."""

_REMEDY = "relax and differentiate it with a pair style of positions alone"


def require_points(pair_style: str, atom_style: str, declared: bool) -> None:
    """Check by its name that a pair style depends on nothing but positions.

    Parameters
    ----------
    pair_style : str
        With its arguments.
    atom_style : str
        LAMMPS' name, with sub-styles.
    declared : bool
        Whether the deck declares the pair style, so that its sub-styles are known.

    Raises
    ------
    DeckError
        If it does not.
    """
    words = pair_style.split()
    for word in words:
        if word.startswith("spin/") or (not declared and "spin" in atom_style and word.startswith("hybrid")):
            raise DeckError(
                f"'pair_style {pair_style}' depends on the atoms' magnetic moments, which are neither relaxed nor "
                f"differentiated together with positions: {_REMEDY}, which may act on atoms of style spin"
            )
        if word.startswith(_TURNED) or "dipole" in word.split("/"):
            raise DeckError(
                f"'pair_style {pair_style}' depends on orientations, which are neither relaxed nor differentiated "
                f"together with positions: {_REMEDY}"
            )
        if word.startswith("gran"):
            raise DeckError(
                f"'pair_style {pair_style}' has forces of friction, which depend on what happened before and have no "
                f"energy: {_REMEDY}"
            )


def require_no_torque(torque: float, pair_style: str) -> None:
    """Check that nothing turns atoms: energies then do not depend on their orientations.

    Parameters
    ----------
    torque : float
        Largest component on any atom.
    pair_style : str
        For the message.

    Raises
    ------
    DeckError
        If something does.
    """
    if torque > 0:
        raise DeckError(
            f"torques of up to {torque:.3g} turn the atoms ('pair_style {pair_style}'): orientations are neither "
            f"relaxed nor differentiated together with positions; {_REMEDY}"
        )
