"""Argon with a vacancy by engines in one process, one in NumPy and one in JAX: minima that are quickly made."""

import warnings
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from ase.build import bulk
from mpi4py import MPI

from lammps_implicit import Minimum
from lammps_implicit.evaluators import Evaluations, SerialEvaluator
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.potentials import PlainPotential
from lammps_implicit.structures import from_ase

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from lammps_implicit.autodiff import lennard_jones_energy
    from lammps_implicit.autodiff.minima import start

CUTOFF = 5.0
THETA = {"epsilon": 0.0104, "sigma": 3.4}
SHIFTS = np.array(list(product((-1, 0, 1), repeat=3)))


@dataclass(kw_only=True)
class Argon(SerialEvaluator):
    """Lennard-Jones energy, shifted at the cutoff, of a cell more than twice as wide."""

    def evaluate(self, positions, cell, theta):
        epsilon, sigma = theta
        vectors = positions[None, :, None] - positions[:, None, None] + SHIFTS @ cell
        squares = (vectors**2).sum(axis=-1)
        near = (squares > 0) & (squares < CUTOFF**2)
        vectors, squares = vectors[near], squares[near]
        sixth, at_cutoff = (sigma**2 / squares) ** 3, (sigma / CUTOFF) ** 6
        energy = 2 * epsilon * (sixth**2 - sixth - at_cutoff**2 + at_cutoff).sum()
        pushes = 24 * epsilon * ((2 * sixth**2 - sixth) / squares)[:, None] * vectors
        forces = np.zeros_like(positions)
        np.add.at(forces, np.nonzero(near)[0], -pushes)
        return energy, forces, pushes.T @ vectors / (2 * np.prod(np.diag(cell)))


def argon():
    """31 atoms; structure and free components."""
    atoms = bulk("Ar", "fcc", 5.3, cubic=True).repeat(2)
    del atoms[0]
    return from_ase(atoms)


def numpy_minimum():
    """A minimum whose derivatives are differences."""
    structure, free = argon()
    potential = PlainPotential.of(THETA, structure.elements, linear=("epsilon",))
    engine = Argon(comm=MPI.COMM_SELF, structure=structure, free=free, theta=potential.values)
    return Minimum(engine, potential, 1e-9, np.inf, cell="iso")


def jax_engine():
    """Evaluator and potential, whose derivatives are compiled once for all minima made from them."""
    return start(*argon(), lennard_jones_energy(1, CUTOFF, "shift"), list(THETA.values()), None, Deck(units="metal"))


def jax_minimum(engine, potential):
    """A minimum whose derivatives are exact."""
    fresh = replace(engine, evaluations=Evaluations(), void="")
    return Minimum(fresh, potential, 1e-9, np.inf, cell="iso")
