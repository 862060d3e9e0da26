"""Long-range forces: without LAMMPS' tables, in triclinic cells, and in cells that become triclinic."""

import numpy as np
import pytest

from lammps_implicit import Minimum, testing
from lammps_implicit.errors import DeckError

ROCK_SALT = """\
variable        bits index 12
variable        shape index block
units           metal
atom_style      charge
lattice         custom 4.21 a1 1 0 0 a2 0 1 0 a3 0 0 1 &
                basis 0 0 0 basis 0 0.5 0.5 basis 0.5 0 0.5 basis 0.5 0.5 0 &
                basis 0.5 0 0 basis 0 0.5 0 basis 0 0 0.5 basis 0.5 0.5 0.5
if "${shape} == block" then "region c block 0 2 0 1 0 1" else "region c prism 0 2 0 1 0 1 0 0 0"
create_box      2 c
create_atoms    1 box basis 5 2 basis 6 2 basis 7 2 basis 8 2
mass            * 20
set             type 1 charge 2
set             type 2 charge -2
displace_atoms  all random 0.1 0.1 0.1 7
"""
MGO = """\
pair_style      buck/coul/long 6.0
pair_modify     table ${bits}
pair_coeff      1 1 0.0 1.0 0.0
pair_coeff      1 2 1428.5 0.2945 0.0
pair_coeff      2 2 22764.3 0.149 27.88
kspace_style    pppm 1.0e-5
kspace_modify   order 6
minimize        0 1.0e-9 5000 20000
"""


VACANCIES = MGO.replace("minimize", "group v id 1 5\ndelete_atoms group v\nminimize")
CHANGE = np.array([1.0, 1e-3])


def salt(write_deck, text=MGO, cell="none", **variables):
    return Minimum.from_deck(
        write_deck(ROCK_SALT + text), parameters="*1-2 1,*1-2 2", variables=variables, cell=cell, ftol=1e-7
    )


def close(found, expected, accuracy):
    return np.abs(found - expected).max() < accuracy * np.abs(expected).max()


@pytest.mark.parametrize("solver", ["pppm", "ewald"])
def test_tables_are_left(write_deck, solver):
    found = []
    for bits in ("12", "0"):
        with salt(write_deck, VACANCIES.replace("pppm", solver), bits=bits) as point:
            assert point.jacobian(1e-6).statistics.residual < 1e-5
            found.append((point.energy, point.gather(point.jvp(CHANGE, 1e-7))))
            testing.check_restored(point)
    assert np.abs(found[0][1]).max() > 1e-6
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-9)
    assert close(found[0][1], found[1][1], 1e-4)


def test_triclinic_cells(write_deck):
    found = []
    for shape in ("block", "prism"):
        with salt(write_deck, VACANCIES, cell="full", shape=shape) as point:
            found.append(point.jvp(CHANGE, 1e-7, cell=point.freedom).strain)
    assert close(found[0], found[1], 1e-5)


def test_tables_that_change_the_energy_are_refused(write_deck):
    with pytest.raises(DeckError, match="pair_modify table 0"):
        salt(write_deck, VACANCIES, bits="8")


def test_a_fix_that_moves_atoms_is_still_refused(write_deck):
    text = VACANCIES + "fix m all move linear 0.001 0 0\n"
    with pytest.raises(DeckError, match="unfix m"):
        salt(write_deck, text)
