"""Core-shell models: springs of a hundred times the stiffness between ions join cores and shells at no distance."""

import itertools

import numpy as np
import pytest
from brute_force import Newton, relative_error

from lammps_implicit import Minimum

SALT = """\
units metal
atom_style full
read_data salt.data
group cores type 1 2
group shells type 3 4
comm_modify vel yes
pair_style {style} 7.0 7.0
pair_coeff * * 0.0 1.0 0.0 0.0 0.0
pair_coeff 3 3 487.0 0.23768 0.0 1.05 0.5
pair_coeff 3 4 145134.0 0.23768 0.0 6.99 8.7
pair_coeff 4 4 405774.0 0.23768 0.0 72.4 145.4
bond_style harmonic
bond_coeff 1 63.014 0.0
bond_coeff 2 25.724 0.0
{kspace}
compute temperature all temp/cs cores shells
thermo_modify temp temperature
fix integrate all nve
minimize 0 1e-4 1000 10000
"""
CHARGES = {1: 1.5005, 2: 2.5005, 3: -0.5005, 4: -3.5005}


def salt(folder, edge=5.64):
    """Two cells of rock salt without a pair of ions, shaken: 14 cores, each followed by its shell."""
    random = np.random.default_rng(0)
    sites = [(1 + round(2 * sum(site)) % 2, site) for site in itertools.product(*(np.arange(n) / 2 for n in (4, 2, 2)))]
    atoms, bonds = [], []
    for kind, site in sites[2:]:
        at = np.array(site) * edge + 0.03 * random.standard_normal(3)
        for shell in (0, 2):
            x, y, z = at + 0.005 * shell * random.standard_normal(3)
            atoms.append(f"{len(atoms) + 1} {len(bonds) + 1} {kind + shell} {CHARGES[kind + shell]} {x} {y} {z}")
        bonds.append(f"{len(bonds) + 1} {kind} {len(atoms) - 1} {len(atoms)}")
    box = "".join(f"0 {n * edge} {axis}lo {axis}hi\n" for n, axis in ((2, "x"), (1, "y"), (1, "z")))
    head = f"salt\n\n{len(atoms)} atoms\n{len(bonds)} bonds\n4 atom types\n2 bond types\n\n{box}"
    masses = "\nMasses\n\n1 20.7\n2 31.9\n3 2.3\n4 3.6\n"
    text = "\n".join([head + masses, "Atoms # full\n", *atoms, "\nBonds\n", *bonds, ""])
    (folder / "salt.data").write_text(text)


@pytest.mark.parametrize(
    ("style", "kspace"), [("born/coul/long/cs", "kspace_style ewald 1e-6"), ("born/coul/dsf/cs 0.2", "")]
)
def test_cores_and_shells(write_deck, tmp_path, style, kspace):
    salt(tmp_path)
    style, *damping = style.split()
    path = write_deck(SALT.format(style=" ".join([style, *damping]), kspace=kspace))
    with (
        pytest.warns(UserWarning, match="taken off, as the minimum does not depend on it: 'fix integrate all nve'"),
        Minimum.from_deck(path, parameters=f"{style} 3-4 *", ftol=1e-9, force_limit=np.inf) as point,
    ):
        assert point.setup.forces < 120
        moved = point.jvp([0.0, 1.0, 0.0, 0.0, 0.0], 1e-6)
        assert point.statistics.iterations < 60
        assert np.abs(moved).max() > 1
        jacobian = point.jacobian(1e-5)
        assert jacobian.statistics.evaluations.forces < 200
        rows = np.argsort(point.ids)
        brute = Newton(path, point.positions[rows], commands=["pair_modify table 0"])
        expected = brute.jvp(lambda t: [f"pair_coeff 3 4 145134.0 {0.23768 + t!r} 0.0 6.99 8.7"], 2e-6)
        brute.close()
        for found in (moved, jacobian.dot([0.0, 1.0, 0.0, 0.0, 0.0])):
            found = found[rows] - found.mean(axis=0)
            assert relative_error(found, expected - expected.mean(axis=0)) < 1e-4
