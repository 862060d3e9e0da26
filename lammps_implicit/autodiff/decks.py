"""The potential of a LAMMPS deck as a JAX energy: pair styles without files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from lammps_implicit.autodiff import pair_energies
from lammps_implicit.autodiff.evaluator import AutodiffEvaluator
from lammps_implicit.autodiff.minima import start, structure_of
from lammps_implicit.autodiff.neighbours import Pairs
from lammps_implicit.autodiff.pair_energies import PairEnergy, Taper
from lammps_implicit.autodiff.potential import AutodiffPotential
from lammps_implicit.errors import LammpsImplicitError, PotentialError
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.minimum import Minimum
from lammps_implicit.potentials.labels import select
from lammps_implicit.structures import Structure


class Style(NamedTuple):
    """A pair style: its φ, and its taper where that is not left to ``pair_modify``."""

    form: Callable[..., Any]
    taper: Taper | None = None


@dataclass(frozen=True)
class Selected:
    """An energy as a function of some of its parameters.

    Attributes
    ----------
    energy : PairEnergy
    theta : (Q,) float array
        All of them.
    selected : (P,) int array
    names : tuple of str
        Of those selected.
    """

    energy: PairEnergy
    theta: NDArray[np.float64]
    selected: NDArray[np.int64]
    names: tuple[str, ...]

    @property
    def skin(self) -> float:
        """Reach of the lists beyond the cutoff."""
        return self.energy.skin

    def cutoff(self, theta: NDArray[np.float64]) -> float:
        """The longest."""
        return self.energy.cutoff(theta)

    def neighbours(self, structure: Structure, theta: NDArray[np.float64]) -> Pairs:
        """Pairs within reach."""
        return self.energy.neighbours(structure, theta)

    def __call__(self, positions: Any, cell: Any, theta: Any, neighbours: Pairs) -> Any:
        """U."""
        return self.energy(positions, cell, jnp.asarray(self.theta).at[self.selected].set(theta), neighbours)


TRUE = ("yes", "on", "true")
"""How LAMMPS writes it."""

SAME = 1e-6
"""Largest difference of LAMMPS and JAX: of the energy and of V times the pressure relative to the energy, of forces in
LAMMPS' unit."""

STYLES = {
    "lj/cut": Style(pair_energies.lennard_jones),
    "lj/smooth": Style(pair_energies.lennard_jones, "smooth"),
    "lj/smooth/linear": Style(pair_energies.lennard_jones, "linear"),
    "morse": Style(pair_energies.morse),
    "morse/smooth/linear": Style(pair_energies.morse, "linear"),
    "buck": Style(pair_energies.buckingham),
    "born": Style(pair_energies.born),
    "yukawa": Style(pair_energies.yukawa),
}


def from_deck(path: str | os.PathLike[str], parameters: str | Sequence[str] | None = None, **options: Any) -> Minimum:
    """Run a LAMMPS deck, and differentiate its minimum exactly: its pair style in JAX, with the same names.

    Parameters
    ----------
    path, parameters, **options
        As for `Minimum.from_deck`, whose ``evaluator="jax"`` this is.

    Raises
    ------
    PotentialError
        If the deck's pair style has no counterpart here, or LAMMPS computes something else besides.
    """
    return Minimum.from_deck(path, parameters=parameters, evaluator="jax", **options)


def start_jax(
    deck: Path,
    comm: MPI.Comm,
    parameters: str | Sequence[str] | None = None,
    variables: Mapping[str, str] | None = None,
    **limits: Any,
) -> tuple[AutodiffEvaluator, AutodiffPotential]:
    """Run a deck in LAMMPS and go on with its pair style in JAX: see `evaluators.registry.StartEvaluator`.

    Raises
    ------
    PotentialError
        If the deck's pair style has no counterpart here, or LAMMPS computes something else besides.
    """
    if comm.size > 1:
        raise LammpsImplicitError("automatic differentiation runs on one process: start without mpirun")
    with Minimum.from_deck(deck, comm, variables=variables, **limits) as reference:
        energy = energy_from_deck(reference.engine.deck, reference.engine.n_types)
        theta, names = reference.potential.theta, reference.potential.names
        chosen: PairEnergy | Selected = energy
        if parameters is not None:
            selected = select(names, parameters)
            names = tuple(names[index] for index in selected)
            chosen, theta = Selected(energy, theta, selected, names), theta[selected]
        evaluator, potential = start(*structure_of(reference), chosen, theta, names, reference.engine.deck)
        _require_the_same(evaluator, reference)
        return evaluator, potential


