"""Energies from jax-md as functions of their parameters: Stillinger-Weber, or any other that takes a neighbour list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.autodiff.neighbours import table
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.structures import Structure

SKIN = 0.5
"""Å; by how much neighbour lists extend beyond the cutoff. A larger skin means fewer rebuilds and longer lists."""

STILLINGER_WEBER = {"epsilon": 2.16826, "sigma": 2.0951, "A": 7.049556277, "B": 0.6022245584, "lam": 21.0, "gamma": 1.2}
"""Parameters of silicon, eV and Å (F. H. Stillinger, T. A. Weber, Phys. Rev. B 31, 5262 (1985))."""


@dataclass(frozen=True)
class JaxMDEnergy:
    """A jax-md energy with dense neighbour lists.

    The cell is periodic in all directions and may have any shape; it must be at least two cutoffs (plus skin) wide.

    Attributes
    ----------
    make : callable
        Called with (displacement function, Θ); returns a jax-md energy function of (positions, neighbours).
    cutoff : callable
        Called with Θ; returns the cutoff distance, Å.
    names : tuple of str
        Labels of the parameters.
    skin : float
        Å; by how much neighbour lists extend beyond the cutoff.
    """

    make: Callable[[Any, Any], Callable[[Any, Any], Any]]
    cutoff: Callable[[FloatArray], float]
    names: tuple[str, ...]
    skin: float = SKIN

    def neighbours(self, structure: Structure, theta: FloatArray) -> IntArray:
        """Indices of the neighbours of each atom, (N, K); unused entries hold N.

        Raises
        ------
        LammpsImplicitError
            If the cell is not periodic in all directions, or narrower than twice the cutoff plus skin.
        """
        if not all(structure.periodic):
            raise LammpsImplicitError("a jax-md energy needs a cell that is periodic in all directions")
        widths = 1 / np.linalg.norm(np.linalg.inv(structure.cell), axis=0)
        reach = self.cutoff(theta) + self.skin
        if widths.min() < 2 * reach:
            raise LammpsImplicitError(
                f"the cell is {widths.min():.4g} wide, but jax-md sees only one periodic image of each atom: make the "
                f"cell wider than {2 * reach:.4g}"
            )
        inside = structure.positions - structure.origin
        return table(inside, structure.cell, (True, True, True), reach)

    def __call__(self, positions: Any, cell: Any, theta: Any, neighbours: Any) -> Any:
        """Energy U, a scalar; arguments as for `LocalEnergy`."""
        from jax_md import partition

        inverse, out_of_reach = jnp.linalg.inv(cell), jax.lax.stop_gradient(cell[0]) / 2

        def displacement(a: Any, b: Any) -> Any:
            # Correct for all listed pairs: they are less than half the cell's width apart in every direction.
            fractional = (a - b) @ inverse
            # Unused entries of lists are read as the last atom. There jax-md multiplies by zero, also infinities that
            # the last atom finds at no distance from itself: it is told to be half a cell away.
            itself = jnp.all(a == b)
            return jnp.where(itself, out_of_reach, (fractional - jnp.round(fractional)) @ cell)

        listed = SimpleNamespace(idx=neighbours, format=partition.Dense, reference_position=positions)
        return self.make(displacement, theta)(positions, listed)


def stillinger_weber_energy(cutoff: float = 3.77118) -> JaxMDEnergy:
    """Stillinger-Weber energy of one element; Θ holds the entries of `STILLINGER_WEBER` in order.

    The cutoff scales with σ, as in LAMMPS.

    Parameters
    ----------
    cutoff : float
        Å, at the σ of `STILLINGER_WEBER`. The default is 1.8 σ, as published.

    Returns
    -------
    JaxMDEnergy

    Raises
    ------
    LammpsImplicitError
        If jax-md is not installed.
    """
    try:
        from jax_md import energy
    except ImportError as error:
        raise LammpsImplicitError(
            "this energy needs jax-md, which is not installed: pip install 'lammps-implicit[autodiff]'"
        ) from error
    reach = cutoff / STILLINGER_WEBER["sigma"]

    def make(displacement: Any, theta: Any) -> Callable[[Any, Any], Any]:
        named = dict(zip(STILLINGER_WEBER, theta, strict=True))
        cut = reach * named["sigma"]
        build = energy.stillinger_weber_neighbor_list
        return build(displacement, None, cutoff=cut, neighbor_list_fn=lambda *_, **__: None, **named)[1]

    names = tuple(STILLINGER_WEBER)
    return JaxMDEnergy(make, lambda theta: reach * float(theta[names.index("sigma")]), names)
