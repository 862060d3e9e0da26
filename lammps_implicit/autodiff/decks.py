"""JAX energies for LAMMPS decks: pair styles that need no potential file."""

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

from lammps_implicit.arrays import FloatArray, IntArray
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
    """JAX counterpart of a pair style: φ(r), and the taper if the style itself defines one."""

    form: Callable[..., Any]
    taper: Taper | None = None


@dataclass(frozen=True)
class SelectedParameters:
    """A pair energy as a function of some of its parameters; implements `LocalEnergy`.

    Attributes
    ----------
    energy : PairEnergy
    theta : (Q,) float array
        Values of all its parameters.
    selected : (P,) int array
        Indices of the selected parameters.
    names : tuple of str
        Labels of the selected parameters.
    """

    energy: PairEnergy
    theta: FloatArray
    selected: IntArray
    names: tuple[str, ...]

    @property
    def skin(self) -> float:
        """Å; by how much neighbour lists extend beyond the cutoff."""
        return self.energy.skin

    def cutoff(self, theta: FloatArray) -> float:
        """Longest cutoff, Å."""
        return self.energy.cutoff(theta)

    def neighbours(self, structure: Structure, theta: FloatArray) -> Pairs:
        """Pairs within cutoff plus skin."""
        return self.energy.neighbours(structure, theta)

    def __call__(self, positions: Any, cell: Any, theta: Any, neighbours: Pairs) -> Any:
        """Energy U, a scalar; `theta` (P,) holds the selected parameters."""
        return self.energy(positions, cell, jnp.asarray(self.theta).at[self.selected].set(theta), neighbours)


TRUE = ("yes", "on", "true")
"""Spellings of "true" that LAMMPS accepts."""

AGREEMENT = 1e-6
"""Largest accepted difference between JAX and LAMMPS: of the energy and of pressure times volume, relative to the
energy; of forces, in LAMMPS' units. Chosen far above round-off and far below the effect of a missing interaction."""

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
    """Run a LAMMPS deck and differentiate its minimum exactly, with the deck's pair style evaluated in JAX.

    Short for ``Minimum.from_deck(..., evaluator="jax")``. Parameters have the same labels as with LAMMPS.

    Parameters
    ----------
    path, parameters, **options
        As for `Minimum.from_deck`.

    Returns
    -------
    Minimum

    Raises
    ------
    PotentialError
        If the deck's pair style has no JAX counterpart here, or LAMMPS computes contributions that JAX does not.
    """
    return Minimum.from_deck(path, parameters=parameters, evaluator="jax", **options)


def start_jax(
    deck: Path,
    comm: MPI.Comm,
    parameters: str | Sequence[str] | None = None,
    variables: Mapping[str, str] | None = None,
    **limits: Any,
) -> tuple[AutodiffEvaluator, AutodiffPotential]:
    """Run a deck in LAMMPS and continue with its pair style in JAX; implements `evaluators.registry.StartEvaluator`.

    Raises
    ------
    PotentialError
        If the deck's pair style has no JAX counterpart here, or LAMMPS computes contributions that JAX does not.
    LammpsImplicitError
        On several processes.
    """
    if comm.size > 1:
        raise LammpsImplicitError("automatic differentiation runs on one process: start without mpirun")
    with Minimum.from_deck(deck, comm, variables=variables, **limits) as reference:
        energy = energy_from_deck(reference.engine.deck, reference.engine.n_types)
        theta, names = reference.potential.theta, reference.potential.names
        chosen: PairEnergy | SelectedParameters = energy
        if parameters is not None:
            selected = select(names, parameters)
            names = tuple(names[index] for index in selected)
            chosen, theta = SelectedParameters(energy, theta, selected, names), theta[selected]
        evaluator, potential = start(*structure_of(reference), chosen, theta, names, reference.engine.deck)
        _require_agreement(evaluator, reference)
        return evaluator, potential


