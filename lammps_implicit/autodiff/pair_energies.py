"""Energies of pairs of atoms as LAMMPS' styles have them: Lennard-Jones, Morse, Buckingham, Born, Yukawa."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from lammps_implicit.arrays import FloatArray
from lammps_implicit.autodiff.neighbours import Pairs, pairs
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.structures import Structure

Taper = Literal["none", "shift", "linear", "smooth"]

SKIN = 0.15
"""Reach of neighbour lists beyond the cutoff, relative to it."""


def lennard_jones(r: Any, epsilon: Any, sigma: Any) -> Any:
    """4ε[(σ/r)¹² - (σ/r)⁶]."""
    ratio = (sigma / r) ** 6
    return 4 * epsilon * (ratio**2 - ratio)


def morse(r: Any, depth: Any, alpha: Any, r0: Any) -> Any:
    """D[e^{-2α(r - r₀)} - 2e^{-α(r - r₀)}]."""
    decay = jnp.exp(-alpha * (r - r0))
    return depth * (decay**2 - 2 * decay)


def buckingham(r: Any, a: Any, rho: Any, c: Any) -> Any:
    """Ae^{-r/ρ} - C/r⁶."""
    return a * jnp.exp(-r / rho) - c / r**6


def born(r: Any, a: Any, rho: Any, sigma: Any, c: Any, d: Any) -> Any:
    """Ae^{(σ - r)/ρ} - C/r⁶ + D/r⁸."""
    return a * jnp.exp((sigma - r) / rho) - c / r**6 + d / r**8


def yukawa(r: Any, a: Any, kappa: float) -> Any:
    """Ae^{-κr}/r."""
    return a * jnp.exp(-kappa * r) / r


@dataclass(frozen=True)
class PairEnergy:
    """U = Σ φ(r) over pairs within a cutoff, Θ the parameters of each kind of pair in turn.

    Attributes
    ----------
    form : callable
        φ(r, parameters…).
    parameters : tuple of str
        Of each kind.
    kinds : (n_types + 1, n_types + 1) int array
        Number of each pair of types, which count from one; negative where they do not interact.
    cutoffs, inner : (K,) float arrays
        Of each kind; the taper ``smooth`` begins at `inner`.
    taper : {"none", "shift", "linear", "smooth"}
        What φ becomes near its cutoff: itself; φ minus its value there; minus its slope too, as LAMMPS'
        ``…/smooth/linear``; or, beyond `inner`, an integral of the cubic that brings force and its slope to zero, with
        the energy zero at the cutoff, as ``lj/smooth`` with ``pair_modify shift yes``.
    """

    form: Callable[..., Any]
    parameters: tuple[str, ...]
    kinds: NDArray[np.int64]
    cutoffs: FloatArray
    inner: FloatArray
    taper: Taper

    @property
    def names(self) -> tuple[str, ...]:
        """Such as ``1-2 sigma``: the pairs of types of a kind by the first of them."""
        first = [tuple(np.argwhere(self.kinds == kind)[0]) for kind in range(len(self.cutoffs))]
        return tuple(f"{a}-{b} {name}" for a, b in first for name in self.parameters)

    @property
    def skin(self) -> float:
        """Reach of the lists beyond the cutoff."""
        return SKIN * float(self.cutoffs.max())

    def cutoff(self, theta: FloatArray) -> float:
        """The longest."""
        return float(self.cutoffs.max())

    def neighbours(self, structure: Structure, theta: FloatArray) -> Pairs:
        """Pairs within reach.

        Raises
        ------
        LammpsImplicitError
            If the structure has more types of atoms than the energy.
        """
        if structure.types.max() >= len(self.kinds):
            raise LammpsImplicitError(
                f"the structure has atoms of type {structure.types.max()} ({', '.join(structure.elements)}), "
                f"the energy of pairs is one of {len(self.kinds) - 1} types: give n_types"
            )
        inside = structure.positions - structure.origin
        periodic = [bool(axis) for axis in structure.periodic]
        reach = self.cutoff(theta) + self.skin
        return pairs(inside, structure.cell, periodic, self.kinds, structure.types, reach)

    def __call__(self, positions: Any, cell: Any, theta: Any, neighbours: Pairs) -> Any:
        """U."""
        vectors = positions[neighbours.second] + neighbours.shift @ cell - positions[neighbours.first]
        r = jnp.sqrt(jnp.sum(vectors**2, axis=1))
        parameters = theta.reshape(-1, len(self.parameters))
        near = (r < jnp.asarray(self.cutoffs)[neighbours.kind]) & neighbours.real
        phi = self._tapered(r, parameters, neighbours.kind)
        return jnp.sum(jnp.where(near, phi, 0.0))

    def _tapered(self, r: Any, parameters: Any, kind: Any) -> Any:
        plain = self.form(r, *parameters[kind].T)
        if self.taper == "none":
            return plain
        cutoffs, columns = jnp.asarray(self.cutoffs), parameters.T
        slope = jax.vmap(jax.grad(self.form))
        if self.taper == "shift":
            return plain - self.form(cutoffs, *columns)[kind]
        if self.taper == "linear":
            return plain - self.form(cutoffs, *columns)[kind] - (r - cutoffs[kind]) * slope(cutoffs, *columns)[kind]
        # Force w₁ + w₂t + w₃t² + w₄t³ with t = r - inner, both it and its slope continuous, and zero at the cutoff.
        inner = jnp.asarray(self.inner)
        width = cutoffs - inner
        w1, w2 = -slope(inner, *columns), -jax.vmap(jax.grad(jax.grad(self.form)))(inner, *columns)
        w3 = -3 / width**2 * (w1 + 2 / 3 * w2 * width)
        w4 = -(w2 + 2 * w3 * width) / (3 * width**2)

        def fallen(t: Any, k: Any) -> Any:
            return t * (w1[k] + t * (w2[k] / 2 + t * (w3[k] / 3 + t * w4[k] / 4)))

        every = jnp.arange(len(self.cutoffs))
        offset = self.form(inner, *columns) - fallen(width, every)
        beyond = self.form(inner, *columns)[kind] - fallen(r - inner[kind], kind)
        return jnp.where(r < inner[kind], plain, beyond) - offset[kind]


def pair_energy(
    form: Callable[..., Any],
    n_types: int,
    cutoff: ArrayLike,
    taper: Taper = "linear",
    inner: ArrayLike | None = None,
) -> PairEnergy:
    """An energy of pairs from any φ(r, parameters…), for `minimum`.

    Parameters
    ----------
    form : callable
        φ of arrays that are as long as r. Θ holds its parameters besides r, of the pairs of types 1-1, 1-2, …, 2-2, …
        one after the other.
    n_types : int
    cutoff : float or (K,) array_like
        For all pairs of types, or each.
    taper, inner
        See `PairEnergy`.

    Raises
    ------
    LammpsImplicitError
        If a taper or a cutoff is not sensible.
    """
    rows, columns = np.triu_indices(n_types)
    kinds = np.full((n_types + 1, n_types + 1), -1)
    kinds[rows + 1, columns + 1] = kinds[columns + 1, rows + 1] = np.arange(len(rows))
    cutoffs = np.broadcast_to(np.asarray(cutoff, float), len(rows)).copy()
    begin = cutoffs if inner is None else np.broadcast_to(np.asarray(inner, float), len(rows)).copy()
    return checked(PairEnergy(form, names_of(form), kinds, cutoffs, begin, taper))


def names_of(form: Callable[..., Any]) -> tuple[str, ...]:
    """Parameters of a φ(r, parameters…), those with a default aside."""
    _, *rest = inspect.signature(form).parameters.values()
    return tuple(parameter.name for parameter in rest if parameter.default is inspect.Parameter.empty)


def checked(energy: PairEnergy) -> PairEnergy:
    """The energy, if its cutoffs and taper make sense.

    Raises
    ------
    LammpsImplicitError
    """
    if energy.taper not in ("none", "shift", "linear", "smooth"):
        raise LammpsImplicitError(f"taper '{energy.taper}' is not one of none, shift, linear, smooth")
    if not (energy.cutoffs > 0).all():
        raise LammpsImplicitError("a cutoff is not positive")
    if energy.taper == "smooth" and not ((energy.inner > 0) & (energy.inner < energy.cutoffs)).all():
        raise LammpsImplicitError("taper 'smooth' begins at an inner cutoff: give inner, smaller than cutoff")
    return energy


lennard_jones_energy: Callable[..., PairEnergy] = partial(pair_energy, lennard_jones)
"""`pair_energy` with Θ = ε, σ of each pair of types."""

morse_energy: Callable[..., PairEnergy] = partial(pair_energy, morse)
"""`pair_energy` with Θ = D, α, r₀ of each pair of types."""
