"""Linear response of one reference state: solves with its Hessian, the Jacobian, the coupled cell, and every cache.

`linear_response` has `LinearResponse`, which is made anew at each reference; `jacobian` the factored Jacobian dX*/dΘ
and the directions that are solved for; `cubic` third derivatives, where they were measured; `statistics` the cost and
quality of products.
"""

from lammps_implicit.response.cubic import Cubic, LeadingDirections, ResponseMetric, ThirdDerivative
from lammps_implicit.response.jacobian import Jacobian, Patterns
from lammps_implicit.response.linear_response import METHODS, LinearResponse
from lammps_implicit.response.statistics import Meter, Statistics

__all__ = [
    "METHODS",
    "Cubic",
    "Jacobian",
    "LeadingDirections",
    "LinearResponse",
    "Meter",
    "Patterns",
    "ResponseMetric",
    "Statistics",
    "ThirdDerivative",
]
