"""Molecules: stiff bonds beside soft contacts."""

import numpy as np
import pytest
from mpi4py import MPI

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
        assert minimum.statistics.iterations < 40  # 24 with contacts, 83 with the springs within dimers and a shift
        assert minimum.statistics.method == "iterative" and minimum.statistics.verdict == "good"
        dense = minimum.jacobian(1e-5, "dense").dot(dtheta)
        assert np.linalg.norm(found - dense) < 1e-3 * np.linalg.norm(dense)
        assert np.abs(found).max() > 1e-4


CHAINS = """\
units metal
atom_style angle
boundary p p p
region cell block 0 9.6 0 9.2 0 9.2
create_box 1 cell bond/types 1 angle/types 1 extra/bond/per/atom 2 extra/angle/per/atom 1 extra/special/per/atom 4
mass 1 14
molecule chain chain.txt
lattice custom 4.6 a1 2.087 0 0 a2 0 1 0 a3 0 0 1 basis 0.2 0.1 0.1
create_atoms 0 box mol chain 7 rotate 10 0 0 1
special_bonds lj 0 0 1
pair_style lj/cut 7.0
pair_modify shift yes
pair_coeff 1 1 0.0049 4.0
bond_style harmonic
bond_coeff 1 4.2 1.54
angle_style harmonic
angle_coeff 1 2.7 112.0
displace_atoms all random 0.05 0.05 0.05 5
min_style cg
minimize 0 1e-7 20000 100000
"""
ATOMS = 6


def _chain():
    """LAMMPS' file of a zigzag of atoms with bonds and angles."""
    numbers = range(1, ATOMS + 1)
    parts = {
        "Coords": [f"{k} {1.28 * (k - 1):.3f} {0.43 * (-1) ** k:.3f} 0" for k in numbers],
        "Types": [f"{k} 1" for k in numbers],
        "Bonds": [f"{k} 1 {k} {k + 1}" for k in numbers[:-1]],
        "Angles": [f"{k} 1 {k} {k + 1} {k + 2}" for k in numbers[:-2]],
    }
    counts = f"{ATOMS} atoms\n{ATOMS - 1} bonds\n{ATOMS - 2} angles\n"
    return "chain\n\n" + counts + "".join(f"\n{name}\n\n" + "\n".join(lines) + "\n" for name, lines in parts.items())


@pytest.mark.parallel(nprocs=[1, 2])
def test_chains_bend_and_touch(tmp_path_factory):
    """Bonds and angles about equally stiff, contacts far softer; molecules are split between ranks."""
    comm = MPI.COMM_WORLD
    folder = comm.bcast(tmp_path_factory.mktemp("chains") if comm.rank == 0 else None)
    if comm.rank == 0:
        (folder / "chain.txt").write_text(_chain())
        (folder / "in.chains").write_text(CHAINS.replace("chain.txt", str(folder / "chain.txt")))
    comm.barrier()
    with Minimum.from_deck(folder / "in.chains", comm=comm, ftol=1e-8, force_limit=1.0) as minimum:
        dtheta = 1e-3 * minimum.potential.theta
        found = minimum.jvp(dtheta, 1e-6)
        assert (
            minimum.statistics.verdict == "good" and minimum.statistics.iterations < 30
        )  # 13 and 18; 140 without bends and contacts
        rest = minimum.hessian.central(found) + minimum.mixed.times(dtheta)
        assert minimum.engine.norm(rest) < 1e-5 * minimum.engine.norm(minimum.mixed.times(dtheta))
