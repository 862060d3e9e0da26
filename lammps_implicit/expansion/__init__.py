"""Taylor models of a minimum at changed parameters, and third derivatives along the directions of an ensemble.

`taylor` has `Expansion` and `Prediction`; `third_derivative` measures third derivatives; `directions` finds the
directions of an ensemble to which structures respond most, with the square roots of covariances in `covariance`.
"""

from lammps_implicit.expansion.covariance import covariance_factor
from lammps_implicit.expansion.directions import leading_directions, relaxation_sizes
from lammps_implicit.expansion.taylor import VARIANTS, Expansion, Prediction, Variant, expand
from lammps_implicit.expansion.third_derivative import third_derivative

__all__ = [
    "VARIANTS",
    "Expansion",
    "Prediction",
    "Variant",
    "covariance_factor",
    "expand",
    "leading_directions",
    "relaxation_sizes",
    "third_derivative",
]
