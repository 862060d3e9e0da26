"""Lattice distortion of a random alloy: distances of atoms from their lattice sites, and which parameters matter.

python distortion_of_an_alloy.py
"""

from pathlib import Path

import numpy as np

from lammps_implicit import Minimum
from lammps_implicit.observables import distortion_from

LATTICE = 3.1803  # Å, as in the deck

with Minimum.from_deck(Path(__file__).parent / "in.w_be_alloy") as m:
    # bcc sites are a subset of a simple cubic lattice with half the lattice constant.
    sites = np.round((m.positions - m.engine.origin) / (LATTICE / 2)) * (LATTICE / 2) + m.engine.origin
    distortion = distortion_from(m, sites)
    found = distortion.mean_square()
    theta, names = m.potential.theta, m.potential.names
    print(f"mean square displacement {float(found.value):.6f} {found.units}")
    changes = 0.01 * theta * found.gradient
    for index in np.argsort(np.abs(changes))[:-6:-1]:
        print(f"  {changes[index]:+.2e} for a 1 % change of {names[index]}")
    sample = theta * np.random.default_rng(0).normal(0.0, 1e-3, (10_000, len(theta)))
    predicted = distortion.predict(m.jacobian(1e-4), sample)
    print(f"with coefficients uncertain by 0.1 %: {predicted.mean():.6f} ± {predicted.std():.6f} {found.units}")
    print(f"{m.engine.evaluations.forces} force evaluations")