def _require_agreement(found: AutodiffEvaluator, reference: Minimum) -> None:
    """Check that JAX and LAMMPS give the same energy, forces and pressure at the structure LAMMPS has relaxed."""
    order, forces = np.argsort(reference.ids), found.forces()
    scale = max(abs(reference.energy), 1e-3 * reference.engine.n_atoms)
    differences = {
        "energy": abs(found.energy - reference.energy) / scale,
        "forces": float(np.abs(forces - reference.hessian.reference_forces[order]).max()),
        "pressure": float(np.abs(found.pressure - reference.pressure).max()) * reference.engine.volume / scale,
    }
    worst = max(differences, key=lambda name: differences[name])
    if differences[worst] > AGREEMENT:
        raise PotentialError(
            f"JAX and LAMMPS differ in the {worst} of this deck (by {differences[worst]:.1e}; energies "
            f"{found.energy:.9g} and {reference.energy:.9g}): the deck has something that JAX does not have here, such "
            "as bonds, charges, 'neigh_modify exclude' or a setting of 'pair_modify'"
        )


def energy_from_deck(deck: Deck, n_types: int) -> PairEnergy:
    """The deck's pair style as a JAX energy whose Θ are the numbers of its ``pair_coeff`` lines, in their order.

    Parameters
    ----------
    deck : Deck
    n_types : int
        Number of atom types.

    Raises
    ------
    PotentialError
        If the pair style or one of its settings has no counterpart here.
    """
    name, *numbers = deck.pair_style or ("none",)
    if name not in STYLES:
        raise PotentialError(f"pair_style {name} has no counterpart in JAX here: only {', '.join(STYLES)} have one")
    if deck.bonded_coeffs:
        raise PotentialError("bonded interactions have no counterpart in JAX here")
    style, words = STYLES[name], [float(word) for word in numbers]
    form = partial(style.form, kappa=words.pop(0)) if name == "yukawa" else style.form
    parameters = pair_energies.parameter_names(form)
    kinds = np.full((n_types + 1, n_types + 1), -1)
    lines: dict[str, list[list[float]]] = {}
    for line in deck.pair_coeffs:
        label = f"{line.args[0]}-{line.args[1]}"
        values = [float(word) for word in line.args[2:]]
        lines[label] = [values[len(parameters) :] or words]
        index = list(lines).index(label)
        firsts, seconds = (_types(word, n_types) for word in line.args[:2])
        for a, b in product(firsts, seconds):
            if a <= b or len(firsts) == len(seconds) == 1:  # as LAMMPS expands ranges
                kinds[a, b] = kinds[b, a] = index
    missing = next(((a, b) for a in range(1, n_types + 1) for b in range(a, n_types + 1) if kinds[a, b] < 0), None)
    if missing is not None:
        raise PotentialError(
            f"LAMMPS mixes the coefficients of types {missing[0]} and {missing[1]} from others: give them a line"
        )
    cutoffs = np.array([found[0] for found in lines.values()])
    modified = dict(zip(*[iter([word for words in deck.pair_modifies for word in words])] * 2, strict=False))
    if modified.get("tail") in TRUE:
        raise PotentialError(
            "'pair_modify tail yes' adds an energy that depends on the volume alone and has no counterpart in JAX here"
        )
    shifted = modified.get("shift") in TRUE
    if style.taper == "smooth" and not shifted:
        raise PotentialError(
            "the energy of lj/smooth jumps at the cutoff; it has a counterpart in JAX only with 'pair_modify shift yes'"
        )
    taper: Taper = style.taper or ("shift" if shifted else "none")
    return pair_energies.checked(PairEnergy(form, parameters, kinds, cutoffs[:, -1], cutoffs[:, 0], taper))


def _types(word: str, n_types: int) -> range:
    """Atom types that a word of a ``pair_coeff`` line such as ``2``, ``*`` or ``2*4`` stands for."""
    low, star, high = word.partition("*")
    if not all(part.isdigit() for part in (low, high) if part):
        raise PotentialError(
            f"pair_coeff names the type label '{word}': only numeric types have a counterpart in JAX here"
        )
    return range(int(low or 1), int(high or n_types if star else low) + 1)
