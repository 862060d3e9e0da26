"""How far energies, forces and pressures of a potential can be trusted, by measurement.

`check_deck` runs a deck and reports; the functions named ``measure_*`` measure one thing of any evaluator.
"""

from lammps_implicit.conformance.checking import check_deck
from lammps_implicit.conformance.finding import Finding, Verdict
from lammps_implicit.conformance.gradients import GradientMismatch, measure_gradients
from lammps_implicit.conformance.invariance import Invariance, measure_invariance, measure_lists
from lammps_implicit.conformance.kinks import Kink
from lammps_implicit.conformance.noise import Noise, measure_noise
from lammps_implicit.conformance.pairs import Pair, pair_of
from lammps_implicit.conformance.plots import plot_conformance
from lammps_implicit.conformance.pressures import PressureMismatch, measure_pressures
from lammps_implicit.conformance.report import Conformance
from lammps_implicit.conformance.smoothness import Smoothness, measure_smoothness
from lammps_implicit.conformance.steps import Steps, hessian_steps, strain_steps
from lammps_implicit.conformance.symmetry import Asymmetry, measure_asymmetry

__all__ = [
    "Asymmetry",
    "Conformance",
    "Finding",
    "GradientMismatch",
    "Invariance",
    "Kink",
    "Noise",
    "Pair",
    "PressureMismatch",
    "Smoothness",
    "Steps",
    "Verdict",
    "check_deck",
    "hessian_steps",
    "measure_asymmetry",
    "measure_gradients",
    "measure_invariance",
    "measure_lists",
    "measure_noise",
    "measure_pressures",
    "measure_smoothness",
    "pair_of",
    "plot_conformance",
    "strain_steps",
]
