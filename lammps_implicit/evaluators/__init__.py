"""What evaluates energies and forces: LAMMPS here, JAX in `lammps_implicit.autodiff`, others through `Evaluator`."""

from lammps_implicit.evaluators.ase_deck import temporary_deck
from lammps_implicit.evaluators.deck import Deck
from lammps_implicit.evaluators.images import nearest_image
from lammps_implicit.evaluators.interface import Evaluations, Evaluator, Neighbourhood, Reference
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.evaluators.potential_folders import potential_folders
from lammps_implicit.evaluators.serial import SerialEvaluator

__all__ = [
    "Deck",
    "Engine",
    "Evaluations",
    "Evaluator",
    "Neighbourhood",
    "Reference",
    "SerialEvaluator",
    "nearest_image",
    "potential_folders",
    "temporary_deck",
]
