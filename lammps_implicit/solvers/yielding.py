"""Springs that yield: contacts with negative stiffnesses, as far as K stays positive.

Between charges, and under tension or pressure, pairs of atoms have negative stiffnesses along their line or across it,
which stiffer ones around them make up for. Springs that have none see soft motions up to twenty times too stiff. A fit
that has them (signed) need not be positive, so it is mixed with one that has none (firm),

    K = θ K_signed + (1 - θ) K_firm,

with the largest θ ≤ 1 for which K ≥ δ K_firm. It follows from the lowest eigenvalue λ of K_firm⁻¹ K_signed, which a few
steps of the Lanczos method find without a force evaluation: θ = (1 - δ)/(1 - λ).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal

from lammps_implicit.arrays import FloatArray
from lammps_implicit.evaluators.interface import Evaluator
from lammps_implicit.solvers.springs import Springs, random_vector, spring_product, typical_stiffness

_LEAST = 0.2
"""δ. Measured for 64 waters: 17 to 23 iterations with 0.15 to 0.25, about 30 with 0.5; with less than 0.1 an eigenvalue
that Lanczos steps have missed might leave K indefinite."""

_STEPS = 20
"""Lanczos steps. Measured for water, benzene and polyethylene: λ is found to 0.01 in 10 to 15."""

_NOTHING = 1e-10
"""Norm, relative to the first, of what Lanczos steps leave where they have exhausted the space."""

_SEED = 2
"""Of the random vector that Lanczos steps start from; probes have 0 and 1."""


def yielding(
    engine: Evaluator, firm: Springs, signed: Springs, firm_inverse: Callable[[FloatArray], FloatArray]
) -> Springs:
    """Mix springs with and without negative stiffnesses; K remains positive.

    Parameters
    ----------
    engine : Evaluator
    firm, signed : Springs
        With the same bonds and bends.
    firm_inverse : callable
        The function v → K_firm⁻¹v.
    """
    lowest = _lowest_ratio(engine, firm, signed, firm_inverse)
    share = 1.0 if lowest >= _LEAST else (1 - _LEAST) / (1 - lowest)

    def mixed(negative: FloatArray, positive: FloatArray) -> FloatArray:
        return share * negative + (1 - share) * positive

    return replace(
        firm,
        longitudinal=mixed(signed.longitudinal, firm.longitudinal),
        transverse=mixed(signed.transverse, firm.transverse),
        angular=tuple(mixed(*pair) for pair in zip(signed.angular, firm.angular, strict=True)),
    )


def _lowest_ratio(
    engine: Evaluator, firm: Springs, signed: Springs, firm_inverse: Callable[[FloatArray], FloatArray]
) -> float:
    """Lowest eigenvalue of K_firm⁻¹ K_signed, by the Lanczos method in the inner product of K_firm.

    Both have the same shift: motions that no spring resists have an eigenvalue of 1.
    """
    shift = firm.shift * typical_stiffness(engine, firm)
    residual = random_vector(engine.ids, _SEED) * engine.alone
    previous = np.zeros_like(residual)
    diagonal: list[float] = []
    norms: list[float] = []
    for _ in range(_STEPS):
        vector = firm_inverse(residual) * engine.alone
        norm = float(np.sqrt(max(engine.dot(residual, vector), 0.0)))
        if norms and norm <= _NOTHING * norms[0]:  # few atoms: that was all of the space
            break
        residual, vector = residual / norm, vector / norm
        image = spring_product(engine, signed, vector) + shift * vector - norm * previous
        diagonal.append(engine.dot(vector, image))
        residual, previous = image - diagonal[-1] * residual, residual
        norms.append(norm)
    return engine.on_root(lambda: float(eigvalsh_tridiagonal(diagonal, norms[1:])[0]))
