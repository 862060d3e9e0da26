"""Pair energies with the functional forms of LAMMPS' pair styles: Lennard-Jones, Morse, Buckingham, Born, Yukawa."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from lammps_implicit.arrays import FloatArray, IntArray
from lammps_implicit.autodiff.neighbours import Pairs, pairs
from lammps_implicit.errors import LammpsImplicitError
from lammps_implicit.structures import Structure

Taper = Literal["none", "shift", "linear", "smooth"]

SKIN = 0.15
"""By how much neighbour lists extend beyond the cutoff, relative to it. A larger skin means fewer rebuilds and longer
lists."""


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
    """U = Σ φ(r) over pairs within a cutoff; Θ lists the parameters of φ for one kind of pair after the other.

    Attributes
    ----------
    form : callable
        φ(r, parameters…).
    parameters : tuple of str
        Names of the parameters of φ, the same for every kind.
    kinds : (n_types + 1, n_types + 1) int array
        Kind of each pair of atom types, indexed by types that count from one; negative for pairs that do not interact.
    cutoffs, inner : (K,) float arrays
        Å; cutoff of each kind, and the distance at which the taper ``smooth`` begins.
    taper : {"none", "shift", "linear", "smooth"}
        How φ is modified. ``none``: not at all. ``shift``: its value at the cutoff is subtracted. ``linear``: value and
        slope at the cutoff are subtracted, as in LAMMPS' ``…/smooth/linear``. ``smooth``: beyond `inner` the force is
        the cubic that brings force and its derivative to zero at the cutoff, and the energy is zero there, as in
        ``lj/smooth`` with ``pair_modify shift yes``.
    """

    form: Callable[..., Any]
    parameters: tuple[str, ...]
    kinds: IntArray
    cutoffs: FloatArray
    inner: FloatArray
    taper: Taper

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of Θ, such as ``1-2 sigma``; a kind is named after its first pair of types."""
        first = [tuple(np.argwhere(self.kinds == kind)[0]) for kind in range(len(self.cutoffs))]
        return tuple(f"{a}-{b} {name}" for a, b in first for name in self.parameters)

    @property
    def skin(self) -> float:
        """Å; by how much neighbour lists extend beyond the cutoff."""
        return SKIN * float(self.cutoffs.max())

    def cutoff(self, theta: FloatArray) -> float:
        """Longest cutoff, Å."""
        return float(self.cutoffs.max())

    def neighbours(self, structure: Structure, theta: FloatArray) -> Pairs:
        """Pairs within cutoff plus skin.

        Raises
        ------
        LammpsImplicitError
            If the structure has more atom types than the energy.
        """
        if structure.types.max() >= len(self.kinds):
            raise LammpsImplicitError(
                f"the structure has atoms of type {structure.types.max()} ({', '.join(structure.elements)}), "
                f"but the pair energy is one of {len(self.kinds) - 1} types: give a larger n_types"
            )
        inside = structure.positions - structure.origin
        periodic = [bool(axis) for axis in structure.periodic]
        reach = self.cutoff(theta) + self.skin
        return pairs(inside, structure.cell, periodic, self.kinds, structure.types, reach)

    def __call__(self, positions: Any, cell: Any, theta: Any, neighbours: Pairs) -> Any:
        """Energy U, a scalar; arguments as for `LocalEnergy`."""
        vectors = positions[neighbours.second] + neighbours.shift @ cell - positions[neighbours.first]
        r = jnp.sqrt(jnp.sum(vectors**2, axis=1))
        parameters = theta.reshape(-1, len(self.parameters))
        near = (r < jnp.asarray(self.cutoffs)[neighbours.kind]) & neighbours.real
        phi = self._tapered(r, parameters, neighbours.kind)
        return jnp.sum(jnp.where(near, phi, 0.0))

    def _tapered(self, r: Any, parameters: Any, kind: Any) -> Any:
        """φ(r) of each pair with the taper applied."""
        plain = self.form(r, *parameters[kind].T)
        if self.taper == "none":
            return plain
        cutoffs, columns = jnp.asarray(self.cutoffs), parameters.T
        slope = jax.vmap(jax.grad(self.form))
        if self.taper == "shift":
            return plain - self.form(cutoffs, *columns)[kind]
        if self.taper == "linear":
            return plain - self.form(cutoffs, *columns)[kind] - (r - cutoffs[kind]) * slope(cutoffs, *columns)[kind]
        # Force w₁ + w₂t + w₃t² + w₄t³ with t = r - inner: force and derivative are continuous, and zero at the cutoff.
        inner = jnp.asarray(self.inner)
        width = cutoffs - inner
        w1, w2 = -slope(inner, *columns), -jax.vmap(jax.grad(jax.grad(self.form)))(inner, *columns)
        w3 = -3 / width**2 * (w1 + 2 / 3 * w2 * width)
        w4 = -(w2 + 2 * w3 * width) / (3 * width**2)

        def energy_drop(t: Any, k: Any) -> Any:  # integral of the force from inner to inner + t
            return t * (w1[k] + t * (w2[k] / 2 + t * (w3[k] / 3 + t * w4[k] / 4)))

        every = jnp.arange(len(self.cutoffs))
        offset = self.form(inner, *columns) - energy_drop(width, every)
        beyond = self.form(inner, *columns)[kind] - energy_drop(r - inner[kind], kind)
        return jnp.where(r < inner[kind], plain, beyond) - offset[kind]


