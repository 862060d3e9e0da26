"""Exact implicit derivatives of minima of any JAX energy U(positions, cell, Θ), by automatic differentiation.

The same `Minimum`, with JAX in the place of LAMMPS: Hessian products, mixed derivatives and those under strain are
exact and matrix-free, memory is linear in the number of atoms. Besides, `second_jvp` gives d²X*/dΘ².
"""

from lammps_implicit.autodiff import double_precision

double_precision.switch()

from lammps_implicit.autodiff.decks import energy_from_deck, from_deck  # noqa: E402
from lammps_implicit.autodiff.jax_md_energies import STILLINGER_WEBER, JaxMDEnergy, stillinger_weber_energy  # noqa: E402
from lammps_implicit.autodiff.minima import from_lammps, minimum  # noqa: E402
from lammps_implicit.autodiff.pair_energies import (  # noqa: E402
    PairEnergy,
    lennard_jones_energy,
    morse_energy,
    pair_energy,
)
from lammps_implicit.autodiff.second_order import second_jacobian, second_jvp  # noqa: E402

__all__ = [
    "STILLINGER_WEBER",
    "JaxMDEnergy",
    "PairEnergy",
    "energy_from_deck",
    "from_deck",
    "from_lammps",
    "lennard_jones_energy",
    "minimum",
    "morse_energy",
    "pair_energy",
    "second_jacobian",
    "second_jvp",
    "stillinger_weber_energy",
]
