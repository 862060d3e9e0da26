"""The Hessian H = ∂²U/∂X² and the mixed derivative C = ∂²U/∂X∂Θ as operators on displacements.

`interface` holds the protocols of both and of the parameters they need. The Hessian: `hessian` chooses between
`differenced_hessian` (differences of forces) and `exact_hessian` (evaluators with Hessian products of their own). The
mixed derivative: `descriptor_derivative` (from LAMMPS' descriptors), `swept_derivative` (every parameter installed in
turn, by `sweep` and `trial_parameters`), `gram` (CᵀC), and `coupling` (derivatives with respect to strain).
"""

from lammps_implicit.operators.coupling import measure_coupling
from lammps_implicit.operators.descriptor_derivative import DescriptorDerivative
from lammps_implicit.operators.differenced_hessian import DifferencedHessian
from lammps_implicit.operators.exact_hessian import ExactHessian
from lammps_implicit.operators.hessian import hessian_of
from lammps_implicit.operators.interface import (
    Descriptors,
    Hessian,
    Installable,
    MixedDerivative,
    StrainedDerivative,
    Swept,
)
from lammps_implicit.operators.sweep import Sweep, sweep_parameters
from lammps_implicit.operators.swept_derivative import SweptDerivative
from lammps_implicit.operators.trial_parameters import trial_parameters

__all__ = [
    "DescriptorDerivative",
    "Descriptors",
    "DifferencedHessian",
    "ExactHessian",
    "Hessian",
    "Installable",
    "MixedDerivative",
    "StrainedDerivative",
    "Sweep",
    "Swept",
    "SweptDerivative",
    "hessian_of",
    "measure_coupling",
    "sweep_parameters",
    "trial_parameters",
]