def pair_energy(
    form: Callable[..., Any],
    n_types: int,
    cutoff: ArrayLike,
    taper: Taper = "linear",
    inner: ArrayLike | None = None,
) -> PairEnergy:
    """Pair energy with any φ(r, parameters…), for use with `minimum`.

    Parameters
    ----------
    form : callable
        φ(r, parameters…) in JAX, elementwise: all arguments are arrays of the same length. Θ lists the parameters of
        φ for the pairs of types 1-1, 1-2, …, 2-2, … in turn.
    n_types : int
        Number of atom types.
    cutoff : float or (K,) array_like
        Å, for all pairs of types or for each of them.
    taper, inner
        As for `PairEnergy`; ``smooth`` needs `inner`.

    Returns
    -------
    PairEnergy

    Raises
    ------
    LammpsImplicitError
        If the taper is unknown, a cutoff is not positive, or `inner` is not between zero and the cutoff.
    """
    rows, columns = np.triu_indices(n_types)
    kinds = np.full((n_types + 1, n_types + 1), -1)
    kinds[rows + 1, columns + 1] = kinds[columns + 1, rows + 1] = np.arange(len(rows))
    cutoffs = np.broadcast_to(np.asarray(cutoff, float), len(rows)).copy()
    inner_cutoffs = cutoffs if inner is None else np.broadcast_to(np.asarray(inner, float), len(rows)).copy()
    return checked(PairEnergy(form, parameter_names(form), kinds, cutoffs, inner_cutoffs, taper))


def parameter_names(form: Callable[..., Any]) -> tuple[str, ...]:
    """Names of the parameters of φ(r, parameters…); arguments with a default value are not parameters."""
    _, *rest = inspect.signature(form).parameters.values()
    return tuple(parameter.name for parameter in rest if parameter.default is inspect.Parameter.empty)


def checked(energy: PairEnergy) -> PairEnergy:
    """Return the energy after checking its cutoffs and taper.

    Raises
    ------
    LammpsImplicitError
        If the taper is unknown, a cutoff is not positive, or an inner cutoff is not between zero and the cutoff.
    """
    if energy.taper not in ("none", "shift", "linear", "smooth"):
        raise LammpsImplicitError(f"taper '{energy.taper}' is not one of none, shift, linear, smooth")
    if not (energy.cutoffs > 0).all():
        raise LammpsImplicitError("every cutoff must be positive")
    if energy.taper == "smooth" and not ((energy.inner > 0) & (energy.inner < energy.cutoffs)).all():
        raise LammpsImplicitError("taper 'smooth' begins at an inner cutoff: give inner, smaller than cutoff")
    return energy


lennard_jones_energy: Callable[..., PairEnergy] = partial(pair_energy, lennard_jones)
"""`pair_energy` with Θ = ε, σ for each pair of types."""

morse_energy: Callable[..., PairEnergy] = partial(pair_energy, morse)
"""`pair_energy` with Θ = D, α, r₀ for each pair of types."""
