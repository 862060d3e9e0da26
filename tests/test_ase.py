"""Starting from ASE structures."""

import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms, FixedLine
from brute_force import SHIPPED

from lammps_implicit import Minimum
from lammps_implicit.errors import DeckError, PotentialError

LINES = [
    "pair_style hybrid/overlay zbl 4.0 4.8 snap",
    "pair_coeff 1 1 zbl 73 73",
    "pair_coeff * * snap Ta06A.snapcoeff Ta06A.snapparam Ta",
]


@pytest.fixture
def atoms():
    atoms = bulk("Ta", "bcc", a=3.316, cubic=True) * (3, 3, 3)
    del atoms[0]
    return atoms


def test_ase_structures_give_what_decks_give(atoms, ta_vacancy):
    with Minimum.from_ase(atoms, LINES) as minimum:
        assert minimum.energy == pytest.approx(ta_vacancy.energy, abs=1e-8)
        dtheta = np.cos(np.arange(31))
        moved, expected = minimum.jvp(dtheta), ta_vacancy.jvp(dtheta)
        assert np.linalg.norm(moved) == pytest.approx(np.linalg.norm(expected), rel=1e-5)


def test_include_files_serve_as_potentials(atoms):
    with Minimum.from_ase(atoms, SHIPPED / "Ta06A.snap", parameters="Ta:[1-3]") as minimum:
        assert minimum.potential.names == ("Ta:1", "Ta:2", "Ta:3")


def test_fixed_atoms_stay(atoms):
    atoms.set_constraint(FixAtoms(mask=atoms.positions[:, 2] < 1.0))
    with Minimum.from_ase(atoms, LINES) as minimum:
        moved = minimum.gather(minimum.jvp(np.cos(np.arange(31))))
        assert len(minimum.null_space().vectors) == 0
        assert np.abs(moved[atoms.positions[:, 2] < 1.0]).max() == 0
        assert np.abs(moved).max() > 0


def test_images_are_kept(atoms):
    sheared = atoms.copy()
    cell = np.array(sheared.cell)
    cell[1, 0] = 0.1
    sheared.set_cell(cell, scale_atoms=True)
    sheared.positions += np.random.default_rng(1).integers(-3, 4, sheared.positions.shape) @ cell
    with Minimum.from_ase(sheared, LINES, parameters=()) as minimum:
        apart = minimum.gather(minimum.unwrapped) - sheared.positions
        assert 0 < np.abs(apart).max() < 0.2
        assert np.abs(minimum.gather(minimum.positions) - sheared.positions).max() > 5
        minimum.relax(cell="iso", pressure="10 GPa")
        carried = sheared.positions @ np.linalg.solve(cell, minimum.engine.cell)
        assert np.abs(minimum.gather(minimum.unwrapped) - carried).max() < 0.2


def test_files_that_hold_no_commands_are_named(atoms):
    with pytest.raises(PotentialError, match=r"Ta06A.snapcoeff holds no LAMMPS commands.*'pair_style snap'.* Ta'\]"):
        Minimum.from_ase(atoms, SHIPPED / "Ta06A.snapcoeff")
    with pytest.raises(PotentialError, match=r"holds no LAMMPS commands.*as a list"):
        Minimum.from_ase(atoms, SHIPPED / "Si.sw")


def test_triclinic_cells_work(atoms):
    sheared = atoms.copy()
    cell = np.array(sheared.cell)
    cell[1, 0], cell[2, 0], cell[2, 1] = 0.1, -0.05, 0.08
    sheared.set_cell(cell, scale_atoms=True)
    with Minimum.from_ase(sheared, LINES) as minimum:
        dtheta = 1e-4 * minimum.potential.theta * np.cos(np.arange(31))
        moved = minimum.jvp(dtheta, 1e-7)
        ahead, behind = (minimum.relaxed_at(sign * dtheta, 1e-10)[0] for sign in (1, -1))
        truth = minimum.null_space().project((ahead - behind) / 2)
        assert np.linalg.norm(moved - truth) < 1e-4 * np.linalg.norm(truth)


def test_what_cannot_be_kept_is_refused(atoms):
    turned = atoms.copy()
    turned.rotate(30, "z", rotate_cell=True)
    with pytest.raises(DeckError, match="orientation"):
        Minimum.from_ase(turned, LINES)
    atoms.set_constraint(FixedLine(0, [0, 0, 1]))
    with pytest.raises(DeckError, match="FixedLine"):
        Minimum.from_ase(atoms, LINES)
    atoms.set_constraint()
    with pytest.raises(PotentialError, match="does not exist"):
        Minimum.from_ase(atoms[:2], "none.snap")
