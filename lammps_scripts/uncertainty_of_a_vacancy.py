"""How uncertain is the structure around a W vacancy if every SNAP coefficient is uncertain by 0.1 %? One Jacobian.

python uncertainty_of_a_vacancy.py
"""

from pathlib import Path

import numpy as np

from lammps_implicit import Minimum

with Minimum.from_deck(Path(__file__).parent / "in.w_vacancy") as m:
    sigma = 1e-3 * np.abs(m.potential.theta)
    jacobian = m.gather(np.moveaxis(m.jacobian().to_array(), 0, -1))  # (N, 3, P) in id order
    deviation = np.sqrt(((jacobian * sigma) ** 2).sum(axis=(1, 2)))
    energy_deviation = np.linalg.norm(m.energy_gradient() * sigma)
    ids = np.sort(m.ids)
    print(f"energy {m.energy:.4f} ± {energy_deviation:.4f} eV")
    print("most uncertain atoms (id, standard deviation in Å):")
    for row in np.argsort(deviation)[:-6:-1]:
        print(f"  {ids[row]:5d}  {deviation[row]:.2e}")
    print(f"{m.engine.evaluations.forces} force evaluations")
