"""Cost and quality of one product."""

from __future__ import annotations

from dataclasses import dataclass, field

from lammps_implicit.evaluators.interface import Evaluations


@dataclass
class Statistics:
    """Cost and quality of one product.

    Attributes
    ----------
    method : str
        ``"iterative"``, ``"dense"`` or ``"relaxation"``.
    tolerance : float
        Relative tolerance asked for; force tolerance of a relaxation.
    evaluations : Evaluations
        LAMMPS evaluations spent, preparation of the preconditioner included when this product needed it.
    iterations : int
        Hessian products of the linear solves.
    solves : int
    residual : float
        Largest relative residual of its solves.
    differencing_error : float
        Estimate of what differences in place of exact Hessian products left in the residual of a solve, relative to the
        right-hand side. Beyond the tolerance where round-off of a large cell allows no better.
    seconds, seconds_in_lammps : float
    """

    method: str
    tolerance: float
    evaluations: Evaluations = field(default_factory=Evaluations)
    iterations: int = 0
    solves: int = 0
    residual: float = 0.0
    differencing_error: float = 0.0
    seconds: float = 0.0
    seconds_in_lammps: float = 0.0
