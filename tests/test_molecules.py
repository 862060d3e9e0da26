"""Molecules: stiff bonds beside soft contacts."""

import numpy as np

from lammps_implicit import Minimum

DIMERS = """\
units metal
atom_style bond
lattice custom 4.6 a1 1 0 0 a2 0 1 0 a3 0 0 1 basis 0 0 0 basis 0.17 0.14 0.05
region cell block 0 3 0 3 0 3
create_box 1 cell bond/types 1 extra/bond/per/atom 1 extra/special/per/atom 2
create_atoms 1 box
mass 1 14
special_bonds lj 0 1 1
pair_style lj/cut 8.0
pair_modify shift yes
pair_coeff 1 1 0.008 3.3
bond_style harmonic
bond_coeff 1 40 1.05
create_bonds many all all 1 0.8 1.3
group one id 1 2
delete_atoms group one compress no bond yes
displace_atoms all random 0.05 0.05 0.05 5
min_style cg
minimize 0 1e-6 5000 50000
"""


def test_a_box_of_dimers(write_deck):
    """They relax, and answer to their parameters, without a look at the whole Hessian."""
    with Minimum.from_deck(write_deck(DIMERS), ftol=1e-8, force_limit=1.0) as minimum:
        assert minimum.engine.n_atoms == 52
        dtheta = 1e-3 * minimum.potential.theta
        found = minimum.jvp(dtheta, 1e-6)
        assert minimum.statistics.method == "iterative" and minimum.statistics.verdict == "good"
        dense = minimum.jacobian(1e-5, "dense").dot(dtheta)
        assert np.linalg.norm(found - dense) < 1e-3 * np.linalg.norm(dense)
        assert np.abs(found).max() > 1e-4
