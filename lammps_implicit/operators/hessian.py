"""The Hessian of an evaluator: exact if it offers exact products, else from differences of its forces."""

from __future__ import annotations

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.operators.differenced_hessian import DifferencedHessian
from lammps_implicit.operators.exact_hessian import ExactHessian
from lammps_implicit.operators.interface import Hessian


def hessian_of(engine: Evaluator, forces: FloatArray) -> Hessian:
    """H = ∂²U/∂X² at the engine's reference.

    Parameters
    ----------
    engine : Evaluator
    forces : (n, 3) float array
        Forces at the reference, eV/Å.

    Returns
    -------
    Hessian
    """
    return ExactHessian(engine, forces) if engine.exact else DifferencedHessian(engine, forces)
