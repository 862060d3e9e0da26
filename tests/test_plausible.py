"""Structures at rest that are no material are told with numbers; others are not."""

import warnings

import pytest
from conftest import TA_VACANCY

from lammps_implicit import Minimum

CRYSTAL = """\
variable        a index 3.6
units           metal
lattice         fcc ${a}
region          c block 0 3 0 3 0 3
create_box      1 c
create_atoms    1 box
mass            1 63.5
"""
LJ = "pair_style lj/cut 5.0\npair_modify shift yes\npair_coeff * * 0.4 2.3\n"
RELAX = "minimize 0 1e-9 5000 50000\n"
PAIR = "create_atoms 1 single 0.5 0.2 0\ngroup p id 1 109\nfix h p setforce 0 0 0\n"
LONE = CRYSTAL.replace("block 0 3 0 3 0 3", "block 0 3 0 3 0 3\nregion all block 0 3 0 3 0 12")
LONE = LONE.replace("create_box      1 c", "create_box 1 all").replace("1 box", "1 region c")
LONE += "create_atoms 1 single 1 1 7\n"

# Distances of nearest neighbours are those of molecules, or of shells from cores, and an ion is no lone atom.
IN_TOUCH = """\
units           metal
atom_style      bond
region          c block -8 8 -8 8 -8 8
create_box      2 c bond/types 1 extra/bond/per/atom 1 extra/special/per/atom 4
mass            1 1.008
mass            2 39.95
create_atoms    1 single 3 {0} 0
create_atoms    1 single 3 -{0} 0
create_atoms    2 single 0 0 0.1
pair_style      lj/cut 7.5
pair_coeff      1 1 0.003 2.8
pair_coeff      2 2 0.0104 3.4
pair_coeff      1 2 0.006 3.1
bond_style      harmonic
bond_coeff      1 10 {1}
create_bonds    single/bond 1 1 2
minimize        0 1e-8 5000 20000
"""

TOLD = {
    "overlap": (
        CRYSTAL + LJ + PAIR.replace("0.5 0.2", "0.1 0.1") + RELAX,
        "none",
        "atoms (1|109) and (1|109) are 0.509 Å",
    ),
    "energy": (CRYSTAL + LJ + PAIR.replace("0.5 0.2", "0.1 0.1") + RELAX, "none", "its energy is .* eV per atom"),
    "volume": (
        CRYSTAL + LJ + "change_box all x scale 1.18 y scale 1.18 z scale 1.18 remap\nrun 0\n",
        "iso",
        "its volume became 0.[56]",
    ),
    "lone": (LONE + LJ + RELAX, "none", "1 of .* atoms have no neighbour: ids "),
}


@pytest.mark.parametrize("case", TOLD)
def test_no_material(write_deck, case):
    deck, cell, message = TOLD[case]
    with (
        pytest.warns(UserWarning, match=f"may be no material: {message}"),
        Minimum.from_deck(write_deck(deck), parameters="lj/cut*", cell=cell),
    ):
        pass


@pytest.mark.parametrize(
    "deck",
    [
        TA_VACANCY,
        CRYSTAL + LJ + "create_atoms 1 single 0.5 0 0\n" + RELAX,
        IN_TOUCH.format(0.37, 0.74),
        IN_TOUCH.format(0.01, 0.02),
    ],
    ids=["vacancy", "interstitial", "molecule", "shell"],
)
def test_materials(write_deck, deck):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Minimum.from_deck(write_deck(deck)):
            pass
