"""Exact implicit derivatives of the minima of any JAX energy U(positions, cell, Θ), by automatic differentiation.

JAX takes the place of LAMMPS behind the usual `Minimum`: Hessian products, mixed derivatives and strain derivatives are
exact and matrix-free, and memory grows linearly with the number of atoms. `second_jvp` gives d²X*/dΘ² as well.

Importing this package switches JAX to double precision (`double_precision`). `minima` starts from an ASE structure or
from a minimum found by LAMMPS, `decks` from a LAMMPS deck. Energies are in `pair_energies` (LAMMPS' pair styles),
`jax_md_energies` and `neighbours` (pairs within a cutoff). `evaluator` and `potential` implement the package's
interfaces, `derivatives` and `second_order` hold the derivatives themselves.
"""

from lammps_implicit.autodiff import double_precision

double_precision.enable()

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