def _require_the_same(found: AutodiffEvaluator, reference: Minimum) -> None:
    """Check that JAX has all that LAMMPS computes: energy, forces and pressure where LAMMPS has relaxed.

    Raises
    ------
    PotentialError
        If it has not.
    """
    order, forces = np.argsort(reference.ids), found.forces()
    scale = max(abs(reference.energy), 1e-3 * reference.engine.n_atoms)
    off = {
        "energy": abs(found.energy - reference.energy) / scale,
        "forces": float(np.abs(forces - reference.hessian.reference_forces[order]).max()),
        "pressure": float(np.abs(found.pressure - reference.pressure).max()) * reference.engine.volume / scale,
    }
    if reference.engine.deck.dimension == 2:
        del off["pressure"]  # LAMMPS' is that of an area
    worst = max(off, key=lambda name: off[name])
    if off[worst] > SAME:
        raise PotentialError(
            f"JAX and LAMMPS differ in the {worst} of this deck (by {off[worst]:.1e}; energies {found.energy:.9g} and "
            f"{reference.energy:.9g}): it has something that JAX has not, such as bonds, charges, "
            "'neigh_modify exclude', or a setting of 'pair_modify'"
        )


def energy_from_deck(deck: Deck, n_types: int) -> PairEnergy:
    """The deck's pair style as an energy whose Θ is that of its ``pair_coeff`` lines, in their order.

    Raises
    ------
    PotentialError
        If it has no counterpart here.
    """
    name, *numbers = deck.pair_style or ("none",)
    if name not in STYLES:
        raise PotentialError(f"pair_style {name} has no counterpart in JAX here: those of {', '.join(STYLES)} have")
    style, words = STYLES[name], [float(word) for word in numbers]
    form = partial(style.form, kappa=words.pop(0)) if name == "yukawa" else style.form
    parameters = pair_energies.names_of(form)
    kinds = np.full((n_types + 1, n_types + 1), -1)
    lines: dict[str, list[list[float]]] = {}
    for line in deck.pair_coeffs:
        label = f"{line.args[0]}-{line.args[1]}"
        values = [float(word) for word in line.args[2:]]
        lines[label] = [values[len(parameters) :] or words]
        index = list(lines).index(label)
        firsts, seconds = (_types(word, n_types) for word in line.args[:2])
        for a, b in product(firsts, seconds):
            if a <= b or len(firsts) == len(seconds) == 1:  # as LAMMPS takes ranges
                kinds[a, b] = kinds[b, a] = index
    missing = next(((a, b) for a in range(1, n_types + 1) for b in range(a, n_types + 1) if kinds[a, b] < 0), None)
    if missing is not None:
        raise PotentialError(
            f"LAMMPS mixes the coefficients of types {missing[0]} and {missing[1]} from others: give them a line"
        )
    cutoffs = np.array([found[0] for found in lines.values()])
    modified = dict(zip(*[iter([word for words in deck.pair_modifies for word in words])] * 2, strict=False))
    if modified.get("tail") in TRUE:
        raise PotentialError("'pair_modify tail yes' adds an energy of the volume alone, which JAX does not have here")
    shifted = modified.get("shift") in TRUE
    if style.taper == "smooth" and not shifted:
        raise PotentialError(
            "lj/smooth steps in energy at the cutoff, and only with 'pair_modify shift yes' has a counterpart in JAX"
        )
    taper: Taper = style.taper or ("shift" if shifted else "none")
    return pair_energies.checked(PairEnergy(form, parameters, kinds, cutoffs[:, -1], cutoffs[:, 0], taper))


def _types(word: str, n_types: int) -> range:
    """Types that LAMMPS takes a word such as ``2``, ``*`` or ``2*4`` for."""
    low, star, high = word.partition("*")
    if not all(part.isdigit() for part in (low, high) if part):
        raise PotentialError(f"pair_coeff for the type label '{word}': types by number have a counterpart in JAX")
    return range(int(low or 1), int(high or n_types if star else low) + 1)
