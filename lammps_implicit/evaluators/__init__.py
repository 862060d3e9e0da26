"""Evaluators: energy, forces, pressure and descriptors at given positions, cell and parameters.

`interface` defines `Evaluator`, which LAMMPS implements here, JAX in `lammps_implicit.autodiff`, and other packages by
registering under a name (`registry`); `serial` is a base for evaluators in one process, which need a single function.
`lammps_session` runs a deck in LAMMPS and `lammps` evaluates it around a reference; `deck` collects the settings of the
deck, `fixes` checks its fixes, `failures` condenses LAMMPS' error messages, `ase_deck` writes decks for ASE structures,
`potential_folders` finds potential files. `restoring` undoes temporary changes of an evaluator, `images` finds periodic
images.

The function `restoring` is imported from the file of the same name.
"""

from lammps_implicit.evaluators.ase_deck import temporary_deck
from lammps_implicit.evaluators.deck import Deck, Fix, PairCoeff, deck_path, read_transcript
from lammps_implicit.evaluators.images import nearest_image
from lammps_implicit.evaluators.interface import Evaluations, Evaluator, Neighbourhood, Reference
from lammps_implicit.evaluators.lammps import Engine
from lammps_implicit.evaluators.potential_folders import potential_file, potential_folders
from lammps_implicit.evaluators.registry import EVALUATORS, StartEvaluator
from lammps_implicit.evaluators.serial import SerialEvaluator

__all__ = [
    "EVALUATORS",
    "Deck",
    "Engine",
    "Evaluations",
    "Evaluator",
    "Fix",
    "Neighbourhood",
    "PairCoeff",
    "Reference",
    "SerialEvaluator",
    "StartEvaluator",
    "deck_path",
    "nearest_image",
    "potential_file",
    "potential_folders",
    "read_transcript",
    "temporary_deck",
]
