"""A Lennard-Jones alloy in LAMMPS and in JAX: the same first derivatives, and exact second ones from JAX.

pip install "lammps_implicit[autodiff]"
python exact_derivatives_of_an_alloy.py
"""

import os
from pathlib import Path

os.environ.setdefault("JAX_ENABLE_X64", "1")

import numpy as np

from lammps_implicit import Minimum, autodiff

DECK = Path(__file__).parent / "in.lj_alloy"


def main() -> None:
    exact = autodiff.from_deck(DECK, ftol=1e-11)
    change = exact.potential.theta * np.array([1.0, -0.5, 0.7, 0.3, -1.0, 0.2])
    with Minimum.from_deck(DECK, ftol=1e-11) as lammps:
        by_lammps = lammps.jvp(change, 1e-8)[np.argsort(lammps.ids)]
        gradients = [minimum.energy_gradient() for minimum in (lammps, exact)]
    first, second = exact.jvp(change, 1e-10), autodiff.second_jvp(exact, change)
    print(f"energy {exact.energy:.9f} eV, {exact.engine.n_atoms} atoms, parameters {', '.join(exact.potential.names)}")
    print(f"LAMMPS against JAX, largest relative difference: structure {relative(by_lammps, first):.1e}, ", end="")
    print(f"energy gradient {relative(*gradients):.1e}")
    print("error of the predicted structure (Å) compared with relaxing again:\n  change   first order  second order")
    for size in (0.02, 0.01, 0.005):
        moved, _ = exact.relaxed_at(size * change, 1e-11)
        moved -= moved.mean(axis=0)
        errors = [np.abs(moved - guess).max() for guess in (size * first, size * first + 0.5 * size**2 * second)]
        print(f"  {size:6.3f}   {errors[0]:11.2e}  {errors[1]:12.2e}")


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


if __name__ == "__main__":
    main()
