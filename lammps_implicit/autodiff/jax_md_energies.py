"""Energies of jax-md as functions of their parameters: Stillinger-Weber, and any other with a neighbour list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.autodiff.neighbours import table
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.structures import Structure

SKIN = 0.5
"""Å; reach of neighbour lists beyond the cutoff."""

STILLINGER_WEBER = {"epsilon": 2.16826, "sigma": 2.0951, "A": 7.049556277, "B": 0.6022245584, "lam": 21.0, "gamma": 1.2}
"""Parameters of silicon, eV and Å (F. H. Stillinger, T. A. Weber, Phys. Rev. B 31, 5262 (1985))."""


@dataclass(frozen=True)
class JaxMDEnergy:
    """A jax-md energy with dense neighbour lists, in a periodic cell of any shape at least two cutoffs wide.

    Attributes
    ----------
    make : callable
        (displacement function, Θ) to a jax-md energy of (positions, neighbours).
    cutoff : callable
        Θ to the distance that neighbour lists are built for.
    skin : float
        Reach of the lists beyond it.
    names : tuple of str
        Of its parameters.
    """

    make: Callable[[Any, Any], Callable[[Any, Any], Any]]
    cutoff: Callable[[FloatArray], float]
    names: tuple[str, ...]
    skin: float = SKIN

    def neighbours(self, structure: Structure, theta: FloatArray) -> NDArray[np.int64]:
        """Neighbours of each atom, (N, K), filled up with N."""
        if not all(structure.periodic):
            raise LammpsImplicitError("energies of jax-md need a cell that is periodic in all directions here")
        widths = 1 / np.linalg.norm(np.linalg.inv(structure.cell), axis=0)
        reach = self.cutoff(theta) + self.skin
        if widths.min() < 2 * reach:
            raise LammpsImplicitError(
                f"the cell is {widths.min():.4g} wide, and jax-md sees one periodic image of each atom only: make it "
                f"wider than {2 * reach:.4g}"
            )
        inside = structure.positions - structure.origin
        return table(inside, structure.cell, (True, True, True), reach)

    def __call__(self, positions: Any, cell: Any, theta: Any, neighbours: Any) -> Any:
        """U."""
        from jax_md import partition

        inverse = jnp.linalg.inv(cell)

        def displacement(a: Any, b: Any) -> Any:
            # Finds the nearest image of all pairs within reach: across the cell's widths they are less than half apart.
            fractional = (a - b) @ inverse
            return (fractional - jnp.round(fractional)) @ cell

        listed = SimpleNamespace(idx=neighbours, format=partition.Dense, reference_position=positions)
        return self.make(displacement, theta)(positions, listed)


def stillinger_weber_energy(cutoff: float = 3.77118) -> JaxMDEnergy:
    """Stillinger-Weber of one element, Θ as in `STILLINGER_WEBER`; σ scales its cutoff, as LAMMPS' does.

    Parameters
    ----------
    cutoff : float
        With the σ of `STILLINGER_WEBER`: 1.8 σ.

    Raises
    ------
    LammpsImplicitError
        If jax-md is not installed.
    """
    try:
        from jax_md import energy
    except ImportError as error:
        raise LammpsImplicitError(
            "this energy is jax-md's, which is not installed: pip install 'lammps-implicit[autodiff]'"
        ) from error
    reach = cutoff / STILLINGER_WEBER["sigma"]

    def make(displacement: Any, theta: Any) -> Callable[[Any, Any], Any]:
        named = dict(zip(STILLINGER_WEBER, theta, strict=True))
        cut = reach * named["sigma"]
        build = energy.stillinger_weber_neighbor_list
        return build(displacement, None, cutoff=cut, neighbor_list_fn=lambda *_, **__: None, **named)[1]

    names = tuple(STILLINGER_WEBER)
    return JaxMDEnergy(make, lambda theta: reach * float(theta[names.index("sigma")]), names)
