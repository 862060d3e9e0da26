"""Which SNAP coefficients change the distance between two atoms at an interstitial? One vjp, starting from ASE.

python gradient_of_a_distance.py
"""

import numpy as np
from ase.build import bulk

from lammps_implicit import Minimum

atoms = bulk("Ta", "bcc", a=3.316, cubic=True) * (3, 3, 3)
atoms.append("Ta")
atoms.positions[-1] = atoms.cell.sum(axis=0) / 2 + [0.1, 0.3, 1.4]
atoms.rattle(0.02, seed=1)  # off symmetric positions, at which a minimiser may stop at a saddle

with Minimum.from_ase(atoms, "Ta06A.snap") as m:
    order = np.argsort(m.ids)
    positions = m.positions[order]
    separation = m.engine.nearest_image(positions[:-1] - positions[-1])
    partner = int(np.argmin(np.linalg.norm(separation, axis=1)))
    distance = np.linalg.norm(separation[partner])

    cotangent = np.zeros_like(positions)  # ∂(distance)/∂X
    cotangent[partner] = separation[partner] / distance
    cotangent[-1] = -cotangent[partner]
    gradient = m.vjp(cotangent[np.argsort(order)])

    print(f"the added atom and atom {partner + 1} are {distance:.4f} Å apart; a 1 % change of")
    for k in np.argsort(-np.abs(gradient * m.potential.theta))[:5]:
        print(f"  {m.potential.names[k]:6s} changes it by {0.01 * m.potential.theta[k] * gradient[k]:+.5f} Å")
    print(f"{m.statistics.evaluations.total} evaluations for all {len(gradient)} coefficients")
